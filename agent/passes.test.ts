import { describe, expect, test } from "vitest";
import { gateKeyOf, gateTimes, makePass, passKey, readPass, type PassFacts } from "../schema/gate.ts";
import { Passes } from "./passes.ts";

const hubNow = 1_700_000_000_000;
const facts: PassFacts = { host: "host_1", target: "chat.local.1", method: "POST", path: "/v1/chat/completions", requestId: "r1", attempt: '{"id":"a","turn":0}', expiresAt: hubNow + gateTimes.passMs, nonce: "nonce-0123456789" };
const key = await gateKeyOf("ticket key", "host_1", 7);
const pass = (change: Partial<PassFacts> = {}, by = key): Promise<string> => passKey(by).then((imported) => makePass(imported, { ...facts, ...change }));
/** A gate that was told its key when its own clock, which knows no date, said 1,000. */
function gate(...keys: string[]): Passes {
  const passes = new Passes();
  for (const one of keys) passes.admit({ key: one, now: hubNow }, 1_000);
  return passes;
}

describe("Passes", () => {
  test("a pass is good for its request, once", async () => {
    const passes = gate(key);
    expect(passes.refusal(await pass(), facts, 1_000)).toBeUndefined();
    expect(passes.refusal(await pass(), facts, 1_001)).toBe("the pass has been used");
    expect(passes.refusal(await pass({ nonce: "nonce-9876543210" }), facts, 1_002)).toBeUndefined();
  });

  test.each<[string, Partial<PassFacts>]>([
    ["host", { host: "host_2" }], ["replica", { target: "chat.local.2" }], ["method", { method: "GET" }], ["path", { path: "/v1/chat/completions?x" }],
    ["request", { requestId: "r2" }], ["attempt", { attempt: '{"id":"b","turn":0}' }],
  ])("it is good for no other %s", async (_, change) => {
    expect(gate(key).refusal(await pass(), { ...facts, ...change }, 1_000)).toMatch(/^the pass is for another/);
  });

  test("times are the Hub's, whatever this host's own clock says", async () => {
    expect(gate(key).refusal(await pass(), facts, 1_000 + gateTimes.passMs)).toBeUndefined();
    expect(gate(key).refusal(await pass(), facts, 1_001 + gateTimes.passMs)).toBe("the pass has expired");
    expect(gate(key).refusal(await pass({ expiresAt: hubNow + gateTimes.passMsMax + 1 }), facts, 1_000)).toBe("the pass is good for too long");
  });

  test("the session before is still believed, the one before that is not", async () => {
    const [second, third] = [await gateKeyOf("ticket key", "host_1", 8), await gateKeyOf("ticket key", "host_1", 9)];
    expect(gate(key, second).refusal(await pass(), facts, 1_000)).toBeUndefined();
    expect(gate(key, second, second).refusal(await pass(), facts, 1_000)).toBeUndefined();
    expect(gate(key, second, third).refusal(await pass(), facts, 1_000)).toMatch(/another session$/);
  });

  test.each([
    ["nothing", undefined, "no pass is shown"],
    ["junk", "junk", "what is shown is no pass"],
    ["a key of somebody else's", "other", /another session$/],
  ])("%s is refused", async (_, shown, why) => {
    const text = shown === "other" ? await pass({}, await gateKeyOf("another key", "host_1", 7)) : shown;
    expect(gate(key).refusal(text, facts, 1_000)).toMatch(why);
  });

  test("before the Hub has said who may come, nobody may", async () => {
    expect(new Passes().refusal(await pass(), facts, 1_000)).toBe("this host has not been told yet who may come");
  });

  test("what is remembered of used passes goes when they expire", async () => {
    const passes = gate(key);
    expect(passes.refusal(await pass(), facts, 1_000)).toBeUndefined();
    const later = { expiresAt: facts.expiresAt + gateTimes.passMs, nonce: "nonce-later-01234" };
    expect(passes.refusal(await pass(later), facts, 1_001 + gateTimes.passMs)).toBeUndefined();
    expect(passes.refusal(await pass(), facts, 1_001 + gateTimes.passMs)).toBe("the pass has expired");
  });
});

test("keys differ by host, by session and by secret", async () => {
  const keys = await Promise.all([gateKeyOf("s", "h", 1), gateKeyOf("s", "h", 2), gateKeyOf("s", "i", 1), gateKeyOf("t", "h", 1)]);
  expect(new Set(keys).size).toBe(4);
});

test.each(["", "1.2", "x.nonce-0123456789.aaaa", `1.short.${"a".repeat(43)}=`, `1.nonce-0123456789.${"a".repeat(44)}`])("%j is no pass", (text) => {
  expect(() => readPass(text)).toThrow("Cannot read a pass");
});
