import { Counter, Gauge, Registry } from "prom-client";
import { phases } from "../../schema/replica.ts";
import type { RegionStatus } from "../../schema/snapshot.ts";
import { attemptOutcomes, breakerStates, digestBoundsMs, endings, lacks, layout, resumeWays, tallies, type Digest } from "../../schema/telemetry.ts";
import type { Counted } from "./telemetry.ts";

/** What one region's Hub knows at a scrape. A Hub of an older version has counted nothing. */
export interface RegionFigures {
  status: RegionStatus;
  counted?: Counted;
}

type Labels = Partial<Record<"service" | "replica" | "upstream" | "region" | "status" | "action" | "host", string>>;

/**
 * A histogram whose counts were made elsewhere: prom-client's own takes one observation at a time. What is in the cells are counts by
 * bucket; Prometheus wants them to rise.
 */
class Digested {
  readonly name: string;
  readonly help: string;
  readonly type = "histogram";
  readonly aggregator = "sum";
  readonly #boundsMs: readonly number[];
  readonly #values: { metricName: string; labels: Record<string, string | number>; value: number }[] = [];

  constructor(name: string, help: string, digest: Digest, registry: Registry) {
    this.name = name;
    this.help = help;
    this.#boundsMs = digestBoundsMs[digest];
    // a registry asks its metrics for `get` only; its types ask for one of its own classes
    registry.registerMetric(this as unknown as Gauge);
  }

