import type { Signals } from "../edge/scale/opinion.ts";
import { historyS } from "../edge/scale/series.ts";
import { decide, type Decision, type DecideState } from "../edge/scale/decide.ts";
import { scalePolicySchema, type ScalePolicy } from "../schema/policy.ts";
import type { RegionFacts, ScaleReplica } from "../schema/scale.ts";

/** A service of whom nothing is known but what a test says. */
export function signals(given: Partial<Signals> = {}): Signals {
  return { arrivals: [], concurrency: [], waiting: 0, refused: 0, spilled: 0, ttft: [], itl: [], coldStartMs: undefined, replicas: [], braked: false, partial: false, ...given };
}

export function policy(given: Partial<ScalePolicy> & Pick<ScalePolicy, "autoscaler">): ScalePolicy {
  return scalePolicySchema.parse({ min: 0, max: 100, ...given });
}

export function replica(number: number, given: Partial<ScaleReplica> = {}): ScaleReplica {
  const phase = given.phase ?? "ready";
  return { id: `r${number}`, number, version: 1, digest: "d1", phase, since: 0, region: "local", host: `h${number}`, inFlight: 0, wasReady: phase === "ready", leaving: false, reachable: true, ...given };
}

export function replicas(count: number, given: Partial<ScaleReplica> = {}): ScaleReplica[] {
  return Array.from({ length: count }, (_, i) => replica(i + 1, given));
}

export function facts(given: Partial<Omit<RegionFacts, "demand">> & { demand?: Partial<RegionFacts["demand"]> } = {}): RegionFacts {
  return {
    region: "local", stamp: "a", at: 0, bundleVersion: 1, versions: [], replicas: [], hosts: [], generation: 0, unplaced: [], braked: false, ...given,
    demand: { arrivals: 0, refused: 0, spilled: 0, ttft: [], itl: [], held: 0, spilledInFlight: 0, ...given.demand },
  };
}

/** What is decided by a policy that is new: it holds at once. */
export function decideAnew(scaling: ScalePolicy, given: Signals, now = 0): Decision {
  const { state } = decide({ ...scaling, overprovision: scaling.overprovision + 1 }, signals({ replicas: given.replicas }), undefined, now - 1);
  return decide(scaling, given, state, now);
}

/** A change of what is wanted. */
export interface Change {
  /** In seconds after the beginning. */
  at: number;
  desired: number;
}

/** What is the case at a time, in seconds after the beginning. */
export interface Circumstances {
  perS: (second: number) => number;
  /** By how many are wanted. */
  more?: (second: number, desired: number) => Partial<Signals>;
}

/** Lives through a time: demand comes as told, and decisions are made when they are due. */
export function live(scaling: ScalePolicy, { perS, more }: Circumstances, untilS: number, from = 1_700_000_000_000): { changes: Change[]; decisions: Decision[] } {
  const changes: Change[] = [];
  const decisions: Decision[] = [];
  let state: DecideState | undefined;
  let desired = scaling.min;
  for (let ms = 0; ms <= untilS * 1000; ) {
    const second = Math.floor(ms / 1000);
    const arrivals = Array.from({ length: Math.min(second, historyS) }, (_, i) => perS(second - Math.min(second, historyS) + i));
    const decision = decide(scaling, signals({ arrivals, ...more?.(second, desired) }), state, from + ms);
    if (state === undefined || decision.desired !== desired) changes.push({ at: ms / 1000, desired: decision.desired });
    ({ state, desired } = decision);
    decisions.push(decision);
    ms += decision.nextMs;
  }
  return { changes, decisions };
}
