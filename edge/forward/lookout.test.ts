import { describe, expect, test } from "vitest";
import { Lookout } from "./lookout.ts";
import type { Waiting } from "./outcome.ts";
import { Suspects } from "./suspects.ts";

interface Case {
  repeatable?: boolean;
  elsewhere?: boolean;
  /** Relays that say they are there when they are asked. */
  there?: string[];
}

/** A request by relay 0, whose relay never answers; time passes as it is looked. */
function world({ repeatable = true, elsewhere = false, there = [] }: Case) {
  const suspects = new Suspects();
  const waiting: Waiting = {};
  const asked: string[] = [];
  let now = 0;
  const ask = (relay: string): void => {
    asked.push(relay);
    if (there.includes(relay)) suspects.answered(relay, true, now);
    else suspects.silence(relay, now);
  };
  const lookout = new Lookout({ suspects, relays: 2, nameOf: (carrier) => ["h/0", "h/1"][carrier] ?? "h/gate", repeatable, elsewhere, ask, now: () => now, waiting });
  const look = (untilMs: number, receivedBytes?: number): (number | "silent")[] => {
    const seen: (number | "silent")[] = [];
    for (let ms = 500; now + ms <= untilMs; ) {
      now += ms;
      const one = waiting.look?.(receivedBytes) ?? "silent";
      seen.push(one);
      if (one === "silent") return seen;
      ms = one;
    }
    return seen;
  };
  return { lookout, waiting, asked, look };
}

/** A head that comes when it is told to. */
function late() {
  const { promise, resolve } = Promise.withResolvers<Response>();
  return { promise, resolve };
}

const settled = (head: Promise<unknown>): Promise<unknown> => Promise.race([head, Promise.resolve().then(() => Promise.resolve("waits"))]);

describe("a head that does not come", () => {
  test.each<[string, Case, string, boolean]>([
    ["is waited for while its relay answers", { there: ["h/0"] }, "waits", false],
    ["is not waited for when its relay is silent and the other one answers", { there: ["h/1"] }, "silent", true],
    ["of what may not be sent twice is waited for all the same", { there: ["h/1"], repeatable: false }, "waits", false],
    ["is waited for when no relay answers and nobody else can be asked", {}, "waits", false],
    ["is not waited for when no relay answers and somebody else can be asked", { elsewhere: true }, "deserted", false],
  ])("%s", async (_, how, verdict, detour) => {
    const { lookout, waiting, look } = world(how);
    const head = lookout.head(0, 0, late().promise);
    look(5_000);
    expect(await settled(head)).toBe(verdict);
    expect(waiting.detour === true).toBe(detour);
    expect(lookout.isOut(0, false)).toBe(verdict === "silent");
  });
});

describe("in the middle of a gate's answer", () => {
  test.each<[string, Case, "waits" | "silent", string[]]>([
    ["one that is silent is left where a relay answers", { there: ["h/1"] }, "silent", ["h/gate", "h/0", "h/1"]],
    ["is waited for where no relay answers", {}, "waits", ["h/gate", "h/0", "h/1", "h/gate"]],
    ["is waited for while it says that it is there", { there: ["h/gate", "h/0"] }, "waits", ["h/gate", "h/gate"]],
  ])("%s", (_, how, last, first) => {
    const { lookout, waiting, asked, look } = world(how);
    lookout.rest();
    // while it is asked for its beginning it looks after itself
    expect(waiting.look?.(undefined)).toBe(1_000);
    expect(asked).toEqual([]);
    lookout.begun(2);
    expect(look(5_000, 7).includes("silent") ? "silent" : "waits").toBe(last);
    expect(asked.slice(0, first.length)).toEqual(first);
  });
});

describe("in the middle of an answer", () => {
  test.each<[string, Case, number | "silent"]>([
    ["a relay that is silent is left where the other one answers", { there: ["h/1"] }, "silent"],
    ["is waited for where none answers, whoever else there is: it may be back", { elsewhere: true }, 125],
  ])("%s", async (_, how, last) => {
    const { lookout, look } = world(how);
    const answer = late();
    const head = lookout.head(0, 0, answer.promise);
    answer.resolve(new Response("body"));
    await head;
    expect(look(5_000, 7).at(-1)).toBe(last);
  });

  test("what comes through a gate is the gate's to look after", async () => {
    const { lookout, look, asked } = world({ there: ["h/1"] });
    lookout.rest();
    look(5_000, 7);
    expect(asked).toEqual([]);
  });
});
