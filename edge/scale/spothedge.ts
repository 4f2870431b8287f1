import type { SpotMemory, SpotPlan, SpotWanted, SpotZone } from "./spot.ts";

/** As often as SkyServe decides (facts/routing-and-scaling.md §4); its authors' artifact every 30 s. */
const tickMs = 20_000;

/**
 * SpotHedge, as SkyServe's `dynamic_fallback` and its authors' artifact have it (facts/routing-and-scaling.md §4 and §5): zones are
 * ACTIVE or PREEMPTED; what is missing goes to ACTIVE ones that have none, the cheapest first; on demand is whatever is not ready of
 * what is wanted on spot, overprovision included. Marks zones in `memory`.
 *
 * A zone is left as soon as it fails, and is ACTIVE again at the next tick only: a look follows each lack, and where no zone has a host
 * the lists would change with every one of them.
 */
export function spothedge(zones: readonly SpotZone[], wanted: SpotWanted, memory: SpotMemory, random: () => number): SpotPlan {
  const remembered = zones.map(({ key }) => memory.zones[key]);
  const { at: now = 0, tickAt } = memory;
  const isTick = tickAt === undefined || now < tickAt || now - tickAt >= tickMs;
  if (isTick) memory.tickAt = now;
  for (const [i, { lost, lacking }] of zones.entries()) {
    const zone = remembered[i];
    if (zone === undefined || zone.planned === 0) continue;
    if (lost > 0 || lacking > 0) zone.preempted = true;
    else if (isTick) zone.preempted = false;
  }
  const isActive = (i: number): boolean => remembered[i]?.preempted !== true;
  const active = zones.filter((_, i) => isActive(i)).length;
  // of three zones only when none is left
  if (isTick && (active === 0 || active <= Math.min(1, zones.length - 3))) for (const zone of remembered) if (zone !== undefined) zone.preempted = false;

  const counts = zones.map(({ alive }) => alive);
  let missing = wanted.spot - counts.reduce((sum, count) => sum + count, 0);
  for (; missing < 0; missing++) {
    const fullest = counts.indexOf(Math.max(...counts));
    counts[fullest] = (counts[fullest] ?? 0) - 1;
  }
  for (; missing > 0 && zones.length > 0; missing--) {
    const all = zones.map((_, i) => i).filter(isActive);
    const empty = all.filter((i) => counts[i] === 0);
    const candidates = empty.length > 0 ? empty : all;
    const price = (i: number): number => zones[i]?.priceMicroUsd ?? 0;
    const cheapest = Math.min(...candidates.map(price));
    const best = candidates.filter((i) => price(i) === cheapest);
    const chosen = best[Math.floor(random() * best.length)] ?? 0;
    counts[chosen] = (counts[chosen] ?? 0) + 1;
  }
  const cover = wanted.dynamic ? Math.max(0, wanted.spot - wanted.readySpot) : 0;
  const onDemand = Math.min(wanted.base + cover, wanted.needed);
  const gone = zones.filter((_, i) => !isActive(i)).map(({ key }) => key);
  return {
    zones: new Map(zones.map(({ key }, i) => [key, counts[i] ?? 0])),
    onDemand,
    reasons: [
      ...(gone.length === 0 ? [] : [`SpotHedge leaves out ${gone.join(", ")}: replicas were lost or found no host there`]),
      ...(onDemand > wanted.base ? [`${onDemand - wanted.base} on demand until ${wanted.spot} spot replicas are ready: ${wanted.readySpot} are`] : []),
    ],
  };
}
