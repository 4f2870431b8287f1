import type { Now } from "../../schema/clock.ts";
import { isRegion, type Region } from "../../schema/region.ts";
import type { Desire, RolloutStatus, ScaleDecision, Target } from "../../schema/scale.ts";

/** Decisions that are kept for people (`fairlead status -v`). */
export const decisionsMax = 20;

export interface PlanFacts {
  service: string;
  /** The configured version that this was decided for. */
  version: number;
  desired: number;
  regions: Partial<Record<Region, readonly Target[]>>;
  rollout?: RolloutStatus | undefined;
  /** What was decided now, beside what `before` has. */
  decisions: readonly ScaleDecision[];
  now: Now;
}

/** What is wanted of a service from now on; undefined when that is what was wanted before. A hold after a hold says nothing new. */
export function plan(before: Desire | undefined, { service, version, desired, regions, rollout, decisions, now }: PlanFacts): Desire | undefined {
  const wanted = tidy(regions);
  const news = (before?.decisions ?? []).slice(-decisionsMax);
  const known = news.length;
  for (const decision of decisions) {
    const last = news.at(-1);
    if (last?.action === decision.action && last.desired === decision.desired && (decision.action === "hold" || last.reason === decision.reason)) continue;
    news.push(decision);
  }
  const same = before !== undefined && news.length === known && before.version === version && before.desired === desired && canonical(before.regions) === canonical(wanted) && canonical(before.rollout) === canonical(rollout);
  if (same) return undefined;
  return { service, generation: (before?.generation ?? 0) + 1, at: now, version, desired, regions: wanted, ...(rollout === undefined ? {} : { rollout }), decisions: news.slice(-decisionsMax) };
}

/** Regions in one order, without targets of which none is wanted or stays; a region without any is one where nothing is wanted, and is told so. */
function tidy(regions: PlanFacts["regions"]): Desire["regions"] {
  const names = Object.keys(regions).filter(isRegion).sort();
  return Object.fromEntries(names.map((region) => [region, (regions[region] ?? []).filter(({ count, staying = 0 }) => count > 0 || staying > 0)]));
}

/** The same text for the same value, whatever the order of its fields. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) => (typeof part === "object" && part !== null && !Array.isArray(part) ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1))) : part)) ?? "";
}

/** Of one digest and kind in one region. */
interface Line extends Target {
  region: Region;
}

function lines({ regions }: Pick<Desire, "regions">): Map<string, Line> {
  const all = new Map<string, Line>();
  for (const [region, targets] of Object.entries(regions)) {
    for (const target of targets) {
      const { digest, zone = "", spot } = target;
      const key = JSON.stringify([region, digest, zone, spot ?? null]);
      all.set(key, { ...target, region: region as Region, count: target.count + (all.get(key)?.count ?? 0) });
    }
  }
  return all;
}

const kindOf = ({ zone, spot }: Target): string => `${zone === undefined ? "" : `, zone ${zone}`}${spot === undefined ? "" : spot ? ", on spot" : ", on demand"}`;

/**
 * What changes from one desire to the next, in words.
 *
 * @example steps(before, after) // ["start 2 of version 3 in weur", "drain 1 of version 2 in weur"]
 */
export function steps(before: Desire | undefined, after: Desire): string[] {
  const [then, now] = [lines(before ?? { regions: {} }), lines(after)];
  const words: string[] = [];
  for (const [key, line] of now) {
    const more = line.count - (then.get(key)?.count ?? 0);
    if (more > 0) words.push(`start ${more} of version ${line.version} in ${line.region}${kindOf(line)}`);
  }
  for (const [key, line] of then) {
    const fewer = line.count - (now.get(key)?.count ?? 0);
    if (fewer > 0) words.push(`drain ${fewer} of version ${(now.get(key) ?? line).version} in ${line.region}${kindOf(line)}`);
  }
  const [old, shares] = [before?.rollout?.shares, after.rollout?.shares];
  if (canonical(old) !== canonical(shares)) {
    words.push(shares === undefined ? "send requests to all that are ready" : `send ${Object.entries(shares).map(([version, share]) => `${Math.round(share * 1000) / 10} % of requests to version ${version}`).join(", ")}`);
  }
  return words;
}
