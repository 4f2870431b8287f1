import { describe, expect, test } from "vitest";
import { decideAnew, live, policy, replica, replicas, signals } from "../../test/scaling.ts";
import { decide } from "./decide.ts";

const times = (count: number, value: number): number[] => Array<number>(count).fill(value);
/** Digests of answers that took so long; a bucket's upper bound is in it. */
const ttft = (bucket: number, count: number): number[] => [...times(bucket, 0), count];

describe("decide()", () => {
  test.each([
    { name: "fixed: as many as are asked for", given: { autoscaler: "fixed", min: 3 }, expected: { needed: 3, desired: 3, reason: expect.stringContaining("to 3: 3 are asked for") as string } },
    { name: "those to spare are beyond what is needed", given: { autoscaler: "fixed", min: 3, overprovision: 2 }, expected: { needed: 3, desired: 5, reason: expect.stringContaining("2 to spare") as string } },
    { name: "and never beyond the most", given: { autoscaler: "fixed", min: 3, max: 4, overprovision: 2 }, expected: { needed: 3, desired: 4 } },
    { name: "never more than allowed, and the reason says so", given: { autoscaler: "request_rate", max: 4, targetQps: 1 }, expected: { needed: 4, reason: expect.stringContaining("no more than 4 are allowed") as string } },
  ] as const)("$name", ({ given, expected }) => {
    expect(decideAnew(policy(given), signals({ arrivals: times(60, 9) }))).toMatchObject(expected);
  });

  test("the first replica is not taken back while it starts, though whoever asked was refused and has gone", () => {
    const quick = policy({ autoscaler: "adaptive", downscaleDelayMs: 3_000 });
    const first = (phase: "starting" | "unhealthy" | "ready") => replicas(1, { phase, wasReady: false });
    const woken = decide(quick, signals({ waiting: 1, concurrency: [1] }), decide(quick, signals(), undefined, 0).state, 1);
    const after = (phase: "starting" | "unhealthy" | "ready"): number => {
      let { state, needed } = woken;
      for (let now = 2_000; now <= 20_000; now += 2_000) ({ state, needed } = decide(quick, signals({ arrivals: [0], concurrency: [0], replicas: first(phase) }), state, now));
      return needed;
    };
    expect([after("starting"), after("ready")]).toEqual([1, 0]);
  });

  test("says up or down from what it wanted before, with the figures", () => {
    const rate = policy({ autoscaler: "request_rate", targetQps: 8, upscaleDelayMs: 0, min: 1 });
    const { state } = decideAnew(rate, signals({ arrivals: times(60, 10) }));
    expect(decide(rate, signals({ arrivals: times(60, 31.2) }), state, 20_000)).toMatchObject({ action: "up", reason: "up from 2 to 4: 31.2 requests/s in a minute, 8 each" });
  });

  test.each([
    { name: "many hosts were lost at once", circumstances: { braked: true } },
    { name: "not every region was heard", circumstances: { partial: true } },
    { name: "1 fail to start", circumstances: { replicas: [...replicas(3), replica(4, { phase: "unhealthy", wasReady: false })] } },
  ])("removes none while $name, and does when that is over", ({ name, circumstances }) => {
    const rate = policy({ autoscaler: "request_rate", targetQps: 1, downscaleDelayMs: 0, min: 1 });
    const { state } = decideAnew(rate, signals({ arrivals: times(60, 4) }));
    const held = decide(rate, signals({ arrivals: times(60, 2), ...circumstances }), state, 20_000);
    expect(held).toMatchObject({ needed: 4, action: "hold", reason: expect.stringContaining(`none is removed while ${name}`) as string });
    expect(decide(rate, signals({ arrivals: times(60, 2) }), held.state, 21_000)).toMatchObject({ needed: 2, action: "down" });
  });

  test("adds while braked", () => {
    const rate = policy({ autoscaler: "request_rate", targetQps: 1, upscaleDelayMs: 0, min: 1 });
    const { state } = decideAnew(rate, signals({ arrivals: times(60, 2) }));
    expect(decide(rate, signals({ arrivals: times(60, 5), braked: true }), state, 20_000)).toMatchObject({ needed: 5, action: "up" });
  });

  test("a lower maximum holds even while braked", () => {
    const before = decide(policy({ autoscaler: "fixed", min: 6 }), signals(), undefined, 0);
    expect(decide(policy({ autoscaler: "fixed", min: 1, max: 3 }), signals({ braked: true }), before.state, 1000)).toMatchObject({ desired: 3 });
  });

  test("with its memory lost it goes on from what there is", () => {
    const rate = policy({ autoscaler: "request_rate", targetQps: 10, min: 1 });
    const there = [...replicas(2), replica(3, { phase: "starting", wasReady: false }), replica(4, { phase: "draining" })];
    expect(decide(policy({ autoscaler: "adaptive", min: 1 }), signals({ replicas: there }), undefined, 0)).toMatchObject({ needed: 3, action: "hold" });
    // of a rate it knows nothing yet: fewer are taken over as slowly as ever
    expect(decide(rate, signals({ replicas: there }), undefined, 0)).toMatchObject({ needed: 3, action: "hold" });
  });

  test("asks no autoscaler before it is due, but for one that is woken from zero", () => {
    const rate = policy({ autoscaler: "request_rate", targetQps: 1, upscaleDelayMs: 0, min: 1 });
    const first = decideAnew(rate, signals({ arrivals: times(60, 2) }));
    expect(decide(rate, signals({ arrivals: times(60, 9) }), first.state, 19_000)).toMatchObject({ needed: 2, nextMs: 1000 });
    const asleep = decide(policy({ autoscaler: "adaptive" }), signals(), undefined, 0);
    expect(asleep.needed).toBe(0);
    expect(decide(policy({ autoscaler: "adaptive" }), signals({ waiting: 1, concurrency: [1] }), asleep.state, 1)).toMatchObject({ needed: 1, action: "up" });
  });
});

