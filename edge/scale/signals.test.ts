import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Region } from "../../schema/region.ts";
import type { RegionFacts } from "../../schema/scale.ts";
import { facts, replica } from "../../test/scaling.ts";
import { observe, type SignalMemory } from "./signals.ts";
import { sumOf } from "./series.ts";

/** Looks one after the other: what each was told, at which time. */
function look(looks: readonly { at: number; told: readonly RegionFacts[]; regions?: number }[]): ReturnType<typeof observe> {
  let seen: ReturnType<typeof observe> | undefined;
  for (const { at, told, regions } of looks) seen = observe(seen?.memory, told, regions ?? 1, at);
  if (seen === undefined) throw new Error("Cannot look at nothing: no look is given");
  return seen;
}

describe("observe()", () => {
  test("what a Hub counted before it was first heard counts for nothing, unless it says since when", () => {
    expect(sumOf(look([{ at: 100_000, told: [facts({ at: 100_000, demand: { arrivals: 500 } })] }, { at: 101_000, told: [] }]).signals.arrivals)).toBe(0);
    const { arrivals } = look([{ at: 100_000, told: [facts({ at: 100_000, since: 50_000, demand: { arrivals: 500 } })] }, { at: 101_000, told: [] }]).signals;
    expect(arrivals).toHaveLength(51);
    expect(arrivals.slice(0, 50)).toEqual(Array(50).fill(10));
  });

  test("arrivals of a longer gap are spread over its seconds", () => {
    const { signals } = look([
      { at: 10_000, told: [facts({ at: 10_000 })] },
      { at: 14_000, told: [facts({ at: 14_000, demand: { arrivals: 8 } })] },
      { at: 15_000, told: [facts({ at: 15_000, demand: { arrivals: 11 } })] },
    ]);
    expect(signals.arrivals).toEqual([2, 2, 2, 2, 3]);
  });

  test("the second that is not over does not count yet", () => {
    const first = [{ at: 10_000, told: [facts({ at: 10_000 })] }, { at: 11_500, told: [facts({ at: 11_500, demand: { arrivals: 15 } })] }];
    expect(look(first).signals.arrivals).toEqual([10]);
    expect(look([...first, { at: 12_000, told: [facts({ at: 12_000, demand: { arrivals: 15 } })] }]).signals.arrivals).toEqual([10, 5]);
  });

  test("another stamp begins its sums anew: all of them came since the last look", () => {
    const { signals } = look([
      { at: 10_000, told: [facts({ at: 10_000, demand: { arrivals: 1000 } })] },
      { at: 12_000, told: [facts({ at: 12_000, stamp: "b", demand: { arrivals: 6, refused: 2, spilled: 1 } })] },
    ]);
    expect(signals).toMatchObject({ arrivals: [3, 3], refused: 2, spilled: 1 });
  });

  test("a report that is older than the last adds nothing, of whatever stamp, and its region counts as not heard", () => {
    const late = facts({ at: 11_000, stamp: "old", demand: { arrivals: 77, held: 5 } });
    const { signals } = look([{ at: 10_000, told: [facts({ at: 10_000 })] }, { at: 12_000, told: [facts({ at: 12_000, demand: { arrivals: 4 } })] }, { at: 13_000, told: [late] }]);
    expect(signals).toMatchObject({ arrivals: [2, 2, 0], partial: true, waiting: 0 });
  });

  test("refused and spilled are of the last ten seconds", () => {
    const told = facts({ at: 12_000, demand: { arrivals: 9, refused: 6, spilled: 3 } });
    const looks = [{ at: 10_000, told: [facts({ at: 10_000 })] }, { at: 12_000, told: [told] }];
    expect(look([...looks, { at: 19_000, told: [] }]).signals).toMatchObject({ refused: 6, spilled: 3 });
    expect(look([...looks, { at: 22_000, told: [] }]).signals).toMatchObject({ refused: 0, spilled: 0 });
  });

  test("in flight is what replicas have, what is held, and what is at providers; waiting what is held and what engines queue", () => {
    const told = facts({ at: 10_000, demand: { held: 3, spilledInFlight: 2 }, replicas: [replica(1, { inFlight: 7, load: { running: 4, queueDepth: 3 } }), replica(2, { inFlight: 1 }), replica(3, { phase: "stopped", inFlight: 9 })] });
    const { signals } = look([{ at: 10_000, told: [told] }]);
    expect(signals).toMatchObject({ concurrency: [13], waiting: 6, partial: false });
    expect(signals.replicas.map(({ number }) => number)).toEqual([1, 2]);
  });

  test("a region that is missing makes them partial, and what it had in flight still counts", () => {
    const both = [facts({ region: "weur", at: 10_000, demand: { held: 3 } }), facts({ region: "enam", at: 10_000, braked: true })];
    expect(look([{ at: 10_000, told: both, regions: 2 }]).signals).toMatchObject({ partial: false, braked: true });
    expect(look([{ at: 10_000, told: both, regions: 2 }, { at: 12_000, told: both.slice(1), regions: 2 }]).signals).toMatchObject({ partial: true, waiting: 3, concurrency: [3, 3, 3] });
  });

  test("answers count for a minute", () => {
    const looks = [{ at: 10_000, told: [facts({ at: 10_000, demand: { ttft: [5], itl: [9] } })] }, { at: 20_000, told: [facts({ at: 20_000, demand: { ttft: [7, 1], itl: [9] } })] }];
    expect(look(looks).signals).toMatchObject({ ttft: [2, 1], itl: [0] });
    expect(look([...looks, { at: 79_000, told: [] }]).signals.ttft).toEqual([2, 1]);
    expect(look([...looks, { at: 91_000, told: [] }]).signals.ttft).toEqual([]);
  });

  test("a cold start is what passes from when a replica is first seen until it is first seen ready", () => {
    const at = (time: number, phase: "pending" | "starting" | "ready", digest = "d1"): { at: number; told: RegionFacts[] } => ({ at: time, told: [facts({ at: time, replicas: [replica(1, { phase, digest })] })] });
    expect(look([at(0, "pending"), at(10_000, "starting"), at(95_000, "ready"), at(97_000, "ready")]).signals.coldStartMs).toBe(95_000);
    // one that is ready when it is first seen, or that was ready before, tells nothing
    expect(look([at(0, "ready"), at(5_000, "ready")]).signals.coldStartMs).toBeUndefined();
    // a new version starts anew
    expect(look([at(0, "ready"), at(5_000, "starting", "d2"), at(25_000, "ready", "d2")]).signals.coldStartMs).toBe(20_000);
  });

  test("whatever is lost, repeated, reordered or late, sums are counted once, and each second's arrivals are those that came in it", () => {
    const regions: Region[] = ["weur", "enam"];
    const report = fc.record({ region: fc.constantFrom(...regions), wait: fc.integer({ min: 0, max: 4000 }), arrivals: fc.nat(50), restarts: fc.constantFrom(false, false, false, true) });
    const delivery = fc.array(fc.nat(30), { maxLength: 60 });
    fc.assert(fc.property(fc.array(report, { minLength: 1, maxLength: 30 }), delivery, (reports, order) => {
      // what Hubs say: sums since their waking; what is not told before a Hub's end is lost with it
      const sums = new Map<Region, { stamp: number; arrivals: number }>();
      let at = 1_000_000;
      const told = regions.map((region) => facts({ region, at, stamp: "0" }));
      for (const { region, wait, arrivals, restarts } of reports) {
        at += wait + 1;
        const before = sums.get(region) ?? { stamp: 0, arrivals: 0 };
        const sum = restarts ? { stamp: before.stamp + 1, arrivals } : { ...before, arrivals: before.arrivals + arrivals };
        sums.set(region, sum);
        told.push(facts({ region, at, stamp: String(sum.stamp), demand: { arrivals: sum.arrivals } }));
      }
      // any order, any of them twice; in the end each region's last one
      const last = regions.map((region) => told.findLast((one) => one.region === region)).filter((one) => one !== undefined);
      let memory: SignalMemory | undefined = observe(undefined, told.slice(0, 2), 2, 1_000_000).memory;
      const counted = new Map(regions.map((region) => [region, { at: 1_000_000, stamp: "0", arrivals: 0, sum: 0 }]));
      for (const one of [...order.map((i) => told[i % told.length]).filter((one) => one !== undefined), ...last]) {
        memory = JSON.parse(JSON.stringify(observe(memory, [one, one], 2, at).memory)) as SignalMemory;
        const known = counted.get(one.region);
        if (known === undefined || one.at < known.at) continue;
        counted.set(one.region, { at: one.at, stamp: one.stamp, arrivals: one.demand.arrivals, sum: known.sum + one.demand.arrivals - (known.stamp === one.stamp ? known.arrivals : 0) });
      }
      const expected = [...counted.values()].reduce((sum, one) => sum + one.sum, 0);
      const { signals } = observe(memory, last, 2, at + 1000);
      expect(sumOf(signals.arrivals)).toBeCloseTo(expected, 6);
      expect(observe(memory, last, 2, at + 1000)).toEqual(observe(observe(memory, last, 2, at + 1000).memory, last, 2, at + 1000));
    }), { numRuns: 300 });
  });
});
