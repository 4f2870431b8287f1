import { describe, expect, test } from "vitest";
import { policy, replicas, signals } from "../../test/scaling.ts";
import { slowerThan, stretched, type Stretch } from "./attainment.ts";
import { capacityOf, lastsS, learn, type Learned } from "./learned.ts";

const times = (count: number, value: number): number[] => Array<number>(count).fill(value);
const none = policy({ autoscaler: "adaptive" });

/** Ten minutes of looks, two seconds apart, at a service that stays as it is. */
function watched(perS: number, inFlight: number, count: number, load: { running: number; queueDepth: number }): Learned {
  let learned: Learned | undefined;
  const same = signals({ arrivals: times(600, perS), concurrency: [inFlight], waiting: load.queueDepth * count, replicas: replicas(count, { load }) });
  for (let second = 0; second <= 600; second += 2) learned = learn(learned, same, second * 1000);
  if (learned === undefined) throw new Error("Cannot watch for no time");
  return learned;
}

describe("what is learned of replicas", () => {
  test("how long requests are in service, by Little's law, what waits left out", () => {
    expect(lastsS(watched(10, 40, 4, { running: 10, queueDepth: 0 }))).toBeCloseTo(4, 5);
    expect(lastsS(watched(10, 60, 4, { running: 10, queueDepth: 5 }))).toBeCloseTo(4, 5);
  });

  test("of full ones what they serve at once and in a second", () => {
    const { slots, perS } = capacityOf(none, watched(10, 80, 4, { running: 15, queueDepth: 5 }), 1);
    expect(slots).toBeCloseTo(15, 5);
    expect(perS).toBeCloseTo(2.5, 5);
  });

  test("nothing of such as are not full, or whose load is not known", () => {
    expect(watched(10, 40, 4, { running: 15, queueDepth: 1 }).slots).toBeUndefined();
    expect(capacityOf(none, watched(10, 40, 4, { running: 15, queueDepth: 1 }), 1).slots).toBe(70);
  });

  test.each([
    { name: "a rate is what one does well: it does a quarter more", given: { targetQps: 4 }, expected: { wellPerS: 4, perS: 5 } },
    { name: "of rates by accelerator the least", given: { targetQps: { L4: 2, A100: 9 } }, expected: { wellPerS: 2 } },
    { name: "so many at once, for as long as one takes", given: { targetConcurrency: 8 }, expected: { slots: 8, perS: 2 } },
    { name: "stretched", given: { targetQps: 4 }, stretch: 0.5, expected: { wellPerS: 2 } },
  ])("what people say comes first: $name", ({ given, expected, stretch = 1 }) => {
    const seen = watched(10, 40, 4, { running: 10, queueDepth: 0 });
    const capacity = capacityOf(policy({ autoscaler: "adaptive", ...given }), seen, stretch);
    for (const [key, value] of Object.entries(expected)) expect(capacity[key as keyof typeof capacity]).toBeCloseTo(value, 5);
  });

  test("looking twice at the same time teaches nothing", () => {
    const once = watched(10, 40, 4, { running: 10, queueDepth: 0 });
    expect(learn(once, signals({ concurrency: [99], replicas: replicas(1) }), once.at)).toEqual(once);
  });
});

describe("what is corrected by the SLO", () => {
  const scaling = policy({ autoscaler: "adaptive", slo: { ttftMs: 500, percentile: 0.95 } });
  // the tenth bucket ends at 500 ms
  const answers = (fast: number, slow: number): number[] => [...times(9, 0), fast, 0, slow];
  const after = (minutes: number, ttft: number[], busy = { isBusy: true, isSteady: true }): number => {
    let stretch: Stretch | undefined;
    for (let second = 0; second <= minutes * 60; second += 2) stretch = stretched(stretch, scaling, signals({ ttft }), busy, second * 1000);
    return stretch?.by ?? Number.NaN;
  };

  test("the share that was slower is taken to lie evenly within its bucket", () => {
    expect(slowerThan([100, 200], [5, 10, 5], 150)).toEqual({ share: 0.5, of: 20 });
  });

  test("what was taken off is given back when answers are fast, to idle ones too", () => {
    let stretch: Stretch | undefined = { at: 0, by: 0.5 };
    for (let second = 2; second <= 3600; second += 2) stretch = stretched(stretch, scaling, signals({ ttft: answers(100, 0) }), { isBusy: false, isSteady: true }, second * 1000);
    expect(stretch?.by).toBeGreaterThanOrEqual(1);
    expect(stretch?.by).toBeLessThan(1.03);
  });

  test.each([
    { name: "less where more were slow than may be", ttft: answers(80, 20), minutes: 2, below: 0.8, above: 0.6 },
    { name: "never less than half", ttft: answers(0, 100), minutes: 60, below: 0.5001, above: 0.4999 },
    { name: "a little more where none was", ttft: answers(100, 0), minutes: 5, below: 1.25, above: 1.1 },
    { name: "never more than half again", ttft: answers(100, 0), minutes: 60, below: 1.5001, above: 1.4999 },
    { name: "nothing where it is just kept", ttft: answers(97, 3), minutes: 60, below: 1.0001, above: 0.9999 },
    { name: "nothing of too few answers", ttft: answers(0, 40), minutes: 60, below: 1.0001, above: 0.9999 },
    { name: "no more of idle ones", ttft: answers(100, 0), minutes: 60, below: 1.0001, above: 0.9999, busy: { isBusy: false, isSteady: true } },
    { name: "nothing while one starts", ttft: answers(0, 100), minutes: 60, below: 1.0001, above: 0.9999, busy: { isBusy: true, isSteady: false } },
  ])("$name", ({ ttft, minutes, below, above, busy }) => {
    expect(after(minutes, ttft, busy)).toBeLessThan(below);
    expect(after(minutes, ttft, busy)).toBeGreaterThan(above);
  });
});

test("capacityOf() of replicas that were full for minutes and ended nothing is a figure all the same", () => {
  const stuck = { at: 0, inService: 6, endedPerS: 0, inFlight: 6, slots: 2, full: { ended: 0, replicaS: 600 } };
  const { perS, wellPerS } = capacityOf(none, stuck, 1);
  expect([perS > 0, wellPerS > 0]).toEqual([true, true]);
});
