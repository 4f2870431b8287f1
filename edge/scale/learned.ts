import type { Now } from "../../schema/clock.ts";
import type { ScalePolicy } from "../../schema/policy.ts";
import { census } from "./census.ts";
import type { Capacity } from "./replay.ts";
import { sumOf } from "./series.ts";
import { recentS, type Signals } from "./opinion.ts";

/** How fast what is learned follows: two minutes hold some hundred answers of a busy service. */
const followMs = 120_000;
/** Requests at once that one replica is taken to serve until it is seen: Knative's and KubeAI's 100, of which Knative fills 70 % (facts/routing-and-scaling.md §4). */
const slotsDefault = 70;
/** A replica is full when so much of what it has waits. */
const fullShare = 0.1;
/** Prompts are read so many times faster than whole requests are served. */
const beginFactor = 2;

/** Full replicas are watched for so many seconds of one before that tells what they do. */
const replicaSMin = 60;
/** People give what a replica does well, which is so much of what it can do for a while; and of what was seen at most, so much is done well. */
const wellShare = 0.8;

/** A replica is taken to end a request in a quarter of an hour at least: of full ones that end none nothing is learned, and nothing is divided by nothing. */
const perSMin = 1e-3;

/** What was seen of a service's replicas; JSON-able. */
export interface Learned {
  at: Now;
  /** Requests in service, and requests that ended in a second: both averages, so that their ratio is how long one takes. */
  inService: number;
  endedPerS: number;
  /** In flight at the last look. */
  inFlight: number;
  /** How many were ready at the last look, and since when, where all were full. */
  allFull?: { ready: number; since: Now };
  /** What one full replica serves at once. */
  slots?: number;
  /** While all were full for longer than a request takes: requests that ended, over so many seconds of a replica; what is older weighs less. */
  full: { ended: number; replicaS: number };
}

/** What there is to learn from one more look. */
export function learn(before: Learned | undefined, signals: Signals, now: Now): Learned {
  const ready = census(signals.replicas).ready;
  const inFlight = signals.concurrency.at(-1) ?? 0;
  const full = ready.flatMap(({ load }) => (load !== undefined && load.running > 0 && load.queueDepth > fullShare * load.running ? [load.running] : []));
  const since = before?.allFull?.ready === ready.length ? before.allFull.since : now;
  const seen = { at: now, inFlight, ...(full.length > 0 && full.length === ready.length ? { allFull: { ready: ready.length, since } } : {}) };
  if (before === undefined) return { ...seen, inService: 0, endedPerS: 0, full: { ended: 0, replicaS: 0 } };
  const passedS = (now - before.at) / 1000;
  if (passedS <= 0) return before;
  const came = sumOf(signals.arrivals, Math.max(1, Math.round(passedS)));
  const endedPerS = Math.max(0, came - Math.min(came, (signals.refused * passedS) / recentS) - (inFlight - before.inFlight)) / passedS;
  const weight = 1 - Math.exp(-(now - before.at) / followMs);
  const follow = (was: number | undefined, is: number): number => (was === undefined ? is : was + weight * (is - was));
  const slots = full.length === 0 ? before.slots : follow(before.slots, sumOf(full) / full.length);
  // what began in a burst ends later: for as long as one takes, fewer end than a full replica serves
  const isSettled = seen.allFull !== undefined && now - seen.allFull.since > 1000 * (lastsS(before) ?? Infinity);
  const kept = isSettled ? 1 - weight : 1;
  const added = isSettled ? passedS * ready.length : 0;
  return {
    ...seen, inService: follow(before.inService, Math.max(0, inFlight - signals.waiting)), endedPerS: follow(before.endedPerS, endedPerS),
    full: { ended: before.full.ended * kept + endedPerS * (isSettled ? passedS : 0), replicaS: before.full.replicaS * kept + added },
    ...(slots === undefined ? {} : { slots }),
  };
}

/** How long a request is in service, by Little's law; undefined: none was seen to end. */
export function lastsS({ inService, endedPerS }: Learned): number | undefined {
  return endedPerS > 1e-3 && inService > 1e-3 ? inService / endedPerS : undefined;
}

/** What one full replica serves in a second; undefined: they were not full for long enough to tell. */
function fullPerS({ full: { ended, replicaS } }: Learned): number | undefined {
  return replicaS >= replicaSMin && ended > 0 ? ended / replicaS : undefined;
}

/**
 * What one replica can do: by what people say of it, else by what was seen of full ones, else by the default.
 *
 * @param stretch times what it is taken to do, by how its service keeps its SLO
 */
export function capacityOf(policy: ScalePolicy, learned: Learned, stretch: number): Capacity {
  const takesS = Math.max(0.05, lastsS(learned) ?? 1);
  const given = typeof policy.targetQps === "object" ? Math.min(...Object.values(policy.targetQps)) : policy.targetQps;
  const slotsGiven = policy.targetConcurrency ?? learned.slots;
  const rate = (given === undefined ? undefined : given / wellShare) ?? (policy.targetConcurrency === undefined ? fullPerS(learned) : undefined) ?? (slotsGiven ?? slotsDefault) / takesS;
  const perS = Math.max(perSMin, rate);
  // of a rate alone: at that rate so many are in service; bursts find as much room again
  const slots = Math.max(1, slotsGiven ?? (given === undefined ? slotsDefault : beginFactor * perS * takesS));
  return { wellPerS: wellShare * perS * stretch, perS: perS * stretch, slots: slots * stretch, beginsPerS: beginFactor * perS * stretch };
}
