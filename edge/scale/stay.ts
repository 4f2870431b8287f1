import type { Region } from "../../schema/region.ts";
import type { ScaleReplica, Target } from "../../schema/scale.ts";
import type { Wanted } from "./mix.ts";
import { isServing } from "./spot.ts";

type Regions = Partial<Record<Region, Target[]>>;

/**
 * A Hub lets what is on a leaving host serve on until another is ready in its place, and sees its own region only. Where the place is in
 * another region, it is told how many are to serve on there (`Target.staying`).
 */
export function stay(regions: Regions, wanted: readonly Wanted[], replicas: readonly ScaleReplica[]): Regions {
  const next: Regions = { ...regions };
  for (const { version, digest, count } of wanted) {
    const own = replicas.filter((one) => one.digest === digest);
    const serving = own.filter(isServing);
    let missing = count - serving.length;
    const leaving = Map.groupBy(own.filter(({ phase, reachable, leaving: goes }) => goes && reachable && phase === "ready"), ({ region }) => region);
    for (const [region, { length }] of leaving) {
      const staying = Math.min(length, missing);
      missing -= Math.max(0, staying);
      const targets = next[region] ?? [];
      const told = targets.reduce((sum, target) => (target.digest === digest ? sum + target.count : sum), 0);
      // what is wanted there and not ready yet is covered there
      if (staying <= Math.max(0, told - serving.filter((one) => one.region === region).length)) continue;
      const first = targets.findIndex((target) => target.digest === digest);
      next[region] = first < 0 ? [...targets, { version, digest, count: 0, staying }] : targets.map((target, i) => (i === first ? { ...target, staying } : target));
    }
  }
  return next;
}
