import { describe, expect, test } from "vitest";
import { soon, world } from "../../test/worker/world.ts";
import { attachTarget } from "../../schema/frames.ts";
import { gateHeaders } from "../../schema/gate.ts";
import type { RouterEnv } from "../env.ts";
import type { Candidate } from "../route/candidates.ts";
import { carry, type Carrying } from "./carriage.ts";
import { attemptHeader } from "./outcome.ts";

/** What the platform throws for an object that has too much to do (facts/cloudflare.md §2). */
const overloaded = (): Error => Object.assign(new Error("Durable Object is overloaded. Requests queued for too long."), { overloaded: true, retryable: false, remote: true });

/** The fleet with some objects that are overloaded; `asked` is told of every call. */
function fleet(answers: (relay: string) => Response | Promise<Response> | Error): { env: RouterEnv; asked: string[] } {
  const asked: string[] = [];
  const stub = (relay: string) => ({
    fetch: (_url: string) => {
      asked.push(relay);
      const answer = answers(relay);
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
    },
  });
  return { asked, env: { ...world, RELAY: { getByName: stub } as unknown as RouterEnv["RELAY"] } };
}

const waitUntil = (): void => undefined;
let hosts = 0;
/** A host that no test has asked before: what is suspect is remembered. */
const candidate = (more: object = {}): Extract<Candidate, { kind: "replica" }> => ({
  kind: "replica", id: "chat.local.1", upstream: "replicas", weight: 1, fallback: false, price: undefined, contextWindow: undefined, continuation: "none", version: 1, host: `host_${hosts++}`, relays: [0, 1], load: 0, ...more,
});
const sending = (body: Carrying["body"] = "{}"): Carrying => ({ requestId: "r1", method: "POST", path: "/v1/chat/completions", headers: {}, body, upgrade: false });

describe("row 21: a Relay that is overloaded", () => {
  test.each([true, false])("is asked once, and the host's other one carries the request (kept: %s)", async (kept) => {
    const { env, asked } = fleet((relay) => (relay.endsWith("/0") ? overloaded() : new Response("good")));
    const one = candidate();
    const reply = await carry({ env, waitUntil, kept, repeatable: true, elsewhere: false, random: () => 0 }, one, sending(), undefined);
    expect(reply.kind === "answer" && (await reply.response.text())).toBe("good");
    expect(asked).toEqual([`${one.host}/0`, `${one.host}/1`]);
    // and it is passed over for a while
    await carry({ env, waitUntil, kept, repeatable: true, elsewhere: false, random: () => 0 }, one, sending(), undefined);
    expect(asked.slice(2)).toEqual([`${one.host}/1`]);
  });

  test.each([true, false])("where all are, none is asked twice, and the request is shed with 429 and when to come again (kept: %s)", async (kept) => {
    const { env, asked } = fleet(overloaded);
    const reply = await carry({ env, waitUntil, kept, repeatable: true, elsewhere: false, random: () => 0 }, candidate(), sending(), undefined);
    expect(reply).toMatchObject({ kind: "throttled", retryAfterMs: 1_000, error: { code: "saturated" } });
    expect(asked).toHaveLength(2);
  });
});

describe("row 20: a Relay whose object is lost", () => {
  /** What the platform throws when it cannot reach an object, or loses it. */
  const gone = (): Error => Object.assign(new Error("Network connection lost."), { retryable: true, remote: true });
  const get: Carrying = { ...sending(null), method: "GET", path: "/" };

  test.each([true, false])("costs no request that may be repeated: the host's other one carries it, and the lost one is passed over for a while (kept: %s)", async (kept) => {
    const { env, asked } = fleet((relay) => (relay.endsWith("/0") ? gone() : new Response("good")));
    const one = candidate();
    for (let i = 0; i < 3; i++) {
      const reply = await carry({ env, waitUntil, kept, repeatable: true, elsewhere: false, random: () => 0 }, one, kept ? sending() : get, undefined);
      expect(reply.kind === "answer" && (await reply.response.text())).toBe("good");
    }
    expect(asked).toEqual([0, 1, 1, 1].map((relay) => `${one.host}/${relay}`));
  });

  test("is looked for again by a request that finds no other", async () => {
    let back = false;
    const { env, asked } = fleet((relay) => (relay.endsWith("/0") ? (back ? new Response("good") : gone()) : new Response(null, { status: 502, headers: { "x-fairlead-carriage": "no_agent" } })));
    const one = candidate();
    const reply = carry({ env, waitUntil, kept: true, repeatable: true, elsewhere: false, random: () => 0 }, one, sending(), undefined);
    await soon("both to be asked", 1_000, () => (asked.length >= 2 ? true : undefined));
    back = true;
    expect((await reply).kind).toBe("answer");
  });

  test("takes with it what may not be repeated: it is sent once", async () => {
    const { env, asked } = fleet(gone);
    await expect(carry({ env, waitUntil, kept: false, repeatable: false, elsewhere: false, random: () => 0 }, candidate(), { ...get, method: "POST" }, undefined)).rejects.toThrow("Network connection lost");
    expect(asked).toHaveLength(1);
  });
});

