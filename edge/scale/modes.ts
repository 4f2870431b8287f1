import type { Now } from "../../schema/clock.ts";
import type { RolloutPolicy } from "../../schema/policy.ts";
import type { RolloutStatus, VersionSeen } from "../../schema/scale.ts";
import { formatDuration } from "../../schema/units.ts";
import { attemptsOf, seenSince, worse } from "./verdict.ts";

/** One version of a service, and what it runs. */
export interface VersionRef {
  version: number;
  digest: string;
}

export interface Wanted extends VersionRef {
  count: number;
}

/** A version on its way in; JSON. */
export interface Coming extends VersionRef {
  mode: RolloutStatus["mode"];
  /** `canary`: which of the policy's steps; beyond the last: all are passed. */
  step: number;
  /** Since when requests go by the step's share, or to the new version (`blue_green`), or by the share that stays (`ab`); absent: not yet. */
  since?: Now;
  /** What had been seen then. */
  base?: VersionSeen[];
  /** What had been seen when the new version was given its first requests. */
  origin?: VersionSeen[];
  /** Since when replicas of it have no place. */
  lackSince?: Now;
  /** How many replicas of the old version have made room. */
  yielded?: number;
}

export interface ModeFacts {
  policy: RolloutPolicy;
  coming: Coming;
  /** The version that serves, and may be gone back to. */
  from: VersionRef;
  desired: number;
  /** Replicas of the coming version: ready; with a place, whatever became of them. */
  ready: number;
  placed: number;
  /** Replicas of other versions that live. */
  others: number;
  seen: readonly VersionSeen[];
  /** Some region was not heard: no step is taken. */
  partial: boolean;
  now: Now;
}

/** Where a version on its way in stands. */
export interface Stand {
  coming: Coming;
  /** As the replicas of the first get ready, those of versions that are not named go. */
  wanted: Wanted[];
  shares?: Record<string, number>;
  step?: number;
  steps?: number;
  reason: string;
  /** Nothing follows by itself: `all` run it, or it has its `share` until the next change. */
  over?: "all" | "share";
  /** Why it is to be taken back. */
  worse?: string;
  nextMs: number;
}

/** Between two looks at a rollout (facts/routing-and-scaling.md §4: Knative's tick). */
export const lookMs = 2_000;
/** Replicas without a place for so long find none by themselves: a host that comes back does so within the lease and an agent's reconnection, 45 s. */
const placeMs = 60_000;

/** At least one, and never one too many for a product that is whole but for rounding. */
export const shareOf = (share: number, desired: number): number => (desired === 0 ? 0 : Math.max(1, Math.ceil(share * desired - 1e-9)));
export const percent = (share: number): string => `${Math.round(share * 1000) / 10} %`;
const replicas = (count: number): string => `${count} replica${count === 1 ? "" : "s"}`;

/** Requests by version: so much to the coming one, the rest to the other. */
function sharesOf({ coming, from }: ModeFacts, share: number): Record<string, number> {
  // what is left of 1, without the tail of its binary fraction
  const rest = Math.round((1 - share) * 1e6) / 1e6;
  return { ...(rest > 0 ? { [from.version]: rest } : {}), ...(share > 0 ? { [coming.version]: share } : {}) };
}

function ref({ version, digest }: VersionRef, count: number): Wanted {
  return { version, digest, count };
}

