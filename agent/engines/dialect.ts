import type { Engine, Load } from "../../schema/protocol.ts";
import type { Metrics, Sample } from "./prometheus.ts";

/** A gauge or counter under all the names that versions of an engine have given it; the first that is there is read. */
export interface Series {
  names: readonly string[];
  /** Only samples with these labels. */
  labels?: Readonly<Record<string, string>>;
}

/** How an engine tells its load. */
export interface LoadSeries {
  running: Series;
  queueDepth: Series;
  /** A fraction 0..1, whatever its name says. */
  kvUsage?: Series;
  /** Tokens of prompts that were looked up in the prefix cache since the engine's start, and those found there. */
  prefixTokensQueried?: Series;
  prefixTokensHit?: Series;
  /** The label that tells engines behind one port from each other. Samples that differ in other labels say the same twice. */
  rank?: string;
}

/** One request to an engine on loopback. */
export interface Ask {
  method: "GET" | "POST";
  path: string;
}

/** What is particular about one engine, as data; the sources are facts/engines.md and what `scripts/test engines` met. */
export interface Dialect {
  engine: Engine;
  /** As people write it. */
  name: string;
  /** What the names of its metrics begin with. Of several that match, the first dialect in the table is it. */
  prefixes: readonly string[];
  /** What its `/v1/models` says under `owned_by`: how it is known where it tells no metrics. */
  ownedBy?: string;
  /** What it answers at `/`: how it is known where its models are owned by whoever made them, or there are none. */
  greeting?: string;
  /** Absent: it has no metrics that tell its load. */
  load?: LoadSeries;
  /** What else its metrics tell. */
  more?: (metrics: Metrics) => Partial<Load>;
  /** Where they are, when that is not `/metrics`. */
  metricsPath?: string;
  /** What makes it tell metrics, where it does not by itself. */
  metricsBy?: string;
  /** Where it says its version, and the members of that JSON, outermost first. */
  version?: { path: string; members: readonly string[] };
  /** Absent: it cannot be put to sleep so that it wakes with the same weights. */
  sleep?: {
    /** Where it says whether it was started so that it can, for its answer to `fall` may not; what says nothing there is asked to. */
    enabled: Ask & { members: readonly string[] };
    fall: Ask;
    wake: Ask;
    isAsleep: Ask & { member: string };
    by: string;
  };
}

/** What could be read of an engine. */
export interface Reading {
  load?: Load;
  /** Why there is no load although the engine is known, in words that a person reads. */
  problem?: string;
}

export function speaks({ prefixes }: Dialect, metrics: Metrics): boolean {
  return [...metrics.keys()].some((name) => prefixes.some((prefix) => name.startsWith(prefix)));
}

/**
 * An engine's load from its metrics.
 *
 * One of the two request gauges missing makes the whole load unknown, and says so: a renamed metric must not look like an idle engine.
 */
export function readLoad({ name, load: series, more }: Dialect, metrics: Metrics): Reading {
  if (series === undefined) return {};
  const { rank } = series;
  const running = total(find(metrics, series.running), rank);
  const queueDepth = total(find(metrics, series.queueDepth), rank);
  if (running === undefined || queueDepth === undefined) {
    const missing = [...(running === undefined ? [series.running] : []), ...(queueDepth === undefined ? [series.queueDepth] : [])].map(title);
    return { problem: `${name}'s metrics lack ${missing.join(" and ")}: its load is unknown to this agent, whose names for it may be of another version` };
  }
  const usage = find(metrics, series.kvUsage).map(({ value }) => value).filter((value) => value <= 1);
  const queried = total(find(metrics, series.prefixTokensQueried), rank);
  const hit = total(find(metrics, series.prefixTokensHit), rank);
  return {
    load: {
      running, queueDepth,
      ...(usage.length === 0 ? {} : { kvUsage: Math.max(...usage) }),
      ...(queried === undefined || hit === undefined ? {} : { prefixTokensQueried: queried, prefixTokensHit: hit }),
      ...more?.(metrics),
    },
  };
}

/** The samples of a series under the first of its names that is there. */
export function find(metrics: Metrics, series: Series | undefined): readonly Sample[] {
  for (const name of series?.names ?? []) {
    const wanted = Object.entries(series?.labels ?? {});
    const samples = metrics.get(name)?.filter(({ labels }) => wanted.every(([label, value]) => labels[label] === value));
    if (samples !== undefined && samples.length > 0) return samples;
  }
  return [];
}

function title({ names: [name = ""], labels = {} }: Series): string {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  return pairs.length === 0 ? name : `${name}{${pairs.join(",")}}`;
}

/** The sum over the engines behind one port; undefined when nobody says anything. */
export function total(samples: readonly Sample[], rank: string | undefined): number | undefined {
  if (samples.length === 0) return undefined;
  if (rank === undefined) return samples.reduce((sum, { value }) => sum + value, 0);
  const ranks = new Map<string, number>();
  for (const { labels, value } of samples) ranks.set(labels[rank] ?? "", Math.max(value, ranks.get(labels[rank] ?? "") ?? 0));
  return [...ranks.values()].reduce((sum, value) => sum + value, 0);
}