describe("schedules", () => {
  // a Friday
  const noon = Date.UTC(2026, 10, 20, 12);
  const scheduled = policy({ autoscaler: "fixed", min: 1, max: 3, schedule: [
    { cron: "0 9 * * 1-5", durationMs: 8 * 3_600_000, timezone: "Europe/Berlin", min: 4, max: 9 },
    { cron: "30 11 * * *", durationMs: 3_600_000, timezone: "UTC", min: 2 },
  ] });

  test.each([
    { name: "before it begins, by its timezone", at: Date.UTC(2026, 10, 20, 7, 59, 59), needed: 1 },
    { name: "at the second it begins", at: Date.UTC(2026, 10, 20, 8), needed: 4 },
    { name: "while two hold, the higher", at: noon, needed: 4 },
    { name: "at the second it ends", at: Date.UTC(2026, 10, 20, 16), needed: 1 },
    { name: "on a Saturday", at: noon + 86_400_000, needed: 2 },
    { name: "in summer by summer's hour", at: Date.UTC(2026, 6, 17, 7), needed: 4 },
  ])("$name: $needed", ({ at, needed }) => {
    expect(decide(scheduled, signals(), undefined, at).needed).toBe(needed);
  });

  test("it decides again when one begins or ends", () => {
    const rate = policy({ ...scheduled, autoscaler: "request_rate", targetQps: 1 });
    const before = decide(rate, signals(), undefined, Date.UTC(2026, 10, 20, 7, 59, 55));
    expect(before.nextMs).toBe(5000);
    const within = decide(rate, signals(), before.state, Date.UTC(2026, 10, 20, 8));
    expect(within).toMatchObject({ needed: 4, reason: expect.stringContaining('schedule "0 9 * * 1-5" asks for 4 to 9') as string });
    expect(decide(rate, signals(), within.state, Date.UTC(2026, 10, 20, 16)).state.bounds).toMatchObject({ min: 1, max: 3 });
  });

  test("one that cannot be understood is left out, and the reason says so", () => {
    const broken = policy({ autoscaler: "fixed", min: 1, schedule: [{ cron: "every day", durationMs: 1000, timezone: "UTC", min: 5 }] });
    expect(decide(broken, signals(), undefined, noon)).toMatchObject({ needed: 1, reason: expect.stringContaining('schedule "every day" is left out') as string });
  });
});

