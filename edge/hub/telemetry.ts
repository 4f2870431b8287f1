import type { Demand, VersionSeen } from "../../schema/scale.ts";
import { breakerStates, cellSize, cellsMax, digestBoundsMs, endings, lacks, layout, tallies, type BreakerTold, type Told, type TrafficRow, type VersionTold } from "../../schema/telemetry.ts";

/** What status shows is of the last minute, in slots of five seconds. */
const windowMs = 60_000;
const slotMs = 5_000;
/** What an isolate said of how things stand is believed for so long: it tells once a second while it serves. */
const gaugeMs = 60_000;
/** Isolates whose gauges are kept at most; the one that was heard least lately goes. */
const isolatesMax = 1_000;
/** A replica's rate is measured over at least so long, and believed for three times that. */
const rateMs = 10_000;
const bucketsOf = digestBoundsMs.ttft.length + 1;
/** Endings that are somebody's fault on our side of the client. */
const faults = ["5xx", "broken"].map((ending) => layout.endings + endings.indexOf(ending as (typeof endings)[number]));

/** Services of which versions are kept at most, and versions of each: the latest. */
const versionsMax = { services: 500, each: 4 };

/** Whether something may still be believed. What is of later than now was told before the clock was set back. */
const isOld = (at: number, forMs: number, now: number): boolean => now - at > forMs || at > now;

const zeros = (length: number): number[] => Array.from({ length }, () => 0);

/** Counts of one service through one upstream, since this Hub began. */
export interface CountedCell {
  service: string;
  upstream: string;
  counts: Float64Array;
}

/** What one Hub has counted and heard, as it is at a scrape: plain values, for whichever Hub was asked. */
export interface Counted {
  cells: CountedCell[];
  inFlight: { service: string; upstream: string; count: number }[];
  /** Requests that wait for a first replica, and those at a provider for lack of one. */
  held: { service: string; count: number }[];
  spilled: { service: string; count: number }[];
  /** How many isolates' breakers are in a state that is not closed. */
  breakers: { service: string; id: string; state: BreakerTold; count: number }[];
  qps: { service: string; replica: string; qps: number }[];
  /** Placing decisions since this Hub began. */
  decisions: { service: string; action: string; count: number }[];
}

interface Kept extends CountedCell {
  heardAt: number;
  /** By slot: requests, errors, and the buckets of TTFT. */
  slots: Map<number, Float64Array>;
}

/** What isolates near a Hub told it. In memory only: counters begin anew with the Hub, which Prometheus takes for what it is. */
export class Traffic {
  readonly #cells = new Map<string, Kept>();
  readonly #isolates = new Map<string, { at: number } & Pick<Told, "inFlight" | "breakers" | "held" | "spilled">>();
  readonly #rates = new Map<string, { service: string; at: number; requests: number; qps: number | undefined }>();
  readonly #decisions = new Map<string, { service: string; action: string; count: number }>();
  readonly #versions = new Map<string, Map<number, VersionSeen>>();

