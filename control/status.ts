import type { Strategy } from "../schema/bundle.ts";
import type { Now } from "../schema/clock.ts";
import type { ScalePolicy } from "../schema/policy.ts";
import type { Readings } from "../schema/readings.ts";
import { isAlive } from "../schema/replica.ts";
import type { HostKind, RolloutStatus, ScaleDecision } from "../schema/scale.ts";
import type { RegionStatus, ScaleStatus, StatusReplica } from "../schema/snapshot.ts";
import type { Task } from "../schema/task.ts";
import type { HostRow, ServiceRow } from "../schema/tables.ts";
import { formatDuration } from "../schema/units.ts";
import { isListed } from "./compile.ts";
import { scaleOf } from "./previous.ts";
import { trafficOf, type TrafficView } from "./traffic.ts";

/**
 * - `READY`: it answers: a replica is ready, or it has providers only
 * - `STARTING`: replicas are on their way
 * - `UNHEALTHY`: all its living replicas were started and fail their probe
 * - `FAILED`: every replica has failed
 * - `NO_REPLICA`: none exists
 * - `SHUTTING_DOWN`: taken down, replicas are still ending
 * - `UNKNOWN`: the edge cannot be asked
 */
export type ServiceStatus = "READY" | "STARTING" | "UNHEALTHY" | "FAILED" | "NO_REPLICA" | "SHUTTING_DOWN" | "UNKNOWN";

export interface ServiceView {
  name: string;
  /** The configured version. */
  version: number;
  /** Versions that answer requests now. */
  activeVersions: number[];
  status: ServiceStatus;
  /** Why it is not READY, in words. */
  reason?: string;
  /** What no host would run, and when one is asked again, in words. */
  refused?: string;
  models: string[];
  selfHosted: boolean;
  /** Replicas that are wanted: by its Scaler's word, where that has seen the configured version. */
  desired: number;
  ready: number;
  /** When it was first seen to answer (ms since the epoch); absent while it does not. */
  readySince?: number;
  endpoint: string;
  replicas: StatusReplica[];
  /** Where its rollout stands, or how the last one went; absent: there was none. */
  rollout?: RolloutStatus;
  /** What its Scaler decided last, newest last, and for which version; absent: it has not spoken. */
  decisions?: ScaleDecision[];
  decidedFor?: number;
  /** What its file asks for; absent for one that was taken down. */
  asks?: { policy?: ScalePolicy; strategy: Strategy; replicas: { min: number; max: number } } & Partial<Pick<Task, "gpus" | "accelerators" | "places">>;
  /** Of the last minute, by upstream; empty where none came, or the edge cannot be asked. */
  traffic?: TrafficView[];
}

export interface HostView {
  id: string;
  name: string;
  region: string;
  state: "up" | "draining" | "lost" | "left" | "never seen" | "revoked" | "quarantined" | "unknown";
  /** Why it is shut out, or draining. */
  reason?: string;
  /** What its agent takes for its word on what to run. */
  trust?: string;
  /** Whether its control link is open, and which data links are. */
  linkUp: boolean;
  relays: number[];
  /** When its hub last heard from it (ms since the epoch). */
  heardAt?: number;
  agentVersion?: string;
  protocol?: number;
  /** What it was last told, and what it says it has taken over. */
  generation?: number;
  appliedGeneration?: number;
  /** Where it is, and whether it is spot; absent: it does not say. */
  kind?: HostKind;
  /** What it read of itself lately, with its age; absent when there is nothing fresh. */
  readings?: Readings;
}

/** What the edge said, or why it said nothing. */
export type EdgeStatus = { reachable: true; regions: RegionStatus[] } | { reachable: false; reason: string };

/** The state of a service from all its replicas, whatever their phase, and not from the ready ones alone. */
export function serviceStatus(desired: number, selfHosted: boolean, replicas: readonly Pick<StatusReplica, "phase">[], { reachable = true, removed = false } = {}): ServiceStatus {
  const alive = replicas.filter(({ phase }) => isAlive(phase));
  if (removed) return "SHUTTING_DOWN";
  if (!selfHosted) return "READY";
  if (!reachable) return "UNKNOWN";
  if (replicas.some(({ phase }) => phase === "ready")) return "READY";
  const coming = alive.filter(({ phase }) => phase !== "draining" && phase !== "stopping");
  if (coming.length > 0) return coming.every(({ phase }) => phase === "unhealthy") ? "UNHEALTHY" : "STARTING";
  if (replicas.some(({ phase }) => phase === "failed")) return "FAILED";
  return "NO_REPLICA";
}