describe("row 13: a host that is silent", () => {
  const silent = (): Response => new Response(null, { status: 502, headers: { "x-fairlead-carriage": "no_ack" } });

  test.each([true, false])("costs a caller the wait for one relay once the other is known to be silent too (kept: %s)", async (kept) => {
    const { env, asked } = fleet(silent);
    const one = candidate();
    const both = await Promise.all([0, 0.9].map((chance) => carry({ env, waitUntil, kept, repeatable: true, elsewhere: false, random: () => chance }, one, sending(), undefined)));
    expect(both.map(({ kind }) => kind)).toEqual(["unsent", "unsent"]);
    expect(asked).toEqual([`${one.host}/0`, `${one.host}/1`]);
    // the next one finds out again, by one relay
    expect((await carry({ env, waitUntil, kept, repeatable: true, elsewhere: false, random: () => 0 }, one, sending(), undefined)).kind).toBe("unsent");
    expect(asked.slice(2)).toEqual([`${one.host}/0`]);
  });

  test.each([true, false])("costs one caller the wait for one relay where somebody else can be asked, and those after it nothing (kept: %s)", async (kept) => {
    const { env, asked } = fleet(silent);
    const one = candidate();
    const replies = [];
    for (let i = 0; i < 3; i++) replies.push(await carry({ env, waitUntil, kept, repeatable: true, elsewhere: true, random: () => 0 }, one, sending(), undefined));
    expect(replies.map((reply) => reply.kind === "unsent" && reply.silent)).toEqual(["host", "host", "host"]);
    expect(asked).toEqual([`${one.host}/0`]);
  });

  test.each([true, false])("is not blamed for one relay that is silent while it is heard through another (kept: %s)", async (kept) => {
    let say: (response: Response) => void = () => {};
    const { env, asked } = fleet((relay) => (relay.endsWith("/0") ? new Promise<Response>((resolve) => (say = resolve)) : new Response("good")));
    const one = candidate();
    const ask = (chance: number) => carry({ env, waitUntil, kept, repeatable: true, elsewhere: true, random: () => chance }, one, sending(), undefined);
    const first = ask(0);
    await soon("the first to be asked", 1_000, () => (asked.length === 1 ? true : undefined));
    expect((await ask(0.9)).kind).toBe("answer");
    say(silent());
    expect(await first).toMatchObject({ kind: "unsent", silent: "relay" });
    expect((await ask(0)).kind).toBe("answer");
    expect(asked).toEqual([0, 1, 1].map((relay) => `${one.host}/${relay}`));
  });
});

describe("transport: direct", () => {
  const gate = { url: "http://127.0.0.1:9", key: btoa("x".repeat(32)) };

  test.each([
    ["a private address", "http://10.0.0.7"],
    ["a cloud's metadata", "http://169.254.169.254"],
    ["a name of an inner host", "https://gpu7.internal"],
  ])("%s is not called: the relays carry the request", async (_, url) => {
    const { env, asked } = fleet(() => new Response("by relay"));
    const local: RouterEnv = { ...env };
    delete local.FAIRLEAD_LOCAL;
    const reply = await carry({ env: local, waitUntil, kept: true, repeatable: true, elsewhere: false, random: () => 0 }, candidate({ direct: { ...gate, url } }), sending(), undefined);
    expect(reply.kind === "answer" && (await reply.response.text())).toBe("by relay");
    expect(asked).toHaveLength(1);
  });

  test("a gate that cannot be reached costs one attempt to reach it, and none for a while", async () => {
    const { env, asked } = fleet(() => new Response("by relay"));
    const one = candidate({ direct: gate });
    for (let i = 0; i < 3; i++) {
      const reply = await carry({ env, waitUntil, kept: true, repeatable: true, elsewhere: false, random: () => 0 }, one, sending(), undefined);
      expect(reply.kind === "answer" && (await reply.response.text())).toBe("by relay");
    }
    expect(asked).toHaveLength(3);
  });

  test("what asks for the rest of an answer names no replica", () => {
    expect([gateHeaders.attempt, attachTarget]).toEqual([attemptHeader, "attach"]);
  });
});
