import * as fc from "fast-check";
import { expect, test } from "vitest";
import { backoffMs, seeded, systemClock } from "./clock.ts";

test("seeded() gives the same numbers for the same seed, and others for another", () => {
  const of = (seed: number) => Array.from({ length: 5 }, seeded(seed));
  expect(of(42)).toEqual(of(42));
  expect(of(42)).not.toEqual(of(43));
  expect(seeded(42)()).toBe(0.6011037519201636);
});

test("seeded() is uniform in [0, 1)", () => {
  const random = seeded(7);
  const buckets = Array.from({ length: 10 }, () => 0);
  for (let i = 0; i < 10_000; i++) {
    const value = random();
    expect(value >= 0 && value < 1).toBe(true);
    const at = Math.floor(value * 10);
    buckets[at] = (buckets[at] ?? 0) + 1;
  }
  for (const count of buckets) expect(Math.abs(count - 1_000)).toBeLessThan(150);
});

test("backoffMs() stays between its floor and its ceiling, which doubles up to the cap", () => {
  fc.assert(fc.property(fc.nat(10_000), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (attempt, chance) => {
    const ms = backoffMs(attempt, () => chance);
    expect(Number.isInteger(ms)).toBe(true);
    expect(ms).toBeGreaterThanOrEqual(50);
    expect(ms).toBeLessThanOrEqual(Math.min(30_000, 500 * 2 ** Math.min(attempt, 30)));
  }), { numRuns: 500 });
});

test.each([[0, 500], [1, 1_000], [2, 2_000], [5, 16_000], [6, 30_000], [1_000, 30_000]])("backoffMs() of attempt %d is at most %d ms", (attempt, ms) => {
  expect(backoffMs(attempt, () => 1)).toBe(ms);
});

test("backoffMs() keeps to the bounds it is given", () => {
  expect(backoffMs(3, () => 1, { baseMs: 10, capMs: 40 })).toBe(50);
  expect(backoffMs(3, () => 1, { baseMs: 10, capMs: 40, floorMs: 1 })).toBe(40);
  expect(backoffMs(3, () => 0, { floorMs: 200 })).toBe(200);
});

test("systemClock is the machine's", () => {
  const before = Date.now();
  const now = systemClock.now();
  expect(now).toBeGreaterThanOrEqual(before);
  expect(now).toBeLessThanOrEqual(Date.now());
});