export interface StatusFacts {
  services: readonly ServiceRow[];
  hosts: readonly HostRow[];
  edge: EdgeStatus;
  publicUrl: string;
  now: Now;
}

/** What `fairlead status` shows: what control knows, and what the hubs say of it. */
export function compileStatus({ services, hosts, edge, publicUrl, now }: StatusFacts): { services: ServiceView[]; hosts: HostView[] } {
  const regions = edge.reachable ? edge.regions : [];
  const replicas = regions.flatMap((region) => region.replicas);
  const known = new Set(services.map(({ name }) => name));
  const leaving = [...new Set(replicas.filter(({ service, phase }) => !known.has(service) && isAlive(phase)).map(({ service }) => service))].sort();
  return {
    services: [...services.map((row) => viewService(row, edge, publicUrl, now)), ...leaving.map((name) => viewLeaving(name, replicas, publicUrl))],
    hosts: hosts.map((row) => viewHost(row, edge, now)),
  };
}

function viewService({ name, version, spec, readySince }: ServiceRow, edge: EdgeStatus, publicUrl: string, now: Now): ServiceView {
  const regions = edge.reachable ? edge.regions : [];
  const replicas = regions.flatMap((region) => region.replicas).filter((replica) => replica.service === name);
  const ready = replicas.filter(({ phase }) => phase === "ready");
  const selfHosted = spec.task !== undefined;
  const scale = scaleOf(name, regions);
  const desired = scale?.version === version ? scale.desired : spec.replicas.min;
  const status = serviceStatus(desired, selfHosted, replicas, { reachable: edge.reachable });
  const refused = refusedInWords(name, regions, now);
  const reason = edge.reachable ? reasonOf(status, regions, name, replicas, scale, refused) : selfHosted ? edge.reason : undefined;
  return {
    name,
    version,
    activeVersions: [...new Set(ready.map((replica) => replica.version))].sort((a, b) => a - b),
    status,
    ...(reason === undefined ? {} : { reason }),
    ...(refused === undefined ? {} : { refused }),
    models: spec.models,
    selfHosted,
    desired,
    ready: ready.length,
    ...(ready.length === 0 ? {} : { readySince: readySince ?? Math.min(...ready.map(({ since }) => since)) }),
    endpoint: isListed(spec) ? `${publicUrl}/v1` : `${publicUrl}/s/${name}/`,
    replicas,
    ...(scale === undefined ? {} : { decisions: scale.decisions, decidedFor: scale.version, ...(scale.rollout === undefined ? {} : { rollout: scale.rollout }) }),
    asks: {
      strategy: spec.routing.strategy, replicas: spec.replicas,
      ...(spec.policy === undefined ? {} : { policy: spec.policy }),
      ...(spec.task === undefined ? {} : { gpus: spec.task.gpus, ...(spec.task.accelerators === undefined ? {} : { accelerators: spec.task.accelerators }), ...(spec.task.places === undefined ? {} : { places: spec.task.places }) }),
    },
    traffic: trafficOf(name, regions),
  };
}

/** What people should know of a rollout: that it is on its way, or came to nothing, or keeps two versions. */
export function rolloutReason({ rollout }: Pick<ServiceView, "rollout">): string | undefined {
  return rollout === undefined || (rollout.state === "done" && rollout.shares === undefined) ? undefined : rollout.reason;
}

function reasonOf(status: ServiceStatus, regions: readonly RegionStatus[], name: string, replicas: readonly StatusReplica[], scale: ScaleStatus | undefined, refused: string | undefined): string | undefined {
  const reasons = [scale === undefined ? undefined : rolloutReason(scale), whyNotReady(status, regions, name, replicas, scale), refused].filter((reason) => reason !== undefined);
  // a rollout's reason often ends with a replica's
  const told = reasons.filter((reason, i) => !reasons.some((other, j) => j !== i && other.includes(reason) && (other !== reason || j < i)));
  return told.length === 0 ? undefined : told.join("; ");
}