/** The whole count is the new version's; old replicas go as new ones get ready. While both serve, it is taken back when it fails more. */
export function rolling(facts: Omit<ModeFacts, "from"> & { from: VersionRef | undefined }): Stand {
  const { policy, from, desired, ready, others, seen } = facts;
  let { coming } = facts;
  const wanted = [ref(coming, desired)];
  const isJudged = coming.mode === "rolling" && policy.rollback && from !== undefined;
  if (isJudged && coming.origin === undefined && ready > 0) coming = { ...coming, origin: [...seen] };
  const worse = isJudged ? failing({ ...facts, coming, from }, ready >= desired) : undefined;
  if (worse !== undefined) return { coming, wanted, worse, reason: "it fails more than the version before", nextMs: lookMs };
  if (desired === 0) return { coming, wanted, reason: `no replica is wanted now: the next one is of version ${coming.version}`, nextMs: Number.POSITIVE_INFINITY };
  // where fewer fit than are wanted, it is over when nothing else is left
  if (ready >= desired || (ready > 0 && others === 0)) return { coming, wanted, reason: `version ${coming.version} serves`, over: "all", nextMs: Number.POSITIVE_INFINITY };
  const place = from === undefined ? "" : ` takes the place of version ${from.version}`;
  return { coming, wanted, reason: `version ${coming.version}${place}: ${ready} of ${replicas(desired)} ready`, nextMs: lookMs };
}

/** The new version whole beside the old one; all requests change over at once, and the old one stays for a while. */
function blueGreen(facts: ModeFacts): Stand {
  const { policy, from, desired, ready, seen, partial, now } = facts;
  let { coming } = facts;
  const needed = Math.max(1, Math.min(desired, policy.readyMin ?? desired));
  if (coming.since === undefined && ready >= needed && desired > 0 && !partial) coming = { ...coming, since: now, base: [...seen], origin: coming.origin ?? [...seen] };
  const both = [ref(from, desired), ref(coming, desired)];
  if (coming.since === undefined) {
    const reason = desired === 0 ? `no replica is wanted now: version ${coming.version} starts beside version ${from.version} with the next one` : `version ${coming.version} starts beside version ${from.version}: ${ready} of ${replicas(needed)} ready`;
    return { coming, wanted: both, shares: sharesOf({ ...facts, coming }, 0), reason, nextMs: lookMs };
  }
  const leftMs = coming.since + policy.keepMs - now;
  const bad = judged({ ...facts, coming }, leftMs <= 0);
  if (leftMs <= 0 && bad === undefined) return { coming, wanted: [ref(coming, desired)], reason: `version ${coming.version} serves`, over: "all", nextMs: Number.POSITIVE_INFINITY };
  return {
    coming, wanted: both.toReversed(), shares: sharesOf({ ...facts, coming }, 1), ...(bad === undefined ? {} : { worse: bad }),
    reason: `all requests go to version ${coming.version}; version ${from.version} stays for ${formatDuration(policy.keepMs)}`, nextMs: Math.max(0, Math.min(lookMs, leftMs)),
  };
}

/** The new version gets a few requests, then more, then all; each step is held for its time, from when enough replicas are ready. */
function canary(facts: ModeFacts): Stand {
  const { policy: { steps }, from, desired, ready, seen, partial, now } = facts;
  let { coming } = facts;
  const step = steps[coming.step];
  if (step === undefined) {
    const stand = rolling(facts);
    return { ...stand, step: steps.length, steps: steps.length, reason: stand.over === undefined ? `every step is passed: ${stand.reason}` : stand.reason };
  }
  const count = shareOf(step.share, desired);
  if (coming.since !== undefined && ready === 0) coming = without(coming, "since");
  else if (coming.since === undefined && ready >= count && count > 0) coming = { ...coming, since: now, base: [...seen], origin: coming.origin ?? [...seen] };
  coming = yielding(facts, coming, count);

  const leftMs = coming.since === undefined ? Number.POSITIVE_INFINITY : coming.since + step.forMs - now;
  const bad = coming.since === undefined ? undefined : judged({ ...facts, coming }, leftMs <= 0);
  if (leftMs <= 0 && bad === undefined && !partial) return canary({ ...facts, coming: { ...without(coming, "since"), step: coming.step + 1 } });

  // until the step's replicas are ready, requests go as in the step before
  const share = coming.since !== undefined ? step.share : ready > 0 ? (steps[coming.step - 1]?.share ?? 0) : 0;
  const goes = `step ${coming.step + 1} of ${steps.length}: ${percent(step.share)} of requests`;
  return {
    coming,
    wanted: [ref(from, desired - Math.min(coming.yielded ?? 0, desired - shareOf(1 - step.share, desired))), ref(coming, count)],
    shares: sharesOf({ ...facts, coming }, share),
    step: coming.step + 1,
    steps: steps.length,
    reason: coming.since === undefined ? `${goes} go to version ${coming.version} when it is ready: ${ready} of ${replicas(count)}` : `${goes} go to version ${coming.version} for ${formatDuration(step.forMs)}`,
    ...(bad === undefined ? {} : { worse: bad }),
    nextMs: Math.max(0, Math.min(lookMs, leftMs)),
  };
}

