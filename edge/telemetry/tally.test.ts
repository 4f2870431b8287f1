import { describe, expect, test } from "vitest";
import { bucketOf, cellSize, cellsMax, digestBoundsMs, digests, endings, layout, quantileMs, tallies } from "../../schema/telemetry.ts";
import { endedAt, endingOf, Tally } from "./tally.ts";

test("no two counts share a place, and all have one", () => {
  const sizes = { endings: endings.length, attempts: 11, resumes: 4, tallies: tallies.length, latency: 16, ttft: 20, itl: 18, lacks: 2, heldTtft: 19 };
  let place = 0;
  for (const [name, size] of Object.entries(sizes)) {
    expect([name, layout[name as keyof typeof layout]]).toEqual([name, place]);
    place += size;
  }
  expect(cellSize).toBe(place);
  expect(Object.values(endedAt)).toEqual(endings.map((_, i) => layout.endings + i));
});

test.each([[200, "2xx"], [204, "2xx"], [308, "3xx"], [400, "4xx"], [404, "4xx"], [429, "429"], [499, "4xx"], [500, "5xx"], [504, "5xx"]])("status %i counts as %s", (status, ending) => {
  expect(endings[endingOf(status) - layout.endings]).toBe(ending);
});

describe("digests", () => {
  test.each(digests)("the bounds of %s rise, and a time on a bound is within it", (digest) => {
    const bounds: readonly number[] = digestBoundsMs[digest];
    for (const [at, bound] of bounds.entries()) {
      expect(bound).toBeGreaterThan(bounds[at - 1] ?? 0);
      expect([bucketOf(bounds, bound), bucketOf(bounds, bound + 0.1)]).toEqual([at, at + 1]);
    }
    expect(bucketOf(bounds, 0)).toBe(0);
    expect(bucketOf(bounds, 1e9)).toBe(bounds.length);
  });

  test("quantileMs() is linear within its bucket", () => {
    const bounds = [10, 20, 40];
    expect(quantileMs(bounds, [0, 0, 0, 0], 0.5)).toBeUndefined();
    expect(quantileMs(bounds, [], 0.5)).toBeUndefined();
    expect(quantileMs(bounds, [2, 0, 0, 0], 0.5)).toBe(5);
    expect(quantileMs(bounds, [1, 0, 2, 0], 0.5)).toBe(25);
    expect(quantileMs(bounds, [0, 0, 0, 3], 0.5)).toBe(40);
  });
});

describe("Tally", () => {
  test("is told once, and forgets what nobody asks for any more", () => {
    const tally = new Tally();
    tally.of("chat", "vendor").ended(endedAt.ok);
    tally.of("chat", "vendor").took("ttft", 42.4);
    tally.of("chat", "").add("arrivals", 2);
    const told = tally.drain();
    expect(told.map(({ service, upstream }) => [service, upstream])).toEqual([["chat", "vendor"], ["chat", ""]]);
    expect(told[0]?.counts[endedAt.ok]).toBe(1);
    expect(told[0]?.counts[layout.ttft]).toBe(42);
    expect(told[0]?.counts[layout.ttft + 1 + bucketOf(digestBoundsMs.ttft, 42.4)]).toBe(1);
    expect(told[1]?.counts[layout.tallies + tallies.indexOf("arrivals")]).toBe(2);
    expect(tally.drain()).toEqual([]);
    tally.of("chat", "vendor").ended(endedAt.ok);
    expect(tally.drain()).toHaveLength(1);
    expect(told[0]?.counts[endedAt.ok]).toBe(1);
  });

  test("is bounded: what is beyond its cells is counted nowhere and breaks nothing", () => {
    const tally = new Tally();
    for (let i = 0; i < 2 * cellsMax.told; i++) tally.of(`service-${i}`, "").add("arrivals", 1);
    expect(tally.drain()).toHaveLength(cellsMax.told);
    tally.drain();
    tally.of("late", "").add("arrivals", 1);
    expect(tally.drain().map(({ service }) => service)).toEqual(["late"]);
  });

  test("an outcome or a method that it does not know adds nothing", () => {
    const tally = new Tally();
    tally.of("chat", "").attempt("of tomorrow");
    tally.of("chat", "").resume("of tomorrow");
    expect(tally.drain()).toEqual([]);
  });
});
