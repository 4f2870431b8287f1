import { describe, expect, test } from "vitest";
import { seeded } from "../schema/clock.ts";
import { linkTimes } from "../schema/protocol.ts";
import { reconnectMs } from "./reconnect.ts";

test.each([
  [0, false, 0.999, 0, 499, 500],
  [20, false, 0.999, 0, 9_900, 10_000],
  [3, false, 0, 0, 50, 50],
  [0, true, 0, 0, 60_000, 60_000],
  [9, true, 0.999, 0, 89_000, 90_000],
  [9, true, 0.999, 8_000, 89_000, 90_000],
  // a small fleet's spread is less than the first backoff's own
  [0, false, 0.999, 400, 499, 500],
  [0, false, 0.999, 8_000, 7_900, 8_000],
  [0, false, 0, 8_000, 0, 0],
  [1, false, 0, 8_000, 7_200, 7_200],
  [20, false, 0.999, 8_000, 9_900, 10_000],
])("reconnectMs(%i, refused %s) stays in its bounds", (attempt, refused, chance, spreadMs, least, most) => {
  const ms = reconnectMs(attempt, refused, () => chance, spreadMs);
  expect(ms).toBeGreaterThanOrEqual(least);
  expect(ms).toBeLessThanOrEqual(most);
});

test("no hub makes a host stay away beyond its lease", () => {
  expect(reconnectMs(0, false, () => 0.999, 600_000)).toBeLessThanOrEqual(10_000);
});

test.each([0, 8_000, 600_000])("a hub that was away for however long has its hosts back before their leases are over, which begin with its waking (spread %i ms)", (spreadMs) => {
  for (let attempt = 0; attempt < 50; attempt++) expect(reconnectMs(attempt, false, () => 0.999, spreadMs)).toBeLessThan(linkTimes.leaseMs - 3_000);
});

describe("row 28: 1,000 agents that lose their hub at once, on virtual time", () => {
  const agents = 1_000;
  /** All back within so long of the hub's return. */
  const backMs = 10_000;
  /** At most twice the rate at which all are back in that time, in any second. */
  const perSecondMax = (2 * agents * 1_000) / backMs;

  /** @returns when each attempt comes, and when the last agent is back, in ms from the loss */
  function herd(downMs: number, seed: number, spreadMs: number): { attempts: number[]; backAt: number } {
    const random = seeded(seed);
    const attempts: number[] = [];
    let backAt = 0;
    for (let agent = 0; agent < agents; agent++) {
      let at = 0;
      for (let attempt = 0; ; attempt++) {
        at += reconnectMs(attempt, false, random, spreadMs);
        attempts.push(at);
        if (at >= downMs) break;
      }
      backAt = Math.max(backAt, at);
    }
    return { attempts, backAt };
  }

  /** The most attempts in any second. */
  function peak(attempts: readonly number[]): number {
    const sorted = [...attempts].sort((a, b) => a - b);
    let most = 0;
    for (let from = 0, to = 0; to < sorted.length; to++) {
      while ((sorted[to] as number) - (sorted[from] as number) >= 1_000) from++;
      most = Math.max(most, to - from + 1);
    }
    return most;
  }

  test.each([0, 500, 3_000, 8_000, 20_000, 300_000])("are back within 10 s of its return after %i ms, at no more than twice the steady rate", (downMs) => {
    for (let seed = 1; seed <= 20; seed++) {
      const { attempts, backAt } = herd(downMs, seed, 8_000);
      expect(backAt - downMs, `seed ${seed}`).toBeLessThanOrEqual(backMs);
      expect(peak(attempts), `seed ${seed}`).toBeLessThanOrEqual(perSecondMax);
    }
  });

  test("would all come in one second if they only backed off", () => {
    expect(peak(herd(0, 1, 0).attempts)).toBe(agents);
  });
});