/**
 * The old version stays whole through all steps, so that going back loses no capacity; where there is no room for both, it gives up what
 * its share of requests does not need.
 */
function yielding({ placed, now }: ModeFacts, coming: Coming, count: number): Coming {
  const lack = count - placed;
  if (lack <= 0) return without(coming, "lackSince");
  const since = coming.lackSince ?? now;
  if (now - since < placeMs) return { ...coming, lackSince: since };
  return { ...coming, lackSince: now, yielded: (coming.yielded ?? 0) + lack };
}

/** The new version has its share of requests until the next change. */
function ab(facts: ModeFacts): Stand {
  const { policy: { share }, from, desired, ready, now } = facts;
  let { coming } = facts;
  const count = shareOf(share, desired);
  if (coming.since === undefined && ready >= count && count > 0) coming = { ...coming, since: now };
  if (coming.since === undefined) {
    return { coming, wanted: [ref(from, desired), ref(coming, count)], shares: sharesOf({ ...facts, coming }, 0), reason: `${percent(share)} of requests go to version ${coming.version} when it is ready: ${ready} of ${replicas(count)}`, nextMs: lookMs };
  }
  return {
    coming, wanted: [ref(from, shareOf(1 - share, desired)), ref(coming, count)], shares: sharesOf({ ...facts, coming }, share),
    reason: `${percent(share)} of requests go to version ${coming.version}, the rest to version ${from.version}, until the next change`, over: "share", nextMs: Number.POSITIVE_INFINITY,
  };
}

/** Why the new version is to be taken back: by what was seen in this step, or since its first request where that is too little. */
function judged({ policy, coming, from, seen }: ModeFacts, last: boolean): string | undefined {
  const { base = [], origin = [] } = coming;
  const enough = attemptsOf(seenSince(seen, base, coming.version)) >= policy.requestsMin;
  const fresh = seenSince(seen, enough ? base : origin, coming.version);
  const old = seenSince(seen, enough ? base : origin, from.version);
  // after a change over the old one answers nothing: then it is what it was before
  return worse(policy, fresh, attemptsOf(old) >= policy.requestsMin ? old : seenSince(seen, [], from.version), last);
}

/**
 * `rolling`: by failures alone, for a replica that has just started is slower than those beside it, and only against what the old version
 * was asked beside it: when that is gone, or was hardly asked, nothing is concluded.
 *
 * @param last it is about to have everything
 */
function failing({ policy, coming, from, seen }: ModeFacts, last: boolean): string | undefined {
  const { origin } = coming;
  if (origin === undefined) return undefined;
  const old = seenSince(seen, origin, from.version);
  return attemptsOf(old) < policy.requestsMin ? undefined : worse({ ...policy, latencyRatioMax: Number.POSITIVE_INFINITY }, seenSince(seen, origin, coming.version), old, last);
}

function without(coming: Coming, key: "since" | "lackSince"): Coming {
  if (coming[key] === undefined) return coming;
  const { [key]: _, ...rest } = coming;
  return rest;
}

export function stand(facts: ModeFacts): Stand {
  switch (facts.coming.mode) {
    case "rolling":
      return rolling(facts);
    case "blue_green":
      return blueGreen(facts);
    case "canary":
      return canary(facts);
    case "ab":
      return ab(facts);
  }
}
