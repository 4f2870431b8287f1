import type { Now } from "../../schema/clock.ts";
import type { Region } from "../../schema/region.ts";
import { isOver } from "../../schema/replica.ts";
import type { RegionFacts, ScaleReplica } from "../../schema/scale.ts";
import { recentS, type Signals } from "./opinion.ts";
import { before, historyS, note, secondOf, spread, sumOf, type Series } from "./series.ts";

/** The digests' minute is kept in parts of so many seconds: what is forgotten is forgotten by part. */
const partS = 10;
/** Of how long ago answers count, in seconds. */
const digestS = 60;

/** What was last heard of a region. */
interface Heard {
  stamp: string;
  at: Now;
  arrivals: number;
  refused: number;
  spilled: number;
  ttft: number[];
  itl: number[];
  inFlight: number;
  waiting: number;
}

/** Digests of a part of the last minute. */
interface Part {
  /** Its first second since the epoch, over `partS`. */
  part: number;
  ttft: number[];
  itl: number[];
}

/** What `observe` remembers; JSON-able. */
export interface SignalMemory {
  at: Now;
  heard: Partial<Record<Region, Heard>>;
  arrivals?: Series;
  concurrency?: Series;
  refused?: Series;
  spilled?: Series;
  parts: Part[];
  coldStartMs?: number;
  /** When a replica that was never ready was first seen, by id and digest. */
  starting: Record<string, Now>;
}

const plus = (a: readonly number[], b: readonly number[]): number[] => Array.from({ length: Math.max(a.length, b.length) }, (_, i) => (a[i] ?? 0) + (b[i] ?? 0));
const minus = (a: readonly number[], b: readonly number[]): number[] => a.map((count, i) => Math.max(0, count - (b[i] ?? 0)));

/**
 * What there is to know of a service's demand, from its regions' sums.
 *
 * Sums are counted once, whatever is lost, repeated or comes late: of each region only what goes beyond its last sum is added, a report
 * that is older than the last one adds nothing, and another `stamp` begins its sums at 0. A region's first report of all is where counting
 * begins, but for the arrivals since `RegionFacts.since`.
 *
 * @param facts one report of a region counts; of several the newest
 * @param regionsExpected how many regions there are; fewer heard make the signals `partial`
 */
export function observe(memory: SignalMemory | undefined, facts: readonly RegionFacts[], regionsExpected: number, now: Now): { memory: SignalMemory; signals: Signals } {
  const at = Math.max(now, memory?.at ?? now);
  const next: SignalMemory = { ...(memory ?? { parts: [], starting: {} }), at, heard: { ...memory?.heard } };
  const fresh = newest(facts).filter((report) => report.at >= (memory?.heard[report.region]?.at ?? -Infinity));
  for (const report of fresh) count(next, report);
  for (const [region, heard] of Object.entries(next.heard)) if (at - heard.at > historyS * 1000) delete next.heard[region as Region];
  next.arrivals = spread(next.arrivals, 0, at, at);

  const replicas = fresh.flatMap((report) => report.replicas).filter(({ phase }) => !isOver(phase));
  const regions = Object.values(next.heard);
  const waiting = regions.reduce((sum, heard) => sum + heard.waiting, 0);
  next.concurrency = note(next.concurrency, regions.reduce((sum, heard) => sum + heard.inFlight, 0), at);
  if (fresh.length >= regionsExpected) next.starting = watchStarts(next, replicas, at);
  next.parts = next.parts.filter(({ part }) => (part + 1) * partS > secondOf(at) - digestS);

  const second = secondOf(at);
  const recent = (series: Series | undefined): number => sumOf(before(series, second + 1), recentS);
  return {
    memory: next,
    signals: {
      arrivals: before(next.arrivals, second),
      concurrency: before(next.concurrency, second + 1),
      waiting,
      refused: recent(next.refused),
      spilled: recent(next.spilled),
      ttft: next.parts.reduce<number[]>((sum, { ttft }) => plus(sum, ttft), []),
      itl: next.parts.reduce<number[]>((sum, { itl }) => plus(sum, itl), []),
      coldStartMs: next.coldStartMs,
      replicas,
      braked: fresh.some(({ braked }) => braked),
      partial: fresh.length < regionsExpected,
    },
  };
}

function newest(facts: readonly RegionFacts[]): RegionFacts[] {
  const byRegion = new Map<Region, RegionFacts>();
  for (const report of facts) if (report.at > (byRegion.get(report.region)?.at ?? -Infinity)) byRegion.set(report.region, report);
  return [...byRegion.values()];
}

/** Adds what a report says beyond its region's last one. */
function count(memory: SignalMemory, report: RegionFacts): void {
  const { region, stamp, at, demand, since } = report;
  const last = memory.heard[region];
  const known = last?.stamp === stamp ? last : undefined;
  // of a region that was never heard only arrivals whose time is known count
  const counts = last !== undefined || since !== undefined;
  const from = known?.at ?? (counts ? Math.max(last?.at ?? -Infinity, since ?? -Infinity, at - historyS * 1000) : at);
  const beyond = (sum: number, was: number | undefined): number => (counts ? Math.max(0, sum - (was ?? 0)) : 0);
  memory.arrivals = spread(memory.arrivals, beyond(demand.arrivals, known?.arrivals), from, at);
  memory.refused = spread(memory.refused, beyond(demand.refused, known?.refused), from, at);
  memory.spilled = spread(memory.spilled, beyond(demand.spilled, known?.spilled), from, at);
  if (last !== undefined) {
    const part = Math.floor(secondOf(at) / partS);
    const added = { part, ttft: minus(demand.ttft, known?.ttft ?? []), itl: minus(demand.itl, known?.itl ?? []) };
    const same = memory.parts.find((one) => one.part === part);
    memory.parts = [...memory.parts.filter((one) => one !== same), { part, ttft: plus(same?.ttft ?? [], added.ttft), itl: plus(same?.itl ?? [], added.itl) }];
  }
  const alive = report.replicas.filter(({ phase }) => !isOver(phase));
  memory.heard[region] = {
    stamp, at,
    arrivals: demand.arrivals, refused: demand.refused, spilled: demand.spilled, ttft: demand.ttft, itl: demand.itl,
    inFlight: demand.held + demand.spilledInFlight + alive.reduce((sum, { inFlight }) => sum + inFlight, 0),
    waiting: demand.held + alive.reduce((sum, { load }) => sum + (load?.queueDepth ?? 0), 0),
  };
}

/** Learns how long a start takes, from when a replica is first seen until it is first seen ready. */
function watchStarts(memory: SignalMemory, replicas: readonly ScaleReplica[], now: Now): Record<string, Now> {
  const starting: Record<string, Now> = {};
  let slowest: number | undefined;
  for (const { id, digest, phase, wasReady } of replicas) {
    const key = `${id} ${digest}`;
    const since = memory.starting[key];
    if (phase === "ready" && since !== undefined) slowest = Math.max(slowest ?? 0, now - since);
    else if (!wasReady && phase !== "ready") starting[key] = since ?? now;
  }
  if (slowest !== undefined) memory.coldStartMs = slowest;
  return starting;
}
