import type { Region } from "../../schema/region.ts";
import type { ScaleReplica, Target } from "../../schema/scale.ts";
import { isOfKind } from "./fit.ts";

/** So many of a version. */
export type Wanted = Pick<Target, "version" | "digest" | "count">;

/** Room for so many, of whatever version. */
export interface Slots extends Pick<Target, "zone" | "spot"> {
  region: Region;
  count: number;
}

/**
 * Which versions fill which slots: those that are there stay, the rest goes in order. Slots beyond what is wanted (what stands in for
 * others until they are ready) are the version's that is wanted most.
 */
export function mix(slots: readonly Slots[], wanted: readonly Wanted[], replicas: readonly ScaleReplica[]): Partial<Record<Region, Target[]>> {
  const missing = wanted.map(({ count }) => count);
  const given = slots.map(() => wanted.map(() => 0));
  const free = slots.map(({ count }) => count);
  const give = (slot: number, version: number, count: number): void => {
    (given[slot] as number[])[version] = (given[slot]?.[version] ?? 0) + count;
    free[slot] = (free[slot] ?? 0) - count;
    missing[version] = Math.max(0, (missing[version] ?? 0) - count);
  };
  const there = slots.map((slot) => wanted.map(({ digest }) => replicas.filter((one) => one.digest === digest && one.region === slot.region && !one.leaving && isOfKind(one, slot)).length));
  for (const [i] of slots.entries()) for (const [v] of wanted.entries()) give(i, v, Math.min(there[i]?.[v] ?? 0, missing[v] ?? 0, free[i] ?? 0));
  for (const [i] of slots.entries()) for (const [v] of wanted.entries()) give(i, v, Math.min(missing[v] ?? 0, free[i] ?? 0));
  const most = wanted.reduce((best, { count }, v) => (count > (wanted[best]?.count ?? 0) ? v : best), 0);
  if (wanted.length > 0) for (const [i] of slots.entries()) give(i, most, free[i] ?? 0);

  const regions: Partial<Record<Region, Target[]>> = {};
  for (const [v, { version, digest }] of wanted.entries()) {
    for (const [i, { region, zone, spot }] of slots.entries()) {
      const count = given[i]?.[v] ?? 0;
      if (count > 0) (regions[region] ??= []).push({ version, digest, count, ...(zone === undefined ? {} : { zone }), ...(spot === undefined ? {} : { spot }) });
    }
  }
  return regions;
}