  merge({ isolate, cells, inFlight, breakers, held, spilled, versions = [] }: Told, now: number): void {
    for (const row of versions) this.#addVersion(row);
    for (const { service, upstream, counts } of cells) {
      const kept = this.#cell(service, upstream);
      kept.heardAt = now;
      // a router of another version may know fewer places, or more
      const size = Math.min(cellSize, counts.length);
      for (let i = 0; i < size; i++) kept.counts[i] = (kept.counts[i] as number) + (counts[i] as number);
      this.#slot(kept, counts, now);
    }
    this.#isolates.delete(isolate);
    this.#isolates.set(isolate, { at: now, inFlight, breakers, held, spilled });
    if (this.#isolates.size > isolatesMax) this.#isolates.delete(this.#isolates.keys().next().value ?? "");
  }

  #addVersion({ service, version, answers, failures, ttft }: VersionTold): void {
    const known = this.#versions.get(service);
    const rows = known ?? new Map<number, VersionSeen>();
    // the service that was heard of last is the last to go
    this.#versions.delete(service);
    this.#versions.set(service, rows);
    if (this.#versions.size > versionsMax.services) this.#versions.delete(this.#versions.keys().next().value ?? "");
    const row = rows.get(version) ?? { version, answers: 0, failures: 0, ttft: zeros(bucketsOf) };
    row.answers += answers;
    row.failures += failures;
    for (let i = 0; i < Math.min(bucketsOf, ttft.length); i++) row.ttft[i] = (row.ttft[i] as number) + (ttft[i] as number);
    rows.set(version, row);
    if (rows.size > versionsMax.each) rows.delete(Math.min(...rows.keys()));
  }

  /** What attempts on each version of a service came to, in sums since this Hub began. */
  versions(service: string): VersionSeen[] {
    return [...(this.#versions.get(service)?.values() ?? [])].map((row) => ({ ...row, ttft: [...row.ttft] }));
  }

  #cell(service: string, upstream: string): Kept {
    const key = `${service}\n${upstream}`;
    let kept = this.#cells.get(key);
    if (kept === undefined) {
      if (this.#cells.size >= cellsMax.kept) this.#forgetOldest();
      kept = { service, upstream, counts: new Float64Array(cellSize), heardAt: 0, slots: new Map() };
      this.#cells.set(key, kept);
    }
    return kept;
  }

  #forgetOldest(): void {
    let oldest: [string, Kept] | undefined;
    for (const entry of this.#cells) if (oldest === undefined || entry[1].heardAt < oldest[1].heardAt) oldest = entry;
    if (oldest !== undefined) this.#cells.delete(oldest[0]);
  }

  #slot({ slots }: Kept, counts: Uint32Array, now: number): void {
    const number = Math.floor(now / slotMs);
    let slot = slots.get(number);
    if (slot === undefined) {
      slot = new Float64Array(2 + bucketsOf);
      slots.set(number, slot);
      for (const old of slots.keys()) if (old <= number - windowMs / slotMs) slots.delete(old);
    }
    for (let i = 0; i < endings.length; i++) slot[0] = (slot[0] as number) + (counts[layout.endings + i] ?? 0);
    for (const place of faults) slot[1] = (slot[1] as number) + (counts[place] ?? 0);
    for (let i = 0; i < bucketsOf; i++) slot[2 + i] = (slot[2 + i] as number) + (counts[layout.ttft + 1 + i] ?? 0);
  }

  /** How often a replica was asked in all, as its agent counts. */
  asked(replica: string, service: string, requests: number, now: number): void {
    const before = this.#rates.get(replica);
    if (before === undefined || before.at > now) this.#rates.set(replica, { service, at: now, requests, qps: undefined });
    else if (now - before.at >= rateMs) {
      // fewer than before: the agent began anew
      const since = requests >= before.requests ? requests - before.requests : requests;
      this.#rates.set(replica, { service, at: now, requests, qps: (since * 1000) / (now - before.at) });
    }
  }

  decided(service: string, action: string): void {
    const key = `${service}\n${action}`;
    const known = this.#decisions.get(key);
    if (known !== undefined) known.count++;
    else if (this.#decisions.size < cellsMax.kept) this.#decisions.set(key, { service, action, count: 1 });
  }

  /**
   * What a service's replicas were asked for, in sums since this Hub began.
   *
   * @param own what the service calls its replicas, among its upstreams
   */
  demand(service: string, own: string, now: number): Demand {
    const demand: Demand = { arrivals: 0, refused: 0, spilled: 0, ttft: zeros(digestBoundsMs.ttft.length + 1), itl: zeros(digestBoundsMs.itl.length + 1), held: 0, spilledInFlight: 0 };
    for (const cell of this.#cells.values()) {
      if (cell.service !== service) continue;
      const at = (place: number): number => cell.counts[place] as number;
      demand.arrivals += at(layout.tallies + tallies.indexOf("arrivals"));
      demand.refused += at(layout.lacks + lacks.indexOf("refused"));
      demand.spilled += at(layout.lacks + lacks.indexOf("spilled"));
      if (cell.upstream !== own) continue;
      // what had waited for a first replica says nothing of how replicas do
      for (let i = 0; i < demand.ttft.length; i++) demand.ttft[i] = at(layout.ttft + 1 + i) - at(layout.heldTtft + i);
      for (let i = 0; i < demand.itl.length; i++) demand.itl[i] = at(layout.itl + 1 + i);
    }
    for (const { at, held = [], spilled = [] } of this.#isolates.values()) {
      if (isOld(at, gaugeMs, now)) continue;
      for (const one of held) if (one.service === service) demand.held += one.count;
      for (const one of spilled) if (one.service === service) demand.spilledInFlight += one.count;
    }
    return demand;
  }

  /** The last minute, by service and upstream. @param awakeSince when this Hub began to hear */
  rows(now: number, awakeSince: number): TrafficRow[] {
    const oldest = Math.floor(now / slotMs) - windowMs / slotMs;
    const heardMs = Math.max(slotMs, Math.min(windowMs, now - awakeSince));
    return [...this.#cells.values()].flatMap(({ service, upstream, slots }) => {
      const sum = new Float64Array(2 + bucketsOf);
      for (const [number, slot] of slots) if (number > oldest) for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] as number) + (slot[i] as number);
      const [requests = 0, errors = 0, ...ttft] = sum;
      return requests === 0 && !ttft.some((count) => count > 0) ? [] : [{ service, upstream, windowMs: heardMs, requests, errors, ttft }];
    });
  }

  counted(now: number): Counted {
    for (const [isolate, { at }] of this.#isolates) if (isOld(at, gaugeMs, now)) this.#isolates.delete(isolate);
    for (const [replica, { at }] of this.#rates) if (isOld(at, 3 * rateMs, now)) this.#rates.delete(replica);
    const inFlight = new Map<string, Counted["inFlight"][number]>();
    const breakers = new Map<string, Counted["breakers"][number]>();
    const [held, spilled] = [new Map<string, number>(), new Map<string, number>()];
    for (const told of this.#isolates.values()) {
      for (const [sum, list = []] of [[held, told.held], [spilled, told.spilled]] as const) for (const { service, count } of list) sum.set(service, count + (sum.get(service) ?? 0));
      for (const { service, upstream, count } of told.inFlight) {
        const key = `${service}\n${upstream}`;
        inFlight.set(key, { service, upstream, count: count + (inFlight.get(key)?.count ?? 0) });
      }
      for (const { service, id, state } of told.breakers) {
        const key = `${service}\n${id}\n${state}`;
        breakers.set(key, { service, id, state, count: 1 + (breakers.get(key)?.count ?? 0) });
      }
    }
    return {
      cells: [...this.#cells.values()].map(({ service, upstream, counts }) => ({ service, upstream, counts })),
      inFlight: [...inFlight.values()],
      held: [...held].map(([service, count]) => ({ service, count })),
      spilled: [...spilled].map(([service, count]) => ({ service, count })),
      breakers: [...breakers.values()].sort((a, b) => breakerStates.indexOf(a.state) - breakerStates.indexOf(b.state)),
      qps: [...this.#rates].flatMap(([replica, { service, qps }]) => (qps === undefined ? [] : [{ service, replica, qps }])),
      decisions: [...this.#decisions.values()],
    };
  }
}