  set(labels: Labels, sumMs: number, buckets: readonly number[]): void {
    let count = 0;
    const bucket = (le: number | string, more: number): void => {
      count += more;
      this.#values.push({ metricName: `${this.name}_bucket`, labels: { ...labels, le }, value: count });
    };
    for (const [at, ms] of this.#boundsMs.entries()) bucket(ms / 1000, buckets[at] ?? 0);
    bucket("+Inf", buckets[this.#boundsMs.length] ?? 0);
    this.#values.push({ metricName: `${this.name}_sum`, labels, value: sumMs / 1000 }, { metricName: `${this.name}_count`, labels, value: count });
  }

  async get(): Promise<{ name: string; help: string; type: string; aggregator: string; values: unknown[] }> {
    return { name: this.name, help: this.help, type: this.type, aggregator: this.aggregator, values: this.#values };
  }
}

/** The fleet as the Hubs know it, in Prometheus text: names and labels are in docs/metrics.md. */
export async function fleetMetrics(regions: readonly RegionFigures[]): Promise<{ text: string; contentType: string }> {
  const registry = new Registry();
  fleet(registry, regions.map(({ status }) => status));
  traffic(registry, regions.map(({ status: { region }, counted }) => ({ region, counted })));
  return { text: await registry.metrics(), contentType: registry.contentType };
}

/** What the rosters say. */
function fleet(registry: Registry, regions: readonly RegionStatus[]): void {
  const registers = [registry];
  const status = new Gauge({ name: "fairlead_replica_status", help: "1 for the phase a replica is in, else 0", labelNames: ["service", "replica", "region", "status"], registers });
  const queue = new Gauge({ name: "fairlead_queue_depth", help: "Requests waiting in the engine, as it reports", labelNames: ["service", "replica", "region"], registers });
  const kv = new Gauge({ name: "fairlead_kv_usage", help: "KV cache in use, 0..1, as the engine reports", labelNames: ["service", "replica", "region"], registers });
  const inFlight = new Gauge({ name: "fairlead_requests_in_flight", help: "Requests that agents are carrying to a replica, and that isolates have at a provider", labelNames: ["service", "replica", "upstream", "region"], registers });
  const link = new Gauge({ name: "fairlead_link_up", help: "Whether a host's control link is open", labelNames: ["host", "region"], registers });
  const age = new Gauge({ name: "fairlead_snapshot_age_seconds", help: "Time since a connected host was last heard, the oldest of each region", labelNames: ["region"], registers });
  for (const { region, hosts, replicas, takenAt } of regions) {
    for (const host of hosts) link.set({ host: host.name, region }, host.linkUp ? 1 : 0);
    age.set({ region }, Math.max(0, ...hosts.filter(({ linkUp }) => linkUp).map(({ heardAt }) => takenAt - heardAt)) / 1000);
    for (const { service, id: replica, phase, inFlight: carried, load } of replicas) {
      for (const one of phases) status.set({ service, replica, region, status: one }, one === phase ? 1 : 0);
      inFlight.set({ service, replica, region }, carried);
      if (load !== undefined) queue.set({ service, replica, region }, load.queueDepth);
      if (load?.kvUsage !== undefined) kv.set({ service, replica, region }, load.kvUsage);
    }
  }
}

/** What isolates told, and what was decided. Only what happened has a series; an empty label is left out. */
function traffic(registry: Registry, regions: readonly { region: string; counted: Counted | undefined }[]): void {
  const registers = [registry];
  const counter = (name: string, help: string, more: readonly (keyof Labels)[] = []): Counter<keyof Labels> =>
    new Counter({ name: `fairlead_${name}_total`, help, labelNames: ["service", "upstream", "region", ...more], registers });
  const ended = counter("request_count", "Requests that have ended, by the class of their status, `429`, `broken` for a begun stream that ended with an error, `left` where the client went", ["status"]);
  const attempts = counter("upstream_attempts", "Attempts at upstreams, by outcome", ["status"]);
  const resumes = counter("stream_resumes", "Streams that went on after a loss, by method", ["action"]);
  const tokens = counter("tokens", "Tokens, as upstreams' usage says: `input`, `output`, and `cached` of the input", ["status"]);
  const singles = {
    arrivals: counter("arrivals", "Requests that have come"),
    fallbacks: counter("fallbacks", "Answers by another kind of upstream than the one that was to give them"),
    hedges: counter("hedges", "Second attempts, begun because the first was silent"),
    prefixHits: counter("prefix_hits", "Requests sent to a replica that was predicted to hold a part of their prompt"),
  };
  const lacking = counter("capacity_lacks", "Requests that no replica could take: `refused`, or `spilled` to a provider", ["status"]);
  const held = new Gauge({ name: "fairlead_held_requests", help: "Requests that wait for a first replica", labelNames: ["service", "region"], registers });
  const spilled = new Gauge({ name: "fairlead_spilled_requests", help: "Requests at a provider because no replica could take them", labelNames: ["service", "region"], registers });
  const latency = new Digested("fairlead_request_latency_seconds", "From a request to the end of its answer", "latency", registry);
  const ttft = new Digested("fairlead_ttft_seconds", "From a streamed request to the first event of its answer", "ttft", registry);
  const itl = new Digested("fairlead_itl_seconds", "Gaps between the pieces of a stream, of one stream in eight", "itl", registry);
  const breaker = new Gauge({ name: "fairlead_breaker_state", help: "Isolates whose breaker of an upstream is in this state; none of an upstream is closed everywhere", labelNames: ["service", "replica", "upstream", "region", "status"], registers });
  const qps = new Gauge({ name: "fairlead_replica_qps", help: "Requests per second that a replica was given lately, as its agent counts", labelNames: ["service", "replica", "region"], registers });
  const decisions = counter("autoscaler_decisions", "Decisions of Scalers, and of placing", ["action"]);
  const inFlight = registry.getSingleMetric("fairlead_requests_in_flight") as Gauge;

  for (const { region, counted } of regions) {
    if (counted === undefined) continue;
    for (const { service, upstream, counts } of counted.cells) {
      const labels = known({ service, upstream, region });
      const at = (place: number): number => counts[place] ?? 0;
      const list = (metric: Counter<keyof Labels>, from: number, names: readonly string[], label: "status" | "action"): void => {
        for (const [i, name] of names.entries()) if (at(from + i) > 0) metric.inc({ ...labels, [label]: name }, at(from + i));
      };
      list(ended, layout.endings, endings, "status");
      list(attempts, layout.attempts, attemptOutcomes, "status");
      list(resumes, layout.resumes, resumeWays, "action");
      list(lacking, layout.lacks, lacks, "status");
      for (const [i, tally] of tallies.entries()) {
        const count = at(layout.tallies + i);
        if (count === 0) continue;
        if (tally === "inputTokens" || tally === "outputTokens" || tally === "cachedTokens") tokens.inc({ ...labels, status: tally.replace("Tokens", "") }, count);
        else singles[tally].inc(labels, count);
      }
      for (const [digest, metric] of [["latency", latency], ["ttft", ttft], ["itl", itl]] as const) {
        const buckets = Array.from({ length: digestBoundsMs[digest].length + 1 }, (_, i) => at(layout[digest] + 1 + i));
        if (buckets.some((count) => count > 0)) metric.set(labels, at(layout[digest]), buckets);
      }
    }
    for (const { service, upstream, count } of counted.inFlight) inFlight.set({ service, upstream, region }, count);
    // a Hub of an older version tells of neither
    for (const { service, count } of counted.held ?? []) held.set({ service, region }, count);
    for (const { service, count } of counted.spilled ?? []) spilled.set({ service, region }, count);
    for (const { service, id, state, count } of counted.breakers) {
      const of = id.startsWith(`${service}.`) ? { replica: id } : { upstream: id };
      if (breakerStates.includes(state)) breaker.set({ service, ...of, region, status: state }, count);
    }
    for (const one of counted.qps) qps.set({ service: one.service, replica: one.replica, region }, one.qps);
    for (const { service, action, count } of counted.decisions) decisions.inc({ service, region, action }, count);
  }
}

function known(labels: Labels): Labels {
  return Object.fromEntries(Object.entries(labels).filter(([, value]) => value !== ""));
}