describe("SLO", () => {
  const slo = policy({ autoscaler: "slo", min: 1, slo: { ttftMs: 500, percentile: 0.95 } });
  // 500 ms is the upper bound of the tenth bucket
  const [slow, fast] = [ttft(11, 100), ttft(3, 100)];
  const at = (second: number, given: Parameters<typeof signals>[0], state: ReturnType<typeof decide>["state"] | undefined): ReturnType<typeof decide> => decide(slo, signals({ arrivals: times(600, 5), ...given }), state, second * 1000);

  test("one more beyond the target, not while one starts, and not before the digests' minute is over", () => {
    const first = at(0, { ttft: slow, replicas: replicas(2) }, undefined);
    expect(first).toMatchObject({ needed: 3, reason: expect.stringContaining("p95 of TTFT is 988 ms of 500 ms") as string });
    const starting = [...replicas(2), replica(3, { phase: "starting", wasReady: false })];
    expect(at(5, { ttft: slow, replicas: starting }, first.state).needed).toBe(3);
    expect(at(120, { ttft: slow, replicas: starting }, first.state).needed).toBe(3);
    expect(at(59, { ttft: slow, replicas: replicas(3) }, first.state).needed).toBe(3);
    expect(at(60, { ttft: slow, replicas: replicas(3) }, first.state).needed).toBe(4);
  });

  test("one less after five minutes below 0.8 of the target with that one less, and no sooner", () => {
    let { state } = at(0, { ttft: fast, replicas: replicas(4) }, undefined);
    const needed: number[] = [];
    for (let second = 5; second <= 300; second += 5) needed.push(({ state } = at(second, { ttft: fast, replicas: replicas(4) }, state)).needed);
    expect(needed.slice(0, -1)).toEqual(times(59, 4));
    expect(needed.at(-1)).toBe(3);
  });

  test("stays where one less would not keep it", () => {
    // p95 of 350 ms: two for three make 525
    let { state } = at(0, { ttft: ttft(8, 100).fill(0, 0, 8), replicas: replicas(2) }, undefined);
    // 100 to 250 ms: p95 is 242 ms, and 485 with half as many
    for (let second = 5; second <= 900; second += 5) ({ state } = at(second, { ttft: ttft(8, 100), replicas: replicas(2) }, state));
    expect(state.needed).toBe(2);
  });

  test("with nothing answered and some waiting it is short", () => {
    expect(at(0, { waiting: 3, replicas: replicas(2) }, undefined).needed).toBe(3);
  });
});

describe("prestart", () => {
  const day = 86_400_000;
  const popular = policy({ autoscaler: "adaptive", prestart: true });
  const nine = Date.UTC(2026, 10, 16, 9);

  test("a service that was asked for at this time on the last days is there before it is asked again", () => {
    let state: ReturnType<typeof decide>["state"] | undefined;
    const wanted: number[] = [];
    // three days: requests from 9:00 to 9:14, looked at each minute; what is wanted half a minute before nine
    for (let d = 0; d < 3; d++) {
      for (let minute = -10; minute < 40; minute++) {
        const busy = minute > 0 && minute <= 14;
        const decision = decide(popular, signals({ arrivals: times(600, 0).map((_, i) => (busy && i >= 540 ? 1 : 0)), coldStartMs: 60_000 }), state, nine + d * day + minute * 60_000);
        ({ state } = decision);
        if (minute === -1) wanted.push(decision.needed);
        if (minute === 39) expect(decision.needed).toBe(0);
      }
    }
    expect(wanted).toEqual([0, 0, 1]);
    expect(state?.popularity?.days.filter((share) => share > 0)).toHaveLength(1);
  });
});

describe("live decisions of our own autoscaler", () => {
  const bare = policy({ autoscaler: "adaptive", targetQps: 2, min: 0, max: 20 });
  /** Requests last two seconds. */
  const busy = (perS: (second: number) => number) => ({ perS, more: (second: number, desired: number) => ({ concurrency: [2 * perS(second - 1)], replicas: replicas(desired), coldStartMs: 30_000 }) });

  test("from zero at once, and to zero when nobody has asked for five minutes", () => {
    const { changes } = live(bare, busy((second) => (second >= 10 && second < 60 ? 1 : 0)), 600);
    expect(changes[0]).toEqual({ at: 0, desired: 0 });
    expect(changes[1]).toMatchObject({ desired: 1 });
    expect(changes[1]?.at).toBeLessThanOrEqual(12);
    const zero = changes.at(-1);
    expect(zero?.desired).toBe(0);
    expect(zero?.at).toBeGreaterThanOrEqual(360);
    expect(zero?.at).toBeLessThanOrEqual(375);
  });

  test("ten times as much is met within ten seconds, and given up within three minutes of its end", () => {
    const { changes } = live(bare, busy((second) => (second >= 300 && second < 600 ? 30 : 3)), 900);
    const at = (second: number): number => changes.findLast((change) => change.at <= second)?.desired ?? 0;
    expect(at(299)).toBe(2);
    expect(at(310)).toBeGreaterThanOrEqual(12);
    expect(at(340)).toBeGreaterThanOrEqual(15);
    expect(at(599)).toBeLessThanOrEqual(20);
    expect(at(780)).toBeLessThanOrEqual(3);
  });

  test("what is wanted keeps ahead of demand that has risen steadily for five minutes", () => {
    const { decisions } = live(bare, busy((second) => 2 + second / 60), 900);
    const behind = decisions.flatMap(({ needed }, i) => (i >= 150 && needed * 2 < 2 + (2 * i) / 60 ? [{ second: 2 * i, needed }] : []));
    expect(behind).toEqual([]);
  });
});
