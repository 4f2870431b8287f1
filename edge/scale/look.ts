import type { Now, Random } from "../../schema/clock.ts";
import { rolloutPolicySchema, type ScalePolicy } from "../../schema/policy.ts";
import type { Region } from "../../schema/region.ts";
import type { Desire, RegionFacts, ScaleDecision, ScaleHost } from "../../schema/scale.ts";
import { decide, type Decision, type DecideState } from "./decide.ts";
import { place, type PlaceState } from "./place.ts";
import { plan } from "./plan.ts";
import { rollout, type Rollout, type RolloutState } from "./rollout.ts";
import { observe, type SignalMemory } from "./signals.ts";
import { stay } from "./stay.ts";
import { addSeen, type SeenMemory } from "./versions.ts";
import type { Signals } from "./opinion.ts";

/** What is kept of one service between two looks: JSON, whole. */
export interface Kept {
  memory?: SignalMemory;
  seen?: SeenMemory;
  decide?: DecideState;
  rollout?: RolloutState;
  place?: PlaceState;
  desire?: Desire;
  /** The latest configuration that was looked at. */
  bundleVersion?: number;
  /** The highest generation that was ever given; it outlives the service. */
  generation: number;
}

export interface Looked {
  kept: Kept;
  /** Which regions' Hubs have not the latest of `kept.desire`. */
  behind: Region[];
  /** When to look again, in ms; undefined: when somebody says that there is something to see. */
  nextMs: number | undefined;
}

const rolling = rolloutPolicySchema.parse({});

/** Between two looks at most while replicas are wanted on spot hosts: as often as SkyServe decides (facts/routing-and-scaling.md §4). */
const spotMs = 20_000;

/** Between two looks while something has no host and there is more than one region: that a host has come to another one tells nobody. As often as for spot hosts. */
const lackingMs = spotMs;

/** Between two looks while a Hub did not answer. */
export const retryMs = 2_000;

/**
 * One look at a service: what is going on, how many replicas that needs, of which versions, and where. Pure: the Scaler runs it on what
 * Hubs say, the simulator on virtual time. A look that is repeated, late, or at old facts does no harm.
 *
 * @param facts those of the regions that answered
 * @param regions all of them
 */
export function look(kept: Kept, facts: readonly RegionFacts[], regions: readonly Region[], now: Now, random: Random): Looked {
  const newest = facts.reduce<RegionFacts | undefined>((best, one) => (best === undefined || one.bundleVersion > best.bundleVersion ? one : best), undefined);
  if (newest === undefined) return { kept, behind: [], nextMs: retryMs };
  const { service, bundleVersion } = newest;
  // the Hubs that know more do not answer: what an earlier configuration says would undo what was decided by a later one
  if (facts.length < regions.length && bundleVersion < (kept.bundleVersion ?? 0)) return { kept, behind: [], nextMs: retryMs };
  // gone, or never there; a region that does not answer may know more
  if (service?.policy === undefined) return { kept: { generation: kept.generation }, behind: [], nextMs: facts.length < regions.length ? retryMs : undefined };

  const { policy, task, previous } = service;
  const replicas = facts.flatMap((one) => one.replicas);
  const hosts = facts.flatMap((one) => one.hosts);
  const { memory, signals } = observe(kept.memory, facts, regions.length, now);
  const decided = decide(policy, signals, kept.decide, now);
  const seen = addSeen(kept.seen, facts);
  const rolled = rollout(
    service.rollout ?? rolling,
    { current: { version: task.version, digest: task.digest }, previous, desired: decided.desired, replicas, seen: seen.sums, partial: facts.length < regions.length },
    kept.rollout,
    now,
  );
  const placed = place(
    { policy, wanted: rolled.wanted, needed: decided.needed, hosts, replicas, unplaced: facts.flatMap(({ region, unplaced }) => unplaced.map((lack) => ({ ...lack, region }))), homes: homesOf(hosts, regions), heard: facts.map(({ region }) => region), ...(kept.desire === undefined ? {} : { before: kept.desire.regions }) },
    kept.place,
    now,
    random,
  );
  const decisions = decisionsOf(kept.desire, { ...decided, reason: [decided.reason, ...placed.reasons].join("; ") }, rolled, now);
  const next = plan(kept.desire, { service: task.service, version: task.version, desired: decided.desired, regions: stay(placed.regions, rolled.wanted, replicas), rollout: rolled.status, decisions, now });
  const told = Math.max(...facts.map((one) => one.generation));
  // a Hub that has a later one than was ever given was told by a Scaler whose memory is lost: it is to be told anew
  const isNews = next !== undefined || (kept.desire !== undefined && told > kept.desire.generation);
  const generation = isNews ? Math.max(kept.generation, told) + 1 : kept.generation;
  const latest = next ?? kept.desire;
  const desire = latest !== undefined && isNews ? { ...latest, generation } : latest;
  const behind = regions.filter((region) => (facts.find((one) => one.region === region)?.generation ?? 0) < (desire?.generation ?? 0));
  const waits = [isAtRest(policy, decided, signals) ? decided.state.bounds.until - now : decided.nextMs, rolled.nextMs, policy.spot === undefined ? undefined : spotMs, regions.length > 1 && facts.some(({ unplaced }) => unplaced.length > 0) ? lackingMs : undefined, facts.length < regions.length ? retryMs : undefined].filter((ms): ms is number => ms !== undefined && Number.isFinite(ms));
  return {
    kept: { memory, seen, decide: decided.state, rollout: rolled.state, place: placed.state, bundleVersion, generation, ...(desire === undefined ? {} : { desire }) },
    behind,
    nextMs: waits.length === 0 ? undefined : Math.max(0, Math.min(...waits)),
  };
}

/** Nobody asks, nothing is on its way, and the number is the least: it changes when somebody asks, or by the clock of a schedule. */
function isAtRest({ autoscaler, prestart, spot }: ScalePolicy, { desired, state }: Pick<Decision, "desired" | "state">, { arrivals, concurrency, waiting, replicas }: Signals): boolean {
  // a spot replica that is lost tells nobody
  if (prestart || spot !== undefined) return false;
  if (autoscaler === "fixed") return true;
  const isQuiet = waiting === 0 && (concurrency.at(-1) ?? 0) === 0 && arrivals.every((count) => count === 0);
  return isQuiet && desired <= state.bounds.min && replicas.length <= desired;
}

/** Where replicas may be: regions with hosts, in the operator's order; the first one while there are no hosts. */
function homesOf(hosts: readonly ScaleHost[], regions: readonly Region[]): Region[] {
  const homes = regions.filter((region) => hosts.some((host) => host.region === region));
  return homes.length > 0 ? homes : regions.slice(0, 1);
}

/** What is worth telling people: a changed number, and each step of a rollout. */
function decisionsOf(before: Desire | undefined, { action, desired, reason }: Pick<Decision, "action" | "desired" | "reason">, rolled: Pick<Rollout, "action">, now: Now): ScaleDecision[] {
  const decisions: ScaleDecision[] = [];
  if (before === undefined) decisions.push({ at: now, action, desired, reason });
  else if (desired !== before.desired) decisions.push({ at: now, action: desired > before.desired ? "up" : "down", desired, reason });
  if (rolled.action !== undefined) decisions.push({ at: now, desired, ...rolled.action });
  return decisions;
}
