import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seeded, type Random } from "../../schema/clock.ts";
import { autoscalers, type Autoscaler, type ScalePolicy } from "../../schema/policy.ts";
import { live, policy, replicas, signals } from "../../test/scaling.ts";
import { decide, type DecideState } from "./decide.ts";
import type { Signals } from "./opinion.ts";

// ——— any policy, any history; fast-check prints the seed of what fails ———

const anyPolicy: fc.Arbitrary<ScalePolicy> = fc
  .record({ autoscaler: fc.constantFrom(...autoscalers), min: fc.nat(4), more: fc.nat(12), overprovision: fc.nat(2), targetQps: fc.option(fc.double({ min: 0.1, max: 50, noNaN: true }), { nil: undefined }), targetConcurrency: fc.option(fc.integer({ min: 1, max: 100 }), { nil: undefined }), slo: fc.boolean(), upscaleDelayMs: fc.option(fc.nat(100_000), { nil: undefined }), downscaleDelayMs: fc.option(fc.nat(400_000), { nil: undefined }), prestart: fc.boolean(), scheduled: fc.boolean() })
  .map(({ more, slo, scheduled, targetQps, targetConcurrency, upscaleDelayMs, downscaleDelayMs, ...rest }) =>
    policy({
      ...rest, max: rest.min + more,
      ...(targetQps === undefined ? {} : { targetQps: rest.autoscaler === "instance_aware" ? { L4: targetQps, "A100:8": 8 * targetQps } : targetQps }),
      ...(targetConcurrency === undefined ? {} : { targetConcurrency }), ...(upscaleDelayMs === undefined ? {} : { upscaleDelayMs }), ...(downscaleDelayMs === undefined ? {} : { downscaleDelayMs }),
      ...(slo ? { slo: { ttftMs: 500, tpotMs: 50, percentile: 0.95 } } : {}),
      ...(scheduled ? { schedule: [{ cron: "*/7 * * * *", durationMs: 120_000, timezone: "UTC", min: 2, max: 6 }] } : {}),
    }));

const anySignals: fc.Arbitrary<Signals> = fc
  .record({ arrivals: fc.array(fc.nat(200), { maxLength: 120 }), concurrency: fc.array(fc.nat(500), { minLength: 1, maxLength: 120 }), waiting: fc.nat(100), refused: fc.nat(20), spilled: fc.nat(20), ttft: fc.array(fc.nat(100), { maxLength: 19 }), itl: fc.array(fc.nat(100), { maxLength: 17 }), cold: fc.option(fc.integer({ min: 1000, max: 600_000 }), { nil: undefined }), ready: fc.nat(10), starting: fc.nat(4), braked: fc.constantFrom(false, false, true), partial: fc.constantFrom(false, false, true) })
  .map(({ cold, ready, starting, ...rest }) => signals({ ...rest, coldStartMs: cold, replicas: [...replicas(ready, { accelerator: "L4", inFlight: 2, load: { running: 2, queueDepth: 1 } }), ...replicas(starting, { phase: "starting", wasReady: false, accelerator: "A100" })] }));

const history = fc.array(fc.record({ signals: anySignals, waitMs: fc.nat(60_000) }), { minLength: 1, maxLength: 12 });
const noon = Date.UTC(2026, 10, 20, 12);

/** The bounds that hold at a time, as a person reads them off the policy. */
function boundsOf({ min, max, schedule }: ScalePolicy, at: number): { min: number; max: number } {
  const isHeld = schedule.length > 0 && new Date(at).getUTCMinutes() % 7 < 2;
  return isHeld ? { min: 2, max: 6 } : { min, max };
}

