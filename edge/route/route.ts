import type { Provider, RouteService } from "../../schema/bundle.ts";
import type { Random } from "../../schema/clock.ts";
import { linkTimes } from "../../schema/protocol.ts";
import type { SnapshotHost, SnapshotReplica } from "../../schema/snapshot.ts";

/** An upstream being weighed. */
export type Candidate =
  | { kind: "replica"; id: string; host: string; relays: readonly number[]; load: number | undefined }
  | { kind: "provider"; id: string; provider: Provider };

export interface Decision {
  /** In the order in which they are to be tried. */
  candidates: Candidate[];
  /** Why replicas were left out, by replica id. */
  filtered: Record<string, string>;
}

export interface RouteFacts {
  service: RouteService;
  replicas: readonly { replica: SnapshotReplica; host: SnapshotHost; takenAt: number }[];
}

/**
 * Why a replica may not be used; undefined when it may. A host's lease is measured against the time of its snapshot, both by its
 * Hub's clock: an isolate that has lost its Hubs goes on with the last good copy, and a dead host shows at dispatch.
 */
export function unusable({ replica, host, takenAt }: RouteFacts["replicas"][number]): string | undefined {
  if (replica.phase !== "ready") return `phase is ${replica.phase}`;
  if (!host.linkUp) return "its host's link is down";
  if (host.draining) return "its host is draining";
  if (host.relays.length === 0) return "its host has no relay";
  if (takenAt - host.heardAt > linkTimes.leaseMs) return `its host was last heard ${takenAt - host.heardAt} ms before the snapshot`;
  return undefined;
}

/**
 * Filter, score, pick: ready replicas first, the less loaded of two random ones ahead of the rest (power of two choices); then
 * providers in their order. A replica whose load is unknown counts as loaded as the busiest known one: a missing reading never
 * looks idle.
 */
export function route({ service, replicas }: RouteFacts, random: Random): Decision {
  const filtered: Record<string, string> = {};
  const usable: Extract<Candidate, { kind: "replica" }>[] = [];
  for (const row of replicas) {
    const why = unusable(row);
    if (why !== undefined) {
      filtered[row.replica.id] = why;
      continue;
    }
    const { replica, host } = row;
    usable.push({ kind: "replica", id: replica.id, host: host.id, relays: host.relays, load: replica.load === undefined ? undefined : replica.load.running + replica.load.queueDepth });
  }
  const ordered = shuffled(usable, random);
  const [first, second] = ordered;
  if (first !== undefined && second !== undefined) {
    const busiest = Math.max(0, ...ordered.map((one) => one.load ?? 0));
    if ((second.load ?? busiest) < (first.load ?? busiest)) [ordered[0], ordered[1]] = [second, first];
  }
  const providers = service.providers.map((provider): Candidate => ({ kind: "provider", id: provider.name, provider }));
  return { candidates: [...ordered, ...providers], filtered };
}

/** Fisher–Yates, on a copy. */
function shuffled<T>(items: readonly T[], random: Random): T[] {
  const out = [...items];
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [out[i], out[j]] = [out[j] as T, out[i] as T];
  }
  return out;
}
