import { describe, expect, test } from "vitest";
import type { ScalePolicy } from "../../schema/policy.ts";
import { policy, replica, replicas, signals } from "../../test/scaling.ts";
import { decide } from "./decide.ts";

const times = (count: number, value: number): number[] => Array<number>(count).fill(value);
type Given = Parameters<typeof signals>[0];

/** Decides at each of these times; what was needed. */
function play(scaling: ScalePolicy, looks: readonly [second: number, given: Given][]): number[] {
  let state: ReturnType<typeof decide>["state"] | undefined;
  return looks.map(([second, given]) => {
    const decision = decide(scaling, signals(given), state, second * 1000);
    ({ state } = decision);
    return decision.needed;
  });
}

describe("Knative's concurrency", () => {
  const knative = policy({ autoscaler: "concurrency", targetConcurrency: 10, max: 50 });

  test.each([
    { name: "in flight in a minute over 70 % of the target", concurrency: times(60, 28), ready: 4, needed: 4 },
    { name: "rounded up", concurrency: times(60, 28.1), ready: 4, needed: 5 },
    { name: "no fewer than half of what is ready", concurrency: times(60, 7), ready: 9, needed: 4 },
    { name: "by six seconds while those ask for twice what is ready", concurrency: [...times(54, 0), ...times(6, 70)], ready: 5, needed: 10 },
    { name: "and not while they ask for less", concurrency: [...times(54, 28), ...times(6, 60)], ready: 5, needed: 5 },
    { name: "of 100 at once where nothing is said: 70 each", concurrency: times(60, 140), ready: 2, needed: 2, targetConcurrency: undefined },
  ])("$name: $needed", ({ concurrency, ready, needed, ...given }) => {
    const { targetConcurrency: _, ...rest } = knative;
    expect(play("targetConcurrency" in given ? rest : knative, [[0, { concurrency, replicas: replicas(ready) }]])).toEqual([needed]);
  });

  test("it never goes down in a panic, and leaves it a stable window after the threshold was last passed", () => {
    const calm = { concurrency: times(60, 7), replicas: replicas(10) };
    const panic = { concurrency: [...times(54, 0), ...times(6, 70)], replicas: replicas(5) };
    expect(play(knative, [[0, panic], [2, calm], [60, calm], [61, calm], [62, calm]])).toEqual([10, 10, 10, 10, 5]);
  });

  test("the last goes when nothing was in flight for a stable window, and 30 s after", () => {
    const idle = { concurrency: times(60, 0), replicas: replicas(1) };
    const busy = { concurrency: [...times(59, 0), 1], replicas: replicas(1) };
    expect(play(knative, [[0, busy], [60, idle], [88, idle], [90, idle], [92, busy]])).toEqual([1, 1, 1, 0, 1]);
  });

  test("requests that were refused would have been in flight", () => {
    // 10/s of which 5 are refused; those that are answered take two seconds
    const given = { arrivals: times(60, 10), concurrency: times(60, 10), refused: 50, replicas: replicas(2) };
    expect(play(knative, [[0, given]])).toEqual([3]);
  });
});

describe("rates by accelerator", () => {
  const aware = policy({ autoscaler: "instance_aware", targetQps: { A100: 10, L4: 2 }, upscaleDelayMs: 0, downscaleDelayMs: 0 });
  const [strong, weak] = [{ accelerator: "A100" }, { accelerator: "L4" }];
  const starting = { phase: "starting", wasReady: false } as const;

  test.each([
    { name: "beyond the capacity as many more as the strongest serve", qps: 25, there: [replica(1, strong), replica(2, weak)], needed: 4 },
    { name: "at the capacity those that there are", qps: 12, there: [replica(1, strong), replica(2, weak)], needed: 2 },
    { name: "below it the strongest that are ready and serve more than the rate", qps: 9, there: [replica(1, weak), replica(2, strong), replica(3, weak)], needed: 1 },
    { name: "those that start are capacity", qps: 11, there: [replica(1, weak), replica(2, { ...strong, ...starting })], needed: 2 },
    { name: "a ready weak one is not given up for a strong one that starts (14)", qps: 1, there: [replica(1, weak), replica(2, { ...strong, ...starting })], needed: 1 },
    { name: "wakes from zero (15)", qps: 0.1, there: [], needed: 1 },
    { name: "what has ended, is ended or leaves is no capacity and is not counted (16)", qps: 9, there: [replica(1, { ...strong, leaving: true }), replica(2, { ...strong, phase: "stopping" }), replica(3, weak)], needed: 2 },
    { name: "nothing is needed of no requests", qps: 0, there: [replica(1, strong)], needed: 0 },
  ])("$name: $needed", ({ qps, there, needed }) => {
    expect(play(aware, [[0, { arrivals: times(60, qps), replicas: there }]])).toEqual([needed]);
  });
});

describe("queue length of pools", () => {
  const pool = policy({ autoscaler: "queue_length", targetQueue: 2, upscaleDelayMs: 0, downscaleDelayMs: 0 });
  const from = (count: number, given: Given): [number, Given][] => [[0, { waiting: 2, replicas: replicas(count, { inFlight: 1 }) }], [20, { replicas: replicas(count, { inFlight: 1 }), ...given }]];

  test.each([
    { name: "one more beyond the threshold", given: { waiting: 9 }, needed: 4 },
    { name: "the same at it", given: { waiting: 2 }, needed: 3 },
    { name: "one less below it", given: { waiting: 1 }, needed: 2 },
    { name: "with nothing waiting as many as are busy: idle ones go", given: { waiting: 0, replicas: [...replicas(2, { inFlight: 1 }), replica(3)] }, needed: 2 },
    { name: "none when none is busy", given: { waiting: 0, replicas: replicas(3) }, needed: 0 },
  ])("$name: $needed of 3", ({ given, needed }) => {
    expect(play(pool, from(3, given)).at(-1)).toBe(needed);
  });

  test("never none while one waits, and at once from zero", () => {
    expect(play(pool, [[0, {}], [1, { waiting: 1 }], [30, { waiting: 1, replicas: replicas(1, { inFlight: 1 }) }]])).toEqual([0, 1, 1]);
  });
});
