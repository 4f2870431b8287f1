import type { Now } from "../../schema/clock.ts";
import type { SpotMemory, SpotPlan, SpotWanted, SpotZone, ZoneMemory } from "./spot.ts";

// What these are was measured with `scripts/bench/scale-spot.ts` on the traces of SpotHedge's authors (docs/placing.md).
const hourMs = 3_600_000;
/** What a zone is taken for before anything is known of it: a loss every four hours, a belief worth 50 minutes of looking. */
const prior = { lossesPerHour: 0.24, hours: 100 / 120 };
/** A zone that failed just now will soon fail again: once in as long as it has been quiet, and these five minutes. */
const quietMs = 300_000;
/** What a loss costs, in hours of one replica: SpotHedge's fourth replica costs 11 points and saves 0.4 points of availability, which is 10 hours for each loss. */
const lossHours = 10;
/** What a cold start costs that a warm host saves: start-up takes two to seven minutes (facts/routing-and-scaling.md §3). */
const coldHours = 0.1;
/** A zone that had no host is asked again after a minute, then two, and so on up to 20. */
const retryMs = { first: 60_000, max: 1_200_000 };
/** After a loss one more is wanted on spot for so long: losses come in rows. */
const extraMs = 300_000;
/** A spot replica that is starting is counted upon where nothing failed for so long; elsewhere only when it is ready. */
const calmMs = 1_800_000;
/** After so many losses within so long, one that is ready on demand stays for as long. */
const row = { losses: 2, withinMs: 1_200_000 };

/** Losses per hour that the nth replica of a zone adds: those of which the ones before it stay. */
function lossesPerHour({ losses, upMs, failedAt }: ZoneMemory, nth: number, reclaims: number, now: Now): number {
  const seen = ((losses[nth - 1] ?? 0) + prior.lossesPerHour * prior.hours) / ((upMs[nth - 1] ?? 0) / hourMs + prior.hours);
  if (nth > 1) return seen;
  const lately = failedAt === undefined ? 0 : hourMs / (now - failedAt + quietMs);
  return seen + lately + reclaims / 24;
}

/**
 * Fairlead's own placer of spot replicas. What is missing goes where losses and price cost least together, as seen so far: a zone's
 * second replica is lost with its first, so it adds only what is lost of it alone, and until that is known zones count alike and
 * replicas are spread. On demand stands in for what is needed and is neither ready nor starting where it is calm, and goes when spot
 * replicas are ready in its place. After a loss one more is asked for on spot, for a few minutes.
 */
export function hedge(zones: readonly SpotZone[], wanted: SpotWanted, memory: SpotMemory, now: Now): SpotPlan {
  // of those that cost something: one that costs nothing saves an hour of it
  const cheapest = Math.min(...zones.map(({ priceMicroUsd = 0 }) => (priceMicroUsd > 0 ? priceMicroUsd : Infinity)));
  const dearness = ({ priceMicroUsd }: SpotZone): number => (priceMicroUsd === undefined || cheapest === Infinity ? 0 : priceMicroUsd / cheapest - 1);
  const counts = new Map(zones.map(({ key, alive }) => [key, alive]));
  const countOf = ({ key }: SpotZone): number => counts.get(key) ?? 0;
  /** Of the zone's nth replica, in hours of the cheapest one per hour. */
  const costOf = (zone: SpotZone, nth: number): number => lossesPerHour(zone.memory, nth, zone.reclaims, now) * lossHours + dearness(zone) + (zone.warm ? 0 : coldHours);
  const isRefusing = ({ memory: { failedAt, fails } }: SpotZone): boolean => failedAt !== undefined && now - failedAt < Math.min(retryMs.max, retryMs.first * 2 ** Math.max(0, fails - 1));

  const lastLoss = memory.lossesAt.at(-1);
  const extra = lastLoss !== undefined && now - lastLoss < extraMs && wanted.spot > 0 && wanted.spot + wanted.base < wanted.max ? 1 : 0;
  const alive = zones.reduce((sum, zone) => sum + zone.alive, 0);
  let missing = wanted.spot + extra - alive;
  for (; missing > 0 && zones.length > 0; missing--) {
    // where there is room; else where it was longest ago that there was none: what is lacking must be seen
    const roomy = zones.filter((zone) => !isRefusing(zone) && countOf(zone) < zone.alive + zone.room);
    const [longest] = zones.toSorted((a, b) => (b.room > 0 ? 1 : 0) - (a.room > 0 ? 1 : 0) || (a.memory.failedAt ?? 0) - (b.memory.failedAt ?? 0));
    const chosen = roomy.length === 0 ? longest : least(roomy, (zone) => [costOf(zone, countOf(zone) + 1), countOf(zone)]);
    if (chosen !== undefined) counts.set(chosen.key, countOf(chosen) + 1);
  }
  for (; missing < 0; missing++) {
    // what is not ready goes first, then what is most likely to be lost
    const chosen = least(zones.filter((zone) => countOf(zone) > 0), (zone) => [zone.ready < countOf(zone) ? 0 : 1, -costOf(zone, countOf(zone))]);
    if (chosen !== undefined) counts.set(chosen.key, countOf(chosen) - 1);
  }

  const calm = zones.reduce((sum, zone) => sum + (now - (zone.memory.failedAt ?? -Infinity) < calmMs ? 0 : Math.max(0, zone.there - zone.ready)), 0);
  const inPlace = Math.max(0, wanted.needed - wanted.base);
  const standIn = !wanted.dynamic ? 0 : Math.min(inPlace, Math.max(
    inPlace - Math.min(inPlace, wanted.readySpot + calm),
    Math.min(wanted.readyOnDemand - wanted.base, inPlace - wanted.readySpot),
    memory.lossesAt.filter((at) => now - at < row.withinMs).length >= row.losses ? Math.min(1, wanted.readyOnDemand - wanted.base) : 0,
    0,
  ));
  return {
    zones: counts,
    onDemand: wanted.base + standIn,
    reasons: [
      ...zones.filter(({ lost }) => lost > 0).map(({ key, lost }) => `${lost} lost in ${key}`),
      ...zones.filter(({ lacking }) => lacking > 0).map(({ key, lacking }) => `${lacking} found no host in ${key}`),
      ...(extra > 0 ? [`one more on spot for ${extraMs / 60_000} minutes after a loss`] : []),
      ...(standIn > 0 ? [`${standIn} on demand: ${wanted.readySpot} of ${inPlace} that are needed on spot are ready`] : []),
    ],
  };
}

/** The one with the least merits, compared in their order; the first of equals. */
function least<T>(list: readonly T[], merits: (one: T) => number[]): T | undefined {
  let best: { one: T; merits: number[] } | undefined;
  for (const one of list) {
    const own = merits(one);
    const differs = own.findIndex((merit, i) => merit !== best?.merits[i]);
    if (best === undefined || (differs >= 0 && (own[differs] as number) < (best.merits[differs] as number))) best = { one, merits: own };
  }
  return best?.one;
}
