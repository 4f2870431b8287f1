import { describe, expect, test } from "vitest";
import { Suspects } from "./suspects.ts";
import { questionMs, quietMs, Vigil } from "./vigil.ts";

/** A host with relays 0 and 1; each answers a question after so long, or never. What goes out goes by relay 0. */
function world(answersMs: (number | undefined)[], { others = ["h/1"], alone = [] as string[] } = {}) {
  const suspects = new Suspects();
  const asked: [at: number, relay: string][] = [];
  const events: { at: number; what: () => void }[] = [];
  const vigil = new Vigil(suspects, "h/0", others, 0);
  let now = 0;
  const ask = (relay: string): void => {
    asked.push([now, relay]);
    const ms = answersMs[Number(relay.at(-1))];
    if (ms !== undefined) events.push({ at: now + ms, what: () => suspects.answered(relay, !alone.includes(relay), now) });
    if (ms === undefined || ms > questionMs) events.push({ at: now + questionMs, what: () => suspects.silence(relay, now) });
  };
  /** Look whenever it asks for that, until a verdict or a time. */
  const until = (endMs: number, receivedBytes: (now: number) => number | undefined = () => undefined): { verdict: string | undefined; at: number } => {
    for (let next = Math.min(now + quietMs.beginning, endMs); now < endMs; ) {
      now = next;
      for (const one of events.toSorted((a, b) => a.at - b.at)) {
        if (one.at > now) continue;
        events.splice(events.indexOf(one), 1);
        one.what();
      }
      const { ask: relays, verdict, nextMs } = vigil.look(now, receivedBytes(now));
      relays.forEach(ask);
      if (verdict !== undefined) return { verdict, at: now };
      expect(nextMs).toBeGreaterThan(0);
      next = Math.min(now + nextMs, endMs);
    }
    return { verdict: undefined, at: now };
  };
  return { suspects, asked, until };
}

describe("a relay through which nothing comes", () => {
  test("that answers is waited for, however long its engine takes, and asked less and less often; nobody else is asked", () => {
    const { asked, until } = world([20, 20]);
    expect(until(600_000).verdict).toBeUndefined();
    expect(asked.every(([, relay]) => relay === "h/0")).toBe(true);
    expect(asked[0]).toEqual([quietMs.beginning, "h/0"]);
    expect(asked.length).toBeLessThan(70);
    expect(asked.findLast(([at], i) => i > 0 && at - (asked[i - 1]?.[0] ?? 0) > 0.12 * at + 1_000)).toBeUndefined();
  });

  test("that does not answer is left within a little over a second, where another one does", () => {
    const { asked, until } = world([undefined, 20]);
    const { verdict, at } = until(10_000);
    expect(verdict).toBe("silent");
    expect(at).toBeGreaterThanOrEqual(quietMs.beginning + questionMs);
    expect(at).toBeLessThanOrEqual(1_250);
    expect(asked).toEqual([[500, "h/0"], [750, "h/1"]]);
  });

  test.each([
    ["none of them answers", [undefined, undefined], {}],
    ["it is the only one", [undefined], { others: [] }],
    ["the other one is without its agent", [undefined, 20], { alone: ["h/1"] }],
  ])("is deserted where %s", (_, answers, how) => {
    const { until } = world(answers, how);
    const { verdict, at } = until(10_000);
    expect(verdict).toBe("deserted");
    expect(at).toBeLessThanOrEqual(1_750);
  });

  test("that was found silent by another request is left at the first look, and one that is back is not", () => {
    const { suspects, until } = world([undefined, 20]);
    suspects.silence("h/0", 0);
    suspects.answered("h/1", true, 100);
    expect(until(10_000)).toEqual({ verdict: "silent", at: 500 });
    const back = world([20, 20]);
    back.suspects.silence("h/0", 0);
    back.suspects.answered("h/0", true, 400);
    expect(back.until(10_000).verdict).toBeUndefined();
  });

  test("is not asked in the middle of an answer whose pieces come, and is soon when they stop", () => {
    const { asked, until } = world([undefined, 20]);
    const { verdict, at } = until(20_000, (now) => Math.min(now, 10_000));
    expect(asked[0]?.[0]).toBeGreaterThanOrEqual(10_000);
    expect(verdict).toBe("silent");
    expect(at - 10_000).toBeLessThanOrEqual(quietMs.midway + 2 * questionMs);
  });
});

test("of all requests that wait for a relay, one asks at a time", () => {
  const suspects = new Suspects();
  const vigils = Array.from({ length: 100 }, () => new Vigil(suspects, "h/0", ["h/1"], 0));
  const asked = [500, 510, 520, 625].flatMap((now) => vigils.flatMap((vigil) => vigil.look(now, undefined).ask));
  expect(asked).toEqual(["h/0"]);
});