/**
 * What is left with hosts that would not run it; undefined when nothing is.
 *
 * @example "2 hosts would not run version 3: asked again in 9m"
 */
function refusedInWords(name: string, regions: readonly RegionStatus[], now: Now): string | undefined {
  const rows = regions.flatMap(({ refusals = [] }) => refusals).filter(({ service }) => service === name);
  const words = [...Map.groupBy(rows, ({ version }) => version)].map(([version, own]) => {
    const hosts = own.reduce((sum, one) => sum + one.hosts, 0);
    const leftMs = Math.min(...own.map(({ againAt }) => againAt)) - now;
    return `${hosts} host${hosts === 1 ? "" : "s"} would not run version ${version}: asked again ${leftMs < 1_000 ? "now" : `in ${formatDuration(leftMs)}`}`;
  });
  return words.length === 0 ? undefined : words.join("; ");
}

function whyNotReady(status: ServiceStatus, regions: readonly RegionStatus[], name: string, replicas: readonly StatusReplica[], scale: ScaleStatus | undefined): string | undefined {
  const unplaced = regions.flatMap((region) => region.unplaced).find(({ service }) => service === name)?.reason;
  if (unplaced !== undefined) return unplaced;
  if (status === "NO_REPLICA" && scale?.desired === 0) return scale.decisions.at(-1)?.reason;
  if (status === "READY" || status === "NO_REPLICA") return undefined;
  return replicas.toSorted((a, b) => b.since - a.since).find((replica) => replica.reason !== undefined)?.reason;
}

function viewLeaving(name: string, all: readonly StatusReplica[], publicUrl: string): ServiceView {
  const replicas = all.filter(({ service }) => service === name);
  const version = Math.max(...replicas.map((replica) => replica.version));
  return { name, version, activeVersions: [], status: "SHUTTING_DOWN", models: [], selfHosted: true, desired: 0, ready: 0, endpoint: `${publicUrl}/s/${name}/`, replicas };
}

function viewHost({ id, name, region, revokedAt, drainingAt }: HostRow, edge: EdgeStatus, now: Now): HostView {
  const seen = edge.reachable ? edge.regions.flatMap((status) => status.hosts).find((host) => host.id === id) : undefined;
  const view = { id, name, region, linkUp: seen?.linkUp ?? false, relays: seen?.relays ?? [], ...(seen?.trust === undefined ? {} : { trust: seen.trust }) };
  if (revokedAt !== null) return { ...view, state: "revoked" };
  if (!edge.reachable) return { ...view, state: "unknown" };
  if (seen?.quarantine !== undefined) return { ...view, state: "quarantined", reason: `${seen.quarantine.reason}; fairlead hosts release lets it back in, revoke and invite give it a new identity`, heardAt: Math.min(seen.heardAt, now) };
  if (seen === undefined) return { ...view, state: "never seen" };
  // an agent that ends says goodbye, and its hub has nothing of it then
  if (seen.heardAt === 0 && !seen.linkUp) return { ...view, state: "left" };
  // a hub's clock may be a little ahead of ours
  const isDraining = seen.linkUp && (seen.draining || drainingAt !== null);
  const reason = isDraining ? (seen.reason ?? (drainingAt === null ? undefined : "its operator drains it")) : undefined;
  const { generation, appliedGeneration, agentVersion, protocol, readings, kind } = seen;
  return {
    ...view, generation, appliedGeneration, state: seen.linkUp ? (isDraining ? "draining" : "up") : "lost", heardAt: Math.min(seen.heardAt, now),
    ...(reason === undefined ? {} : { reason }), ...(agentVersion === undefined ? {} : { agentVersion }), ...(protocol === undefined ? {} : { protocol }), ...(readings === undefined ? {} : { readings }), ...(kind === undefined ? {} : { kind }),
  };
}

/** The replicas worth a line: the living, and the last few that failed; `folded` counts the other failed ones. */
export function foldFailed<R extends Pick<StatusReplica, "phase" | "since">>(replicas: readonly R[], shown = 3): { replicas: R[]; folded: number } {
  const over = replicas.filter(({ phase }) => !isAlive(phase)).toSorted((a, b) => b.since - a.since);
  const hidden = new Set(over.slice(shown));
  return { replicas: replicas.filter((replica) => !hidden.has(replica)), folded: hidden.size };
}
