import { describe, expect, test } from "vitest";
import { leave, leftToRead, sent, spoke, type Reading } from "./reading.ts";

/** One that takes 0.1 ms for a token. */
const reader = (): Reading => ({ waiting: [], waitingTokens: 0, readingSince: 0, msPerToken: 0.1 });

describe("leftToRead()", () => {
  test.each<[string, { tokens: number; whole: number }[], number, number]>([
    ["nothing", [], 0, 0],
    ["all of one that has just been sent", [{ tokens: 1_000, whole: 1_000 }], 0, 1_000],
    ["what is left of it later", [{ tokens: 1_000, whole: 1_000 }], 60, 400],
    ["nothing of one that is late", [{ tokens: 1_000, whole: 1_000 }], 200, 0],
    ["what is left of all of one that is late, for it was not held", [{ tokens: 1_000, whole: 5_000 }], 200, 3_000],
    ["of several the first is read", [{ tokens: 1_000, whole: 1_000 }, { tokens: 500, whole: 2_000 }], 60, 900],
  ])("is %s", (_, prompts, afterMs, left) => {
    const reading = reader();
    for (const prompt of prompts) sent(reading, { sentAt: 20_000, given: 0, since: 0, ...prompt });
    expect(leftToRead(reading, 20_000 + afterMs)).toBeCloseTo(left, 6);
  });

  test("is all that waits while nobody has seen how fast it reads", () => {
    const reading = { ...reader(), msPerToken: undefined };
    sent(reading, { sentAt: 0, tokens: 1_000, whole: 1_000, given: 0, since: 0 });
    expect(leftToRead(reading, 50)).toBe(1_000);
  });

  test("one that ended without a token is waited for no more", () => {
    const reading = reader();
    sent(reading, { sentAt: 20_000, tokens: 1_000, whole: 1_000, given: 0, since: 0 });
    sent(reading, { sentAt: 20_000, tokens: 700, whole: 700, given: 0, since: 0 });
    leave(reading, 20_010);
    expect(leftToRead(reading, 20_010)).toBe(700);
    leave(reading, 20_020);
    expect([leftToRead(reading, 20_020), reading.waitingTokens]).toEqual([0, 0]);
  });
});

describe("spoke()", () => {
  test.each<[string, { tokens: number; given: number; tookMs: number }, boolean | undefined]>([
    ["held, when it took as long as the rest", { tokens: 1_000, given: 4_000, tookMs: 110 }, true],
    ["held, though it was not expected to be", { tokens: 5_000, given: 4_000, tookMs: 110 }, true],
    ["lost, when it took as long as all of it", { tokens: 1_000, given: 4_000, tookMs: 490 }, false],
    ["not known, when both take nearly as long", { tokens: 4_500, given: 500, tookMs: 450 }, undefined],
    ["not known, when it was given nothing of it", { tokens: 5_000, given: 0, tookMs: 100 }, undefined],
  ])("what was given is %s", (_, { tokens, given, tookMs }, held) => {
    const reading = reader();
    sent(reading, { sentAt: 20_000, tokens, whole: 5_000, given, since: 77 });
    expect(spoke(reading, 20_000, 20_000 + tookMs)).toEqual(held === undefined ? undefined : { since: 77, held });
  });

  test("of what has overtaken another nothing is learned, and what is first is still being read", () => {
    const reading = reader();
    sent(reading, { sentAt: 20_000, tokens: 2_000, whole: 2_000, given: 0, since: 0 });
    sent(reading, { sentAt: 20_010, tokens: 500, whole: 5_000, given: 4_500, since: 1 });
    expect(spoke(reading, 20_010, 20_100)).toBeUndefined();
    expect(leftToRead(reading, 20_100)).toBeCloseTo(1_000, 6);
  });

  test("the time for a token is the median: one that waited for something else moves it little", () => {
    const reading = reader();
    for (let i = 0; i < 50; i++) {
      const at = 20_000 + i * 10_000;
      sent(reading, { sentAt: at, tokens: 1_000, whole: 1_000, given: 0, since: 0 });
      spoke(reading, at, at + (i % 4 === 0 ? 5_000 : 100));
    }
    expect(reading.msPerToken).toBeGreaterThan(0.09);
    expect(reading.msPerToken).toBeLessThan(0.13);
  });
});
