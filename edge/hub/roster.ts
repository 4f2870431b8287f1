import type { FleetHost } from "../../schema/bundle.ts";
import { linkTimes, type Heartbeat, type Load, type ReclaimNotice, type ReplicaState } from "../../schema/protocol.ts";
import type { Region } from "../../schema/region.ts";
import { readingsFreshMs, type Readings } from "../../schema/readings.ts";
import { isOver } from "../../schema/replica.ts";
import type { HostKind } from "../../schema/scale.ts";
import type { RegionStatus, Snapshot, SnapshotHost, SnapshotReplica } from "../../schema/snapshot.ts";
import type { Clone } from "./clones.ts";

/** A host as its Hub knows it. Immutable: each message makes a new row. */
export interface HostRow {
  id: string;
  /** The session's number; only messages of this one count. */
  epoch: number;
  linkUp: boolean;
  /** When it was last heard (ms since the epoch, by the Hub's clock). */
  heardAt: number;
  relays: number[];
  draining: boolean;
  /** Its cloud takes it back. */
  reclaim?: ReclaimNotice | undefined;
  /** Since when its link is gone, unless it said goodbye; and the relays that it had. */
  gone?: { since: number; relays: number[] } | undefined;
  /** The generation that it says it has taken over. */
  generation: number;
  gpus: number;
  /** What kind of host it says it is, and the digests that were ready there. */
  kind?: (HostKind & { warm?: string[] }) | undefined;
  /** The session in which it last said what it runs: `replicas` are of that one. Absent: in none. */
  saidIn?: number;
  /** Its disk has no room for anything new. */
  diskFull?: boolean | undefined;
  trust?: Heartbeat["trust"];
  replicas: ReplicaState[];
  /** When each of them was first heard of, which is at once when it is given, by id. */
  launched?: ReadonlyMap<string, number>;
  agentVersion?: string;
  protocol?: number;
  /** What its last heartbeat said that it read of itself. */
  readings?: Readings | undefined;
  /** When it came back after it was lost (ms since the epoch). */
  backSince?: number;
  /** Data links that it asked for. */
  relaysWanted?: number | undefined;
  /** Where its gate is, and the key of this session's passes. */
  direct?: { url: string } | undefined;
  gateKey?: string;
}

export function newRow(id: string, epoch: number, now: number): HostRow {
  return { id, epoch, linkUp: true, heardAt: now, relays: [], draining: false, generation: 0, gpus: 0, replicas: [] };
}

export function heartbeat(row: HostRow, message: Heartbeat, now: number): HostRow {
  const { relays, draining, reclaim, generation, replicas, facts, trust, readings, direct } = message;
  return { ...row, ...(trust === undefined ? {} : { trust }), heardAt: now, relays, draining, reclaim, generation, replicas, gpus: facts?.gpus ?? row.gpus, ...(facts === undefined ? {} : { kind: kindOf(facts), diskFull: facts.disk?.full }), saidIn: row.epoch, readings, direct, launched: launchedBy(row, replicas, now) };
}

/** A map of its own only where the replicas are others than before. */
function launchedBy({ launched }: HostRow, replicas: readonly ReplicaState[], now: number): ReadonlyMap<string, number> {
  if (launched !== undefined && launched.size === replicas.length && replicas.every(({ id }) => launched.has(id))) return launched;
  return new Map(replicas.map(({ id }) => [id, launched?.get(id) ?? now]));
}

function kindOf({ zone, spot, accelerator, priceMicroUsd, warm }: NonNullable<Heartbeat["facts"]>): HostRow["kind"] {
  const kind = {
    ...(zone === undefined ? {} : { zone }), ...(spot === undefined ? {} : { spot }), ...(accelerator === undefined ? {} : { accelerator }),
    ...(priceMicroUsd === undefined ? {} : { priceMicroUsd }), ...(warm === undefined ? {} : { warm }),
  };
  return Object.keys(kind).length === 0 ? undefined : kind;
}

/** A host has connected anew. What was known of it stays until its first heartbeat: nothing flaps while an agent reconnects. */
export function returned(known: HostRow, epoch: number, now: number, unheard: boolean): HostRow {
  // one that has been in routing all the time, or that only took over from itself, is not back from anywhere
  const back = unheard || known.linkUp ? {} : { backSince: now };
  return { ...known, epoch, linkUp: true, heardAt: now, relays: [], ...back };
}

