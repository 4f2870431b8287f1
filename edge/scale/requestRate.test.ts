import { describe, expect, test } from "vitest";
import type { ScalePolicy } from "../../schema/policy.ts";
import { decideAnew, live, policy, replicas, signals } from "../../test/scaling.ts";
import { decide } from "./decide.ts";

const skyServe = (given: Partial<ScalePolicy> = {}): ScalePolicy => policy({ autoscaler: "request_rate", min: 1, max: 10, targetQps: 10, ...given });
const times = (count: number, value: number): number[] => Array<number>(count).fill(value);
/** So many requests each second from a time on. */
const from = (atS: number, perS: number) => (second: number): number => (second >= atS ? perS : 0);

describe("SkyServe's request rate", () => {
  test.each([
    { qps: 0, target: 1 }, { qps: 10, target: 1 }, { qps: 10.1, target: 2 }, { qps: 25, target: 3 }, { qps: 1000, target: 10 },
  ])("of $qps requests/s it computes $target", ({ qps, target }) => {
    const decision = decideAnew(skyServe(), signals({ arrivals: times(60, qps) }));
    expect(decision.needed).toBe(target);
  });

  test("the rate is all requests of a minute over a minute, and older ones do not count", () => {
    const arrivals = [...times(300, 1000), ...times(59, 0), 900];
    expect(decideAnew(skyServe(), signals({ arrivals }))).toMatchObject({ needed: 2, reason: expect.stringContaining("15 requests/s in a minute, 10 each") as string });
    expect(decideAnew(skyServe(), signals({ arrivals: [600] }))).toMatchObject({ needed: 1 });
  });

  test("up: 15 decisions, 280 s from the first to the last", () => {
    // 10/s of the minute are not passed at 40 s (20 × 5 + 20 × 25 = 600), and are at 60 s
    const { changes } = live(skyServe(), { perS: (second) => (second < 20 ? 5 : 25) }, 600);
    expect(changes).toEqual([{ at: 0, desired: 1 }, { at: 60 + 280, desired: 3 }]);
  });

  test("down: 60 decisions, 1180 s from the first to the last, straight to the newest target", () => {
    const { changes } = live(skyServe({ min: 1 }), { perS: (second) => (second < 600 ? 45 : 5) }, 2400);
    // up: 45/s is above 10/s of the minute from 20 s on, and the 15th decision is the one at 300 s
    expect(changes[1]).toEqual({ at: 300, desired: 5 });
    // below 40/s from 620 s on: 40 × 45 + 20 × 5 = 31.7/s
    expect(changes[2]).toEqual({ at: 620 + 1180, desired: 1 });
  });

  test.each([
    { name: "15 in a row above are taken over with the 15th", qps: times(15, 25), taken: 14, to: 3 },
    { name: "one equal reading after 14 begins the count anew", qps: [...times(14, 25), 15, ...times(15, 25)], taken: 29, to: 3 },
    { name: "one contrary reading after 14 begins the count anew", qps: [...times(14, 25), 5, ...times(15, 25)], taken: 29, to: 3 },
    { name: "of those above it is the newest that is taken over", qps: [...times(14, 25), 95], taken: 14, to: 10 },
    { name: "60 in a row below are taken over with the 60th", qps: times(60, 5), taken: 59, to: 1 },
    { name: "one equal reading after 59 below begins the count anew", qps: [...times(59, 5), 20, ...times(60, 5)], taken: 119, to: 1 },
    { name: "one reading above after 59 below begins the count anew", qps: [...times(59, 5), 25, ...times(60, 5)], taken: 119, to: 1 },
  ])("of two replicas: $name", ({ qps, taken, to }) => {
    let { state } = decideAnew(skyServe(), signals({ arrivals: times(60, 20) }));
    expect(state.desired).toBe(2);
    const desired = qps.map((perS, i) => {
      const decision = decide(skyServe(), signals({ arrivals: times(60, perS) }), state, (i + 1) * 20_000);
      ({ state } = decision);
      return decision.desired;
    });
    expect(desired.findIndex((count) => count !== 2)).toBe(taken);
    expect(desired[taken]).toBe(to);
  });

  test.each([
    { upscaleDelayMs: 0, at: 20 }, { upscaleDelayMs: 20_000, at: 20 }, { upscaleDelayMs: 39_000, at: 20 }, { upscaleDelayMs: 40_000, at: 40 }, { upscaleDelayMs: 100_000, at: 100 },
  ])("a delay of $upscaleDelayMs ms acts $at s after the beginning: below 40 s on the first decision", ({ upscaleDelayMs, at }) => {
    const { changes } = live(skyServe({ upscaleDelayMs, targetQps: 1 }), { perS: () => 30 }, 200);
    expect(changes[1]?.at).toBe(at);
  });

  test("from zero it looks every 5 s and jumps at once", () => {
    const { changes, decisions } = live(skyServe({ min: 0 }), { perS: from(12, 300) }, 60);
    expect(decisions[0]?.nextMs).toBe(5000);
    // 3 s of 300/s are 15/s of the minute
    expect(changes).toEqual([{ at: 0, desired: 0 }, { at: 15, desired: 2 }]);
    expect(decisions.at(-1)?.nextMs).toBe(20_000);
  });

  test("with overprovision it looks every 20 s, and at zero wants those to spare", () => {
    const decision = decideAnew(skyServe({ min: 0, overprovision: 1 }), signals());
    expect(decision).toMatchObject({ needed: 0, desired: 1, nextMs: 20_000 });
  });

  test("a new policy holds at once: its target is computed with its own figures", () => {
    const arrivals = times(600, 20);
    const before = decideAnew(skyServe({ targetQps: 10 }), signals({ arrivals }));
    expect(before.needed).toBe(2);
    const after = decide(skyServe({ targetQps: 4 }), signals({ arrivals }), before.state, 1000);
    expect(after).toMatchObject({ needed: 5, action: "up" });
  });

  test("requests that were refused count", () => {
    const arrivals = times(60, 50);
    expect(decideAnew(skyServe(), signals({ arrivals, refused: 500, replicas: replicas(1) })).needed).toBe(5);
  });

  test("without a target for each it stays with what there is, and says so", () => {
    const { targetQps: _, ...rest } = skyServe();
    expect(decide(rest, signals({ replicas: replicas(3) }), undefined, 0)).toMatchObject({ needed: 3, reason: expect.stringContaining("target_qps_per_replica is not a number") as string });
  });
});