describe("decide(), whatever has happened", () => {
  test("is never above what is allowed nor below what is asked for, always says why, and when to look again", () => {
    fc.assert(fc.property(anyPolicy, history, (scaling, looks) => {
      let state: DecideState | undefined;
      let now = noon;
      for (const look of looks) {
        const decision = decide(scaling, look.signals, state, now);
        const { min, max } = boundsOf(scaling, now);
        expect(decision.needed).toBeGreaterThanOrEqual(min);
        expect(decision.needed).toBeLessThanOrEqual(max);
        expect(decision.desired).toBe(Math.min(max, decision.needed + scaling.overprovision));
        expect(Number.isInteger(decision.desired)).toBe(true);
        expect(decision.reason).toMatch(/^(stays at|up from|down from) \d+.*: ./);
        expect(decision.nextMs).toBeGreaterThan(0);
        ({ state } = decision);
        now += look.waitMs;
      }
    }), { numRuns: 300 });
  });

  test("asked again at the same time it wants the same, with its memory gone through JSON", () => {
    fc.assert(fc.property(anyPolicy, history, (scaling, looks) => {
      let state: DecideState | undefined;
      let now = noon;
      for (const look of looks) {
        const decision = decide(scaling, look.signals, state, now);
        const kept = JSON.parse(JSON.stringify(decision.state)) as DecideState;
        expect(kept).toEqual(decision.state);
        const again = decide(scaling, look.signals, kept, now);
        expect({ needed: again.needed, desired: again.desired, action: again.action }).toEqual({ needed: decision.needed, desired: decision.desired, action: "hold" });
        // an alarm that is late, or an earlier time, is no other world
        expect(decide(scaling, look.signals, again.state, now - 5000).desired).toBe(decision.desired);
        state = again.state;
        now += look.waitMs;
      }
    }), { numRuns: 300 });
  });

  test("removes none while hosts are lost, a region is not heard or starts fail, but for what is beyond the bounds", () => {
    fc.assert(fc.property(anyPolicy, history, (scaling, looks) => {
      let state: DecideState | undefined;
      let now = noon;
      for (const look of looks) {
        const before = state?.needed;
        const decision = decide(scaling, look.signals, state, now);
        if (before !== undefined && (look.signals.braked || look.signals.partial)) expect(decision.needed).toBeGreaterThanOrEqual(Math.min(before, boundsOf(scaling, now).max));
        ({ state } = decision);
        now += look.waitMs;
      }
    }), { numRuns: 300 });
  });
});

// ——— a service whose requests last three seconds, of which a replica takes eight at once ———

const lastsS = 3;
const each = 8;

/** Poisson's, by second. */
function poisson(perS: number, random: Random): number {
  const limit = Math.exp(-perS);
  let count = 0;
  for (let product = random(); product > limit; product *= random()) count++;
  return count;
}

/** What replicas would show: by Little's law in flight, and slow where they are short. Those that are wanted are ready. */
function shown(perS: (second: number) => number): (second: number, desired: number) => Partial<Signals> {
  return (second, desired) => {
    const inFlight = Math.round(Array.from({ length: lastsS }, (_, i) => perS(second - 1 - i)).reduce((a, b) => a + b, 0));
    const waiting = Math.max(0, inFlight - desired * each);
    const bucket = inFlight > 0.9 * desired * each ? 13 : 7;
    return {
      concurrency: Array.from({ length: 60 }, (_, i) => (second - 60 + i < 0 ? 0 : perS(second - 60 + i) * lastsS)), waiting, coldStartMs: 30_000,
      ttft: inFlight === 0 ? [] : [...Array<number>(bucket).fill(0), 200],
      replicas: replicas(desired, { accelerator: "L4", inFlight: Math.ceil(inFlight / Math.max(1, desired)), load: { running: Math.min(each, inFlight / Math.max(1, desired)), queueDepth: waiting / Math.max(1, desired) } }),
    };
  };
}

const figures = { targetQps: each / lastsS, targetConcurrency: each, min: 1, max: 30 };
/** Of each, how long after a change it says the last new number: its windows and delays. */
const settlesS: Record<Exclude<Autoscaler, "fixed">, number> = { adaptive: 600, request_rate: 1300, instance_aware: 1300, queue_length: 5400, concurrency: 200, slo: 5400 };

