import type { Bundle } from "../../schema/bundle.ts";
import type { Region } from "../../schema/region.ts";
import type { Demand, RegionFacts, ScaleHost, ScaleReplica, VersionSeen } from "../../schema/scale.ts";
import type { RegionStatus } from "../../schema/snapshot.ts";
import type { AssignedReplica } from "../../schema/protocol.ts";
import { hostsOf } from "./hosts.ts";
import { isLost, leavingReason, type HostRow } from "./roster.ts";

export interface ScaleFactsSource {
  region: Region;
  /** Of this waking. */
  stamp: string;
  bundle: Bundle | undefined;
  rows: ReadonlyMap<string, HostRow>;
  awakeSince: number;
  /** What a host is to run. */
  assigned: (host: string) => readonly AssignedReplica[];
  hosts: readonly ScaleHost[];
  /** Whether it is known to placing that a host will not run a version. */
  hasRefused: (host: string, digest: string) => boolean;
  demand: Demand;
  versions: VersionSeen[];
  /** Of the desire that is kept. */
  generation: number;
  unplaced: RegionStatus["unplaced"];
  braked: boolean;
}

/** What this region knows of one service, for its Scaler. */
export function scaleFacts(service: string, source: ScaleFactsSource, now: number): RegionFacts {
  const { region, stamp, awakeSince, bundle, hosts, demand, versions, generation, unplaced, braked } = source;
  const found = bundle?.fleet.services.find(({ task }) => task.service === service);
  const { sealedSecrets: _secrets, previous, ...open } = found ?? {};
  return {
    region, stamp, since: awakeSince, at: now, bundleVersion: bundle?.route.version ?? 0,
    ...(found === undefined ? {} : { service: { ...(open as Omit<typeof found, "sealedSecrets" | "previous">), ...(previous === undefined ? {} : { previous: { version: previous.task.version, digest: previous.task.digest } }) } }),
    demand, versions, hosts: [...hosts], generation, braked,
    replicas: replicasOf(service, source, now),
    unplaced: unplaced.filter((lack) => lack.service === service).map(({ service: _service, ...lack }) => lack),
  };
}

/** Those that are assigned, as their hosts speak of them, and those that are ending. */
function replicasOf(service: string, { bundle, rows, region, awakeSince, assigned, hosts, hasRefused }: ScaleFactsSource, now: number): ScaleReplica[] {
  const known = bundle === undefined ? undefined : hostsOf(bundle);
  const kinds = new Map(hosts.map(({ id, zone, spot, accelerator, priceMicroUsd }) => [id, { ...(zone === undefined ? {} : { zone }), ...(spot === undefined ? {} : { spot }), ...(accelerator === undefined ? {} : { accelerator }), ...(priceMicroUsd === undefined ? {} : { priceMicroUsd }) }]));
  const replicas: ScaleReplica[] = [];
  for (const [host, fleetHost] of known ?? []) {
    if (fleetHost.region !== region) continue;
    const row = rows.get(host);
    const reachable = row !== undefined && row.linkUp && !isLost(row, now, awakeSince);
    const leaving = leavingReason(row, fleetHost) !== undefined;
    const said = new Map((row?.replicas ?? []).filter((replica) => replica.service === service).map((replica) => [replica.id, replica]));
    const wanted = assigned(host).filter((replica) => replica.service === service);
    for (const { id, number, version, digest } of wanted) {
      const state = said.get(id);
      said.delete(id);
      // what is to be tried on another host has not failed yet
      const isToMove = state?.phase === "failed" && state.refused === true && !hasRefused(host, digest);
      replicas.push({
        id, number, version, digest, region, host, leaving, reachable, ...kinds.get(host),
        phase: isToMove ? "pending" : (state?.phase ?? "pending"), since: state?.since ?? now, inFlight: state?.inFlight ?? 0, wasReady: state?.wasReady ?? false,
        ...(state?.load === undefined ? {} : { load: state.load }), ...(state?.reason === undefined ? {} : { reason: state.reason }), ...(state?.phase === "failed" && state.refused === true ? { refused: true } : {}),
      });
    }
    // withdrawn, and finishing what they have
    for (const { id, number, version, digest, phase, since, inFlight, wasReady } of said.values()) {
      if (phase === "draining") replicas.push({ id, number, version, digest, region, host, leaving: true, reachable, phase, since, inFlight, wasReady });
    }
  }
  return replicas;
}
