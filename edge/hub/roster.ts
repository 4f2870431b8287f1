import type { FleetHost } from "../../schema/bundle.ts";
import { linkTimes, type Heartbeat, type ReplicaState } from "../../schema/protocol.ts";
import type { Region } from "../../schema/region.ts";
import { readingsFreshMs, type Readings } from "../../schema/readings.ts";
import { isOver } from "../../schema/replica.ts";
import type { RegionStatus, Snapshot } from "../../schema/snapshot.ts";

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
  /** The generation that it says it has taken over. */
  generation: number;
  gpus: number;
  replicas: ReplicaState[];
  agentVersion?: string;
  protocol?: number;
  /** What it read of itself lately, and when, by the Hub's clock. */
  readings?: { at: number; gpus: Readings["gpus"]; host?: Readings["host"] };
}

export function newRow(id: string, epoch: number, now: number): HostRow {
  return { id, epoch, linkUp: true, heardAt: now, relays: [], draining: false, generation: 0, gpus: 0, replicas: [] };
}

export function heartbeat(row: HostRow, message: Heartbeat, now: number): HostRow {
  const { relays, draining, generation, replicas, facts, readings } = message;
  const { readings: before, ...rest } = row;
  const read = readings === undefined ? before : { at: now - readings.ageMs, gpus: readings.gpus, ...(readings.host === undefined ? {} : { host: readings.host }) };
  return { ...rest, heardAt: now, relays, draining, generation, replicas, gpus: facts?.gpus ?? row.gpus, ...(read === undefined ? {} : { readings: read }) };
}

export function report(row: HostRow, replica: ReplicaState, now: number): HostRow {
  const others = row.replicas.filter(({ id }) => id !== replica.id);
  return { ...row, heardAt: now, replicas: [...others, replica] };
}

/** What of a row is worth a write and a look at the placement: not loads, counts or times. */
export function substance(row: HostRow): string {
  return JSON.stringify([row.epoch, row.linkUp, row.relays, row.draining, row.generation, row.gpus, row.replicas.map(({ id, phase, version, restarts, wasReady, reason }) => [id, phase, version, restarts, wasReady, reason])]);
}

/** Silent for longer than its lease. A Hub that woke a moment ago has not had the time to hear anyone. */
export function isLost(row: HostRow | undefined, now: number, awakeSince: number): boolean {
  return now - Math.max(row?.heardAt ?? 0, awakeSince) > linkTimes.leaseMs;
}

/** The roster's immutable, dated copy. */
export function snapshot(rows: Iterable<HostRow>, region: Region, now: number): Snapshot {
  const hosts: Snapshot["hosts"] = [];
  const replicas: Snapshot["replicas"] = [];
  for (const { id, relays, heardAt, linkUp, draining, replicas: states } of rows) {
    hosts.push({ id, relays, heardAt, linkUp, draining });
    for (const { id: replica, service, number, version, phase, since, inFlight, load, engine } of states) {
      if (isOver(phase)) continue;
      replicas.push({ id: replica, service, number, version, phase, host: id, since, inFlight, ...(load === undefined ? {} : { load }), ...(engine === undefined ? {} : { engine }) });
    }
  }
  return { region, takenAt: now, hosts, replicas };
}

/** A host's readings with their age; nothing when they are old. */
function freshReadings(row: HostRow | undefined, now: number): { readings?: Readings } {
  if (row?.readings === undefined) return {};
  const { at, ...readings } = row.readings;
  const ageMs = Math.max(0, now - at);
  return ageMs > readingsFreshMs ? {} : { readings: { ...readings, ageMs } };
}

export interface StatusFacts {
  rows: ReadonlyMap<string, HostRow>;
  hosts: readonly FleetHost[];
  generations: ReadonlyMap<string, number>;
  region: Region;
  bundleVersion: number;
  unplaced: RegionStatus["unplaced"];
  awakeSince: number;
}

/** The roster as people see it: every host that is enrolled here, heard or not, and every replica with its reason. */
export function status({ rows, hosts, generations, region, bundleVersion, unplaced, awakeSince }: StatusFacts, now: number): RegionStatus {
  const here = hosts.filter((host) => host.region === region && !host.revoked);
  const names = new Map(here.map((host) => [host.id, host.name]));
  return {
    region,
    takenAt: now,
    bundleVersion,
    unplaced,
    hosts: here.map(({ id, name }) => {
      const row = rows.get(id);
      return {
        id, name, region,
        relays: row?.relays ?? [],
        heardAt: row?.heardAt ?? 0,
        linkUp: row?.linkUp ?? false,
        draining: row?.draining ?? false,
        generation: generations.get(id) ?? 0,
        appliedGeneration: row?.generation ?? 0,
        ...(row?.agentVersion === undefined ? {} : { agentVersion: row.agentVersion }),
        ...(row?.protocol === undefined ? {} : { protocol: row.protocol }),
        ...freshReadings(row, now),
      };
    }),
    replicas: [...rows.values()].filter((row) => names.has(row.id)).flatMap((row) =>
      row.replicas.filter(({ phase }) => phase !== "stopped").map(({ id, service, number, version, phase, since, inFlight, restarts, reason, load, engine }) => {
        // ready means: answered its probe, and its heartbeat is fresh
        const silent = isLost(row, now, awakeSince) ? "its host is silent beyond its lease" : row.linkUp ? undefined : "its host's link is down";
        const why = silent ?? reason;
        return {
          id, service, number, version, since, inFlight, restarts, region,
          phase: silent !== undefined && phase === "ready" ? "unhealthy" : phase,
          host: row.id,
          hostName: names.get(row.id) ?? row.id,
          ...(why === undefined ? {} : { reason: why }),
          ...(load === undefined ? {} : { load }),
          ...(engine === undefined ? {} : { engine }),
        };
      }),
    ),
  };
}
