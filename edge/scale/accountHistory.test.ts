import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seeded } from "../../schema/clock.ts";
import { policy, replicas, signals } from "../../test/scaling.ts";
import { decide, type DecideState } from "./decide.ts";

/** Looks as far apart: late ones, so that a long time is lived through quickly. */
const lookS = 20;
const hours = 16;
const max = 8;
/** Evened out over two hours, of bursts that are given all there is. */
const overdraftS = 7_200 * max;

/** Clumps of requests that come together, of a size and so many an hour; chance decides when. */
function clumped({ seed, size, anHour }: { seed: number; size: number; anHour: number }): number[] {
  const random = seeded(seed);
  return Array.from({ length: hours * 3600 }, () => (random() < anHour / 3600 ? Math.ceil(-size * Math.log(1 - random())) : 0));
}

const anyHistory = fc.record({ seed: fc.nat(), size: fc.integer({ min: 1, max: 300 }), anHour: fc.integer({ min: 60, max: 1800 }), targetQps: fc.double({ min: 0.5, max: 5, noNaN: true }), downscaleDelayMs: fc.option(fc.integer({ min: 0, max: 1_200_000 }), { nil: undefined }) });

describe("adaptive beside SkyServe's own, whatever has come", () => {
  test("holds no more than it, and than had to be within the window, but for what is evened out in two hours; its memory gone through JSON", () => {
    fc.assert(fc.property(anyHistory, ({ targetQps, downscaleDelayMs, ...of }) => {
      const given = { min: 1, max, targetQps, ...(downscaleDelayMs === undefined ? {} : { downscaleDelayMs }) };
      const [ours, theirs] = [policy({ ...given, autoscaler: "adaptive" }), policy({ ...given, autoscaler: "request_rate" })];
      const perS = clumped(of);
      let [mine, its]: (DecideState | undefined)[] = [];
      // what had to be stays for the window
      const musts: number[] = [];
      const windowLooks = Math.ceil((downscaleDelayMs ?? 90_000) / 1000 / lookS) + 1;
      let more = 0;
      for (let second = lookS; second <= perS.length; second += lookS) {
        const arrivals = perS.slice(Math.max(0, second - 600), second);
        const seen = signals({ arrivals, concurrency: arrivals.slice(-60), coldStartMs: 90_000, replicas: replicas(mine?.desired ?? 1) });
        const [held, skyserve] = [mine?.needed ?? 1, Math.max(1, its?.needed ?? 1)];
        musts.push(mine?.own.adaptive?.account?.must ?? 0);
        const must = Math.max(...musts.slice(-windowLooks));
        more += (held - Math.min(max, Math.max(skyserve, must))) * lookS;
        mine = JSON.parse(JSON.stringify(decide(ours, seen, mine, second * 1000).state)) as DecideState;
        its = decide(theirs, seen, its, second * 1000).state;
      }
      expect(more).toBeLessThanOrEqual(overdraftS);
    }), { numRuns: 8, seed: 3 });
  });
});
