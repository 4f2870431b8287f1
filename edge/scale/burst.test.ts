import { describe, expect, test } from "vitest";
import { seeded } from "../../schema/clock.ts";
import { blocks, dispersion, levelBlocks, surge, trend } from "./burst.ts";
import { fewest, replay } from "./replay.ts";

const times = (count: number, value: number): number[] => Array<number>(count).fill(value);
const random = seeded(5);
/** A burst of so many each so many seconds in the mean. */
const bursty = (seconds: number, size: number, each: number): number[] => Array.from({ length: seconds }, () => (random() < 1 / each ? size : 0));
const noisy = (seconds: number, perS: number): number[] => Array.from({ length: seconds }, () => Math.round(perS + (random() - 0.5) * Math.sqrt(12 * perS)));

describe("burstiness", () => {
  test("the index of dispersion is 1 of steady and of Poisson's arrivals, and a burst's size of bursts", () => {
    expect(dispersion(blocks(times(600, 10)))).toBe(1);
    expect(dispersion(blocks(noisy(600, 10)))).toBeLessThan(2);
    const index = dispersion(blocks(bursty(6000, 100, 20)));
    expect(index).toBeGreaterThan(50);
    expect(index).toBeLessThan(150);
  });

  test("a change of level is no burstiness", () => {
    expect(dispersion(blocks([...noisy(300, 10), ...noisy(300, 100)]))).toBeLessThan(3);
  });

  test.each([
    { name: "all is one level", arrivals: noisy(600, 10), level: 40 },
    { name: "a rise that lasts is another", arrivals: [...noisy(540, 3), ...noisy(60, 30)], level: 4 },
    { name: "a fall after a rise is the newest", arrivals: [...noisy(300, 3), ...noisy(240, 30), ...noisy(60, 3)], level: 4 },
    { name: "bursts are one level", arrivals: bursty(600, 100, 20), level: 40 },
    { name: "a steady rise is one level", arrivals: Array.from({ length: 600 }, (_, i) => 5 + i / 60), level: 40 },
  ])("$name: $level blocks", ({ arrivals, level }) => {
    expect(levelBlocks(blocks(arrivals))).toBe(level);
  });

  test.each([
    { name: "none while all is as before", arrivals: noisy(300, 10), least: undefined, most: undefined },
    { name: "none of what chance brings of a service that is seen all day: 15 seconds of a fifth more", arrivals: [...times(300, 27), ...times(15, 33)], least: undefined, most: undefined },
    { name: "three seconds of ten times as many", arrivals: [...noisy(300, 10), ...times(3, 100)], least: 85, most: 100 },
    { name: "none of a burst like those before", arrivals: [...bursty(300, 100, 20), 100], least: undefined, most: undefined },
    { name: "none of a request after a long pause", arrivals: [...times(300, 0), 1], least: undefined, most: undefined },
  ])("a surge: $name", ({ arrivals, least, most }) => {
    const found = surge(arrivals);
    if (least === undefined) expect(found).toBeUndefined();
    else {
      expect(found).toBeGreaterThanOrEqual(least);
      expect(found).toBeLessThanOrEqual(most);
    }
  });

  test("a trend is what chance does not explain", () => {
    expect(trend(blocks(noisy(600, 10))).slope).toBe(0);
    const { perS, slope } = trend(blocks(Array.from({ length: 600 }, (_, i) => 5 + i / 60)));
    expect(perS).toBeCloseTo(15, 0);
    expect(slope).toBeCloseTo(1 / 60, 4);
  });

  test("a large clump that comes last of many is no trend", () => {
    const before = times(40, 0).map((_, i) => (i % 3 === 0 ? 450 : 0));
    expect(trend([...before.slice(0, -2), 2000, 2000]).slope).toBe(0);
  });
});

describe("replay()", () => {
  const capacity = { wellPerS: 2, perS: 2, slots: 10, beginsPerS: 20 };

  test.each([
    { name: "what replicas can do waits for nothing", arrivals: times(100, 4), replicas: 2, late: 0, waiting: 0 },
    { name: "with half of them the queue grows by what is too much: 2 each second", arrivals: times(100, 4), replicas: 1, late: 300, waiting: 90 },
    { name: "a burst finds free slots", arrivals: [...times(50, 0), 20, ...times(49, 0)], replicas: 2, late: 0, waiting: 0 },
  ])("$name", ({ arrivals, replicas, late, waiting }) => {
    const seen = replay(arrivals, replicas, capacity, 1, 0);
    if (late === 0) expect(seen).toMatchObject({ late, waiting });
    else {
      expect(seen.late).toBeGreaterThan(late);
      expect(seen.waiting).toBeGreaterThan(0.8 * waiting);
    }
  });

  test("the fewest of an SLO are those with which no larger share is late, and one fewer is too few", () => {
    const arrivals = bursty(600, 60, 15);
    const asked = { worth: 1, slo: { waitS: 1, share: 0.05 }, from: 0, most: 100 };
    const count = fewest(arrivals, capacity, asked);
    const lateOf = (replicas: number): number => replay(arrivals, replicas, capacity, 1, 0).late / replay(arrivals, replicas, capacity, 1, 0).requests;
    expect(lateOf(count)).toBeLessThanOrEqual(0.05);
    expect(lateOf(count - 1)).toBeGreaterThan(0.05);
  });

  test("without one, more are worth it the fewer they must spare; none of nothing; never more than allowed", () => {
    const arrivals = bursty(600, 60, 15);
    const of = (worth: number): number => fewest(arrivals, capacity, { worth, from: 0, most: 100 });
    expect(of(0.1)).toBeGreaterThan(of(5));
    expect(fewest(times(100, 0), capacity, { worth: 1, from: 0, most: 100 })).toBe(0);
    expect(fewest(times(100, 50), capacity, { worth: 1, from: 0, most: 7 })).toBe(7);
  });
});
