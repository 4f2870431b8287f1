import { describe, expect, test } from "vitest";
import { brake, brakeReason, heldMsMax, missingSince, nextLook, settleMs, windowMs, type Brake, type BrakeHost } from "./brake.ts";

const now = 10_000_000;
const hosts = (there: number, ...missing: number[]): BrakeHost[] => [...Array.from({ length: there }, () => ({ missingSince: undefined })), ...missing.map((since) => ({ missingSince: since }))];
const lost = (there: number, count: number, ago = 5_000): BrakeHost[] => hosts(there, ...Array.from({ length: count }, () => now - ago));

describe("brake()", () => {
  test.each<[string, BrakeHost[], boolean]>([
    ["nothing lost", lost(10, 0), false],
    ["half", lost(5, 5), false],
    ["55 %", lost(9, 11), false],
    ["60 %", lost(4, 6), true],
    ["all", lost(0, 10), true],
    ["two of three", lost(1, 2), true],
    ["both of two: whoever comes back first had better take over", lost(0, 2), false],
    ["no hosts", [], false],
    ["60 %, but one after the other", hosts(4, now - 5_000, now - 40_000, now - 80_000, now - 120_000, now - 160_000, now - 200_000), false],
    ["60 % of those that were there a moment ago, others having gone long before", [...lost(4, 6), ...lost(0, 90, 3_600_000)], true],
    ["at the edge of the window", lost(4, 6, windowMs), true],
    ["just beyond it", lost(4, 6, windowMs + 1), false],
  ])("%s", (_, given, isOn) => {
    expect(brake(undefined, given, now) !== undefined).toBe(isOn);
  });

  const on = brake(undefined, lost(4, 6), now) as Brake;

  test("stays on while hosts come back one by one, for as long as an agent may wait between two connections", () => {
    const back = brake(on, lost(9, 1), now + 5_000);
    expect(back).toEqual(on);
    expect(brake(back, lost(9, 1), now + settleMs - 1)).toEqual(on);
    expect(brake(back, lost(9, 1), now + settleMs)).toBeUndefined();
  });

  test("is off at once when all are back", () => {
    expect(brake(on, lost(10, 0), now + 1_000)).toBeUndefined();
  });

  test("stays on as long as the loss lasts, but not for ever: after five minutes it is believed, and not doubted again", () => {
    let current: Brake | undefined = on;
    for (let at = now; at < now + heldMsMax; at += 10_000) {
      current = brake(current, lost(4, 6), at);
      expect(current?.since).toBe(now);
    }
    expect(brake(current, lost(4, 6), now + heldMsMax)).toBeUndefined();
    expect(brake(undefined, lost(4, 6), now + heldMsMax + 1)).toBeUndefined();
  });

  test("lasts as long as ever when the clock is set back", () => {
    const back = now - 3_600_000;
    const gone = (at: number): BrakeHost[] => hosts(4, ...Array.from({ length: 6 }, () => at));
    let current = brake(on, gone(now - 5_000), back);
    expect(nextLook(current as Brake)).toBe(back + settleMs);
    for (let at = back; at < back + heldMsMax; at += 10_000) current = brake(current, gone(now - 5_000), at);
    expect(brake(current, gone(now - 5_000), back + heldMsMax)).toBeUndefined();
  });

  test("says when to look again, and why it is on", () => {
    expect(nextLook(on)).toBe(now + settleMs);
    expect(nextLook({ ...on, pressedAt: now + heldMsMax })).toBe(now + heldMsMax);
    expect(brakeReason(on)).toBe("6 of 10 hosts were lost at once: nothing is moved until they are back, for 5 minutes at most");
  });
});

test.each([
  ["there", now - 5_000, true, undefined, undefined],
  ["a heartbeat late", now - 7_500, true, undefined, undefined],
  ["silent", now - 8_000, true, undefined, now - 3_000],
  ["its link closed", now - 8_000, false, now - 2_000, now - 2_000],
  ["said goodbye", 0, false, undefined, 0],
])("missingSince(): %s", (_, heardAt, linkUp, lostAt, since) => {
  expect(missingSince(heardAt, linkUp, lostAt, now)).toBe(since);
});