function scaling(autoscaler: Autoscaler): ScalePolicy {
  return policy({ autoscaler, ...figures, ...(autoscaler === "instance_aware" ? { targetQps: { L4: each / lastsS } } : {}), ...(autoscaler === "slo" ? { slo: { ttftMs: 1000, percentile: 0.95 } } : {}) });
}

describe("when demand stops changing", () => {
  test.each(Object.entries(settlesS))("%s comes to a number and stays there", (autoscaler, settles) => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 0, max: 40 }), (first, then) => {
      const perS = (second: number): number => (second < 0 ? 0 : second < 300 ? first : then);
      // what chance explains is followed when it fills the ten minutes that are looked at, and a stabilisation window later
      const byS = 300 + settles + (autoscaler === "adaptive" && Math.abs(then - first) === 1 ? 60 : 0);
      const { changes } = live(scaling(autoscaler as Autoscaler), { perS, more: shown(perS) }, byS + 1200);
      expect(changes.filter(({ at }) => at > byS)).toEqual([]);
    }), { numRuns: 3 });
  });

  test.each([[26, 24], [40, 1], [2, 38], [5, 33]])("adaptive does not take back, as the change grows old, that there are no longer %d requests/s but %d", (first, then) => {
    const perS = (second: number): number => (second < 0 ? 0 : second < 300 ? first : then);
    const { changes } = live(scaling("adaptive"), { perS, more: shown(perS) }, 2100);
    expect(changes.filter(({ at }) => at > 900)).toEqual([]);
  });

  test("adaptive is one off at most five minutes later", () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 0, max: 40 }), (first, then) => {
      const perS = (second: number): number => (second < 0 ? 0 : second < 300 ? first : then);
      const { decisions, changes } = live(scaling("adaptive"), { perS, more: shown(perS) }, 300 + settlesS.adaptive + 300);
      const end = decisions.at(-1)?.desired ?? Number.NaN;
      expect(changes.filter(({ at, desired }) => at > 600 && Math.abs(desired - end) > 1)).toEqual([]);
    }), { numRuns: 5 });
  });

  test.each(["adaptive", "request_rate", "concurrency"] as const)("%s then has enough, and no more than half as many again", (autoscaler) => {
    fc.assert(fc.property(fc.integer({ min: 5, max: 40 }), (rate) => {
      const { decisions } = live(scaling(autoscaler), { perS: () => rate, more: shown(() => rate) }, 1800);
      const enough = rate / figures.targetQps;
      expect(decisions.at(-1)?.needed).toBeGreaterThanOrEqual(Math.ceil(enough - 1e-9));
      expect(decisions.at(-1)?.needed).toBeLessThanOrEqual(Math.ceil(1.5 * enough) + 1);
    }), { numRuns: 3 });
  });
});

describe("under constant demand", () => {
  /** Stabilisation windows, in seconds: SkyServe's delay of scaling down, the minute after each step by the SLO, ours of a cold start. */
  test.each([
    { autoscaler: "adaptive", windowS: 60 }, { autoscaler: "request_rate", windowS: 1200 }, { autoscaler: "instance_aware", windowS: 1200 }, { autoscaler: "slo", windowS: 60 },
  ] as const)("$autoscaler changes direction once in $windowS s at most", ({ autoscaler, windowS }) => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 30 }), fc.nat(), (rate, seed) => {
      const random = seeded(seed);
      const drawn = Array.from({ length: 3600 }, () => poisson(rate, random));
      const perS = (second: number): number => drawn[second] ?? 0;
      const { changes } = live(scaling(autoscaler), { perS, more: shown(perS) }, 3600);
      const turns = changes.slice(2).flatMap(({ at, desired }, i) => {
        const [a, b] = [changes[i]?.desired ?? 0, changes[i + 1]?.desired ?? 0];
        return (b - a) * (desired - b) < 0 ? [at] : [];
      });
      expect(turns.slice(1).filter((at, i) => at - (turns[i] ?? 0) < windowS)).toEqual([]);
    }), { numRuns: 3 });
  });
});