export function report(row: HostRow, replica: ReplicaState, now: number): HostRow {
  const others = row.replicas.filter(({ id }) => id !== replica.id);
  const replicas = [...others, replica];
  return { ...row, heardAt: now, replicas, launched: launchedBy(row, replicas, now) };
}

const substances = new WeakMap<HostRow, string>();

/** What of a row is worth a write and a look at the placement: not loads, counts or times. Made once a row. */
export function substance(row: HostRow): string {
  let known = substances.get(row);
  if (known === undefined) substances.set(row, (known = substanceOf(row)));
  return known;
}

function substanceOf(row: HostRow): string {
  return JSON.stringify([row.epoch, row.saidIn, row.linkUp, row.relays, row.draining, row.reclaim, row.generation, row.gpus, row.diskFull, row.kind, row.trust, row.direct?.url, row.replicas.map(({ id, phase, version, restarts, wasReady, reason }) => [id, phase, version, restarts, wasReady, reason])]);
}

/** Up to so many hosts each change is placed at once. */
const placedAtOnceMax = 50;

/** Between two looks at the placement, in ms: one for each host, so that a thousand that come back within seconds are not placed a thousand times. */
export function replanSpacingMs(hosts: number): number {
  return hosts <= placedAtOnceMax ? 0 : Math.min(1_000, hosts);
}

/** Silent for longer than its lease. A Hub that woke a moment ago has not had the time to hear anyone. */
export function isLost(row: HostRow | undefined, now: number, awakeSince: number): boolean {
  // a waking that lies ahead was before the clock was set back
  const since = awakeSince > now + linkTimes.leaseMs ? 0 : awakeSince;
  return now - Math.max(row?.heardAt ?? 0, since) > linkTimes.leaseMs;
}

/** A host as isolates are told of it. */
export function hostOf({ id, relays, heardAt, linkUp, draining, backSince, direct, gateKey, kind }: HostRow): SnapshotHost {
  return {
    id, relays, heardAt, linkUp, draining,
    ...(backSince === undefined ? {} : { backSince }),
    ...(kind?.accelerator === undefined ? {} : { accelerator: kind.accelerator }),
    ...(direct === undefined || gateKey === undefined ? {} : { direct: { url: direct.url, key: gateKey } }),
  };
}

/** A host's replicas as isolates are told of them: those that are not over. */
export function replicasOf({ id: host, replicas: states }: HostRow): SnapshotReplica[] {
  const replicas: SnapshotReplica[] = [];
  for (const { id, service, number, version, phase, since, inFlight, load, engine } of states) {
    if (isOver(phase)) continue;
    replicas.push({ id, service, number, version, phase, host, since, inFlight, ...(load === undefined ? {} : { load: weighed(load) }), ...(engine === undefined ? {} : { engine }) });
  }
  return replicas;
}

/** The roster's immutable, dated copy. Hosts that a Hub has not heard since it woke a moment ago are told as they were before. */
export function snapshot(rows: Iterable<HostRow>, region: Region, now: number, unheard?: { hosts: ReadonlySet<string>; since: number }): Snapshot {
  const hosts: Snapshot["hosts"] = [];
  const replicas: Snapshot["replicas"] = [];
  for (const row of rows) {
    const { id, heardAt } = row;
    const host = hostOf(row);
    hosts.push(unheard?.hosts.has(id) === true ? { ...host, heardAt: Math.max(heardAt, unheard.since), linkUp: true } : host);
    replicas.push(...replicasOf(row));
  }
  return { region, takenAt: now, hosts, replicas };
}

/** A host's kind as people see it: not what it is warm for. */
function statedKind(row: HostRow | undefined): { kind?: HostKind } {
  const { warm: _warm, ...kind } = row?.kind ?? {};
  return Object.keys(kind).length === 0 ? {} : { kind };
}

/** A host's readings with their age, which is from when it said them last; nothing when they are old. */
function freshReadings(row: HostRow | undefined, now: number): { readings?: Readings } {
  if (row?.readings === undefined) return {};
  const ageMs = Math.max(0, now - row.heardAt) + row.readings.ageMs;
  return ageMs > readingsFreshMs ? {} : { readings: { ...row.readings, ageMs } };
}

