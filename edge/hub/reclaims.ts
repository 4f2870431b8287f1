import type { Now } from "../../schema/clock.ts";
import { isLost, type HostRow } from "./roster.ts";

/** A zone's reclaims are remembered for so long (schema/scale.ts, `ScaleHost.reclaims`). */
export const reclaimsForMs = 24 * 3_600_000;
/** The oldest go first: more than a region's hosts in a day. */
const reclaimsMax = 1_000;

/** A notice stands for so long at most (Google's of maintenance; agent/reclaim/gcp.ts): the loss that follows is the same reclaim. */
const onceMs = 3_600_000;

/** One host that was taken back. */
export interface Reclaimed {
  host: string;
  zone: string;
  at: Now;
}

/**
 * What is known of reclaims after a look at the roster: a host of which its cloud says when it ends, and a spot host that is lost
 * without a word (facts/engines.md §11: notices are best effort). A host counts once, until it has been
 * heard for longer than a notice stands.
 *
 * @returns the same list when nothing is new
 */
export function reclaimsAfter(known: readonly Reclaimed[], rows: ReadonlyMap<string, HostRow>, now: Now, awakeSince: Now): readonly Reclaimed[] {
  const fresh = known.filter(({ at }) => now - at < reclaimsForMs);
  const news: Reclaimed[] = [];
  for (const row of rows.values()) {
    const { id, kind, reclaim, heardAt } = row;
    if (kind?.zone === undefined) continue;
    const taken = reclaim?.at !== undefined || (kind.spot === true && heardAt > 0 && isLost(row, now, awakeSince));
    if (taken && !fresh.some(({ host, at }) => host === id && at >= heardAt - onceMs)) news.push({ host: id, zone: kind.zone, at: now });
  }
  return news.length === 0 && fresh.length === known.length ? known : [...fresh, ...news].slice(-reclaimsMax);
}

/** How many by zone. */
export function reclaimsByZone(known: readonly Reclaimed[], now: Now): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { zone, at } of known) if (now - at < reclaimsForMs) counts.set(zone, (counts.get(zone) ?? 0) + 1);
  return counts;
}
