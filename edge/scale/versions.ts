import type { Now } from "../../schema/clock.ts";
import type { Region } from "../../schema/region.ts";
import type { RegionFacts, VersionSeen } from "../../schema/scale.ts";
import { seenSince } from "./verdict.ts";

/** What was added up so far; JSON. */
export interface SeenMemory {
  /** By version; of the latest ones. */
  sums: VersionSeen[];
  regions: Partial<Record<Region, { stamp: string; at: Now; versions: VersionSeen[] }>>;
}

/** A rollout looks at two versions; one that was given up for the next may still answer. */
const versionsMax = 4;

/** Add what regions have seen of a service's versions to what they had: the sums never fall, whichever Hub begins anew or is not heard. */
export function addSeen(before: SeenMemory | undefined, facts: readonly Pick<RegionFacts, "region" | "stamp" | "at" | "versions">[]): SeenMemory {
  const sums = new Map<number, VersionSeen>((before?.sums ?? []).map((sum) => [sum.version, sum]));
  const regions: SeenMemory["regions"] = { ...before?.regions };
  for (const { region, stamp, at, versions } of facts) {
    const known = regions[region];
    // an earlier report that comes late
    if (known !== undefined && known.at > at) continue;
    const base = known?.stamp === stamp ? known.versions : [];
    for (const { version } of versions) {
      const more = seenSince(versions, base, version);
      const sum = sums.get(version);
      const ttft = Array.from({ length: Math.max(more.ttft.length, sum?.ttft.length ?? 0) }, (_, i) => (more.ttft[i] ?? 0) + (sum?.ttft[i] ?? 0));
      sums.set(version, { version, answers: more.answers + (sum?.answers ?? 0), failures: more.failures + (sum?.failures ?? 0), ttft });
    }
    regions[region] = { stamp, at, versions };
  }
  return { sums: [...sums.values()].sort((a, b) => a.version - b.version).slice(-versionsMax), regions };
}