/** What of a load a router weighs: the prefix cache's counters change with each request, and are for people. */
function weighed({ prefixTokensQueried: _queried, prefixTokensHit: _hit, ...load }: Load): Load {
  return load;
}

/** Why what a host has is to be moved; undefined when it is to stay. */
export function leavingReason(row: HostRow | undefined, host: FleetHost | undefined): string | undefined {
  if (row?.reclaim !== undefined) return row.reclaim.at === undefined ? row.reclaim.reason : `${row.reclaim.reason} at ${new Date(row.reclaim.at).toISOString().slice(11, 19)} UTC`;
  if (row?.draining === true) return "its agent is stopping";
  return host?.draining === true ? "its operator drains it" : undefined;
}

export interface StatusFacts {
  rows: ReadonlyMap<string, HostRow>;
  hosts: readonly FleetHost[];
  generations: ReadonlyMap<string, number>;
  region: Region;
  bundleVersion: number;
  unplaced: RegionStatus["unplaced"];
  awakeSince: number;
  /** Hosts that are shut out, by id. */
  clones?: ReadonlyMap<string, Pick<Clone, "since" | "reason">>;
}

/** Why what is known of a host's replicas is not what it says now; undefined when it is. */
function silence(row: HostRow, now: number, awakeSince: number): string | undefined {
  if (isLost(row, now, awakeSince)) return "its host is silent beyond its lease";
  if (!row.linkUp) return "its host's link is down";
  return row.saidIn === row.epoch ? undefined : "its host is back and has not said yet what it runs";
}

/** The roster as people see it: every host that is enrolled here, heard or not, and every replica with its reason. */
export function status({ rows, hosts, generations, region, bundleVersion, unplaced, awakeSince, clones }: StatusFacts, now: number): RegionStatus {
  const here = hosts.filter((host) => host.region === region && !host.revoked);
  const names = new Map(here.map((host) => [host.id, host.name]));
  const leaving = new Map(here.map((host) => [host.id, leavingReason(rows.get(host.id), host)]));
  return {
    region,
    takenAt: now,
    bundleVersion,
    unplaced,
    hosts: here.map(({ id, name }) => {
      const row = rows.get(id);
      const clone = clones?.get(id);
      const reason = leaving.get(id);
      return {
        id, name, region,
        ...(row?.trust === undefined ? {} : { trust: row.trust }),
        ...(clone === undefined ? {} : { quarantine: { since: clone.since, reason: clone.reason } }),
        relays: row?.relays ?? [],
        heardAt: row?.heardAt ?? 0,
        // a connection that was cut in silence looks open for minutes
        linkUp: row !== undefined && row.linkUp && !isLost(row, now, awakeSince),
        draining: reason !== undefined,
        generation: generations.get(id) ?? 0,
        appliedGeneration: row?.generation ?? 0,
        ...(reason === undefined ? {} : { reason }),
        ...(row?.agentVersion === undefined ? {} : { agentVersion: row.agentVersion }),
        ...(row?.protocol === undefined ? {} : { protocol: row.protocol }),
        ...statedKind(row),
        ...freshReadings(row, now),
      };
    }),
    replicas: [...rows.values()].filter((row) => names.has(row.id)).flatMap((row) =>
      row.replicas.filter(({ phase }) => phase !== "stopped").map(({ id, service, number, version, phase, since, inFlight, restarts, reason, load, engine, engineVersion, loadProblem }) => {
        // ready means: answered its probe, and its heartbeat is fresh
        const silent = silence(row, now, awakeSince);
        const launchedAt = row.launched?.get(id);
        const why = silent ?? (phase === "ready" ? leaving.get(row.id) : undefined) ?? reason;
        return {
          id, service, number, version, since, inFlight, restarts, region,
          phase: silent !== undefined && phase === "ready" ? "unhealthy" : phase,
          host: row.id,
          hostName: names.get(row.id) ?? row.id,
          ...(launchedAt === undefined ? {} : { launchedAt }),
          ...(why === undefined ? {} : { reason: why }),
          ...(load === undefined ? {} : { load }),
          ...(engine === undefined ? {} : { engine }),
          ...(engineVersion === undefined ? {} : { engineVersion }),
          ...(loadProblem === undefined ? {} : { loadProblem }),
        };
      }),
    ),
  };
}
