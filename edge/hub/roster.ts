import type { FleetHost } from "../../schema/bundle.ts";
import { linkTimes, type Heartbeat, type ReclaimNotice, type ReplicaState } from "../../schema/protocol.ts";
import type { Region } from "../../schema/region.ts";
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
  /** Its cloud takes it back. */
  reclaim?: ReclaimNotice | undefined;
  /** Since when its link is gone, unless it said goodbye; and the relays that it had. */
  gone?: { since: number; relays: number[] } | undefined;
  /** The generation that it says it has taken over. */
  generation: number;
  gpus: number;
  replicas: ReplicaState[];
}

export function newRow(id: string, epoch: number, now: number): HostRow {
  return { id, epoch, linkUp: true, heardAt: now, relays: [], draining: false, generation: 0, gpus: 0, replicas: [] };
}

export function heartbeat(row: HostRow, message: Heartbeat, now: number): HostRow {
  const { relays, draining, reclaim, generation, replicas, facts } = message;
  return { ...row, heardAt: now, relays, draining, reclaim, generation, replicas, gpus: facts?.gpus ?? row.gpus };
}

export function report(row: HostRow, replica: ReplicaState, now: number): HostRow {
  const others = row.replicas.filter(({ id }) => id !== replica.id);
  return { ...row, heardAt: now, replicas: [...others, replica] };
}

/** What of a row is worth a write and a look at the placement: not loads, counts or times. */
export function substance(row: HostRow): string {
  return JSON.stringify([row.epoch, row.linkUp, row.relays, row.draining, row.reclaim, row.generation, row.gpus, row.replicas.map(({ id, phase, version, restarts, wasReady, reason }) => [id, phase, version, restarts, wasReady, reason])]);
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
}

/** The roster as people see it: every host that is enrolled here, heard or not, and every replica with its reason. */
export function status({ rows, hosts, generations, region, bundleVersion, unplaced, awakeSince }: StatusFacts, now: number): RegionStatus {
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
      const reason = leaving.get(id);
      return {
        id, name, region,
        relays: row?.relays ?? [],
        heardAt: row?.heardAt ?? 0,
        // a connection that was cut in silence looks open for minutes
        linkUp: row !== undefined && row.linkUp && !isLost(row, now, awakeSince),
        draining: reason !== undefined,
        generation: generations.get(id) ?? 0,
        appliedGeneration: row?.generation ?? 0,
        ...(reason === undefined ? {} : { reason }),
      };
    }),
    replicas: [...rows.values()].filter((row) => names.has(row.id)).flatMap((row) =>
      row.replicas.filter(({ phase }) => phase !== "stopped").map(({ id, service, number, version, phase, since, inFlight, restarts, reason, load, engine }) => {
        // ready means: answered its probe, and its heartbeat is fresh
        const silent = isLost(row, now, awakeSince) ? "its host is silent beyond its lease" : row.linkUp ? undefined : "its host's link is down";
        const why = silent ?? (phase === "ready" ? leaving.get(row.id) : undefined) ?? reason;
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
