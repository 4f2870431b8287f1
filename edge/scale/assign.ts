import { replicaId } from "../../schema/ids.ts";
import type { AssignedReplica, ReplicaState } from "../../schema/protocol.ts";
import { isOver } from "../../schema/replica.ts";
import type { Region } from "../../schema/region.ts";
import type { Task } from "../../schema/task.ts";

export interface AssignHost {
  id: string;
  /** Connected, within its lease, not draining: may be given something new. */
  usable: boolean;
  /** It is going: what it has serves on until others are ready in its place, elsewhere. */
  leaving?: boolean;
  /** Silent beyond its lease, or revoked: what it had is given to others. */
  lost: boolean;
  gpus: number;
  /** False: its agent is of a protocol that does not know images, and would run the task on the host itself. */
  images?: boolean;
}

export interface AssignService {
  task: Omit<Task, "sealedSecrets">;
  /** Desired replicas in this region. */
  count: number;
}

export interface AssignFacts {
  region: Region;
  services: readonly AssignService[];
  hosts: readonly AssignHost[];
  /** What each host is assigned now. */
  assigned: ReadonlyMap<string, readonly AssignedReplica[]>;
  /** What is known of each replica, by id. */
  states: ReadonlyMap<string, ReplicaState>;
  /** Replicas that people asked to have replaced. */
  removed: ReadonlySet<string>;
  /** The tasks of versions that are still running somewhere, by digest. */
  tasks: ReadonlyMap<string, Omit<Task, "sealedSecrets">>;
  /** The next number of a service; never given twice. */
  nextNumber: (service: string) => number;
}

export interface Assigned {
  assigned: Map<string, AssignedReplica[]>;
  unplaced: { service: string; count: number; reason: string }[];
}

interface Held extends AssignedReplica {
  host: string;
}

function isReady(facts: AssignFacts, replica: Held): boolean {
  return facts.states.get(replica.id)?.phase === "ready";
}

/** Ended without having failed: its host took it back or its agent left. Another takes its place, under a new number. */
function hasGone(facts: AssignFacts, replica: Held): boolean {
  const phase = facts.states.get(replica.id)?.phase;
  return phase === "stopped" || phase === "reclaimed";
}

/** What a replica takes of its host: a fixed port, GPUs. */
function takes(facts: AssignFacts, replica: AssignedReplica): { port: number | undefined; gpus: number } {
  const task = facts.tasks.get(replica.digest);
  return { port: task?.fixedPort, gpus: task?.gpus ?? 0 };
}

/** Why a task does not fit on a host now; undefined when it does. */
function misfit(facts: AssignFacts, task: AssignService["task"], host: AssignHost, held: readonly Held[]): string | undefined {
  if (!host.usable) return host.leaving === true ? "the hosts that are connected are draining" : "no host is connected";
  if (task.image !== undefined && host.images === false) return "the agents of the hosts that are connected are too old for images: update them";
  const there = held.filter((one) => one.host === host.id && !isOver(facts.states.get(one.id)?.phase ?? "pending"));
  if (task.fixedPort !== undefined && there.some((one) => takes(facts, one).port === task.fixedPort)) {
    return `port ${task.fixedPort} is taken on every host: "run" names it; listen on $PORT to have several on one host`;
  }
  const used = there.reduce((sum, one) => sum + takes(facts, one).gpus, 0);
  if (task.gpus > 0 && used + task.gpus > host.gpus) return `no host has ${task.gpus} free GPU${task.gpus === 1 ? "" : "s"}`;
  return undefined;
}

/**
 * Which replica should be on which host, from what is there. Idempotent: placing what was placed changes nothing.
 *
 * A replica stays where it is while its host is not lost. On a host that is leaving it stays until another is ready in its place,
 * which is asked for at once, as in an update. One that failed keeps its place in the count: it was never ready, and
 * another of the same digest would fail as well. An update is rolling: old replicas go as new ones become ready; where the new
 * one cannot fit beside the old one, the old one goes first: one at a time, the next when every new one is ready, and none for a
 * new one that would not fit then either.
 */
export function assign(facts: AssignFacts): Assigned {
  const lost = new Set(facts.hosts.filter((host) => host.lost).map((host) => host.id));
  const known = new Set(facts.hosts.map((host) => host.id));
  let held: Held[] = [];
  for (const [host, replicas] of facts.assigned) {
    if (lost.has(host) || !known.has(host)) continue;
    for (const replica of replicas) if (!facts.removed.has(replica.id)) held.push({ ...replica, host });
  }
  const wanted = new Set(facts.services.map(({ task }) => task.service));
  held = held.filter((replica) => wanted.has(replica.service));

  // again until nothing changes: what one service gives up is room for another, whichever comes first
  let unplaced: Assigned["unplaced"];
  let before: Set<string>;
  do {
    before = new Set(held.map(({ id }) => id));
    unplaced = [];
    for (const { task, count } of facts.services) held = assignService(facts, task, count, held, unplaced);
  } while (held.length !== before.size || held.some(({ id }) => !before.has(id)));

  // in one order, whatever the phases are: a list that says the same is the same
  held.sort((a, b) => (a.service === b.service ? a.number - b.number : a.service < b.service ? -1 : 1));
  const assigned = new Map<string, AssignedReplica[]>();
  for (const { id } of facts.hosts) assigned.set(id, []);
  for (const { host, ...replica } of held) assigned.get(host)?.push(replica);
  return { assigned, unplaced };
}

function assignService(facts: AssignFacts, task: AssignService["task"], count: number, all: readonly Held[], unplaced: Assigned["unplaced"]): Held[] {
  const others = all.filter((replica) => replica.service !== task.service);
  const mine = all.filter((replica) => replica.service === task.service);
  const hosts = new Map(facts.hosts.map((host) => [host.id, host]));
  const isStaying = (replica: Held): boolean => hosts.get(replica.host)?.leaving !== true;
  // a config-only change: the same processes under a new version
  const relabelled = mine.map((replica) => (replica.digest === task.digest ? { ...replica, version: task.version } : replica));
  const current = relabelled.filter((replica) => replica.digest === task.digest && isStaying(replica) && !hasGone(facts, replica));
  const old = relabelled.filter((replica) => (replica.digest !== task.digest || !isStaying(replica)) && !isOver(facts.states.get(replica.id)?.phase ?? "pending"));

  // too many: those that serve least go first, then the newest
  const order = (replica: Held): number => (isReady(facts, replica) ? 0 : isOver(facts.states.get(replica.id)?.phase ?? "pending") ? 2 : 1);
  const away = (replica: Held): number => (hosts.get(replica.host)?.usable === true ? 0 : 1);
  const kept = [...current].sort((a, b) => order(a) - order(b) || away(a) - away(b) || a.number - b.number).slice(0, count);
  const readyNew = kept.filter((replica) => isReady(facts, replica)).length;
  let keptOld = [...old].sort((a, b) => order(a) - order(b) || a.number - b.number).slice(0, Math.max(0, count - readyNew));

  let reason = "no host is enrolled";
  while (kept.length < count) {
    const held = [...others, ...keptOld, ...kept];
    const misfits = facts.hosts.map((host) => ({ host, why: misfit(facts, task, host, held) }));
    const fits = misfits.filter(({ why }) => why === undefined).map(({ host }) => host);
    if (fits.length === 0) {
      const usable = misfits.find(({ host }) => host.usable);
      reason = (usable ?? misfits[0])?.why ?? reason;
      const mayGo = keptOld.length > 0 && kept.every((replica) => isReady(facts, replica));
      // one whose going makes room, the one that serves least: what is on a leaving host makes none
      const roomy = new Set(facts.hosts.filter((host) => mayGo && misfit(facts, task, host, [...others, ...kept]) === undefined).map(({ id }) => id));
      const goes = keptOld.findLastIndex((replica) => roomy.has(replica.host));
      if (goes < 0) break;
      keptOld = keptOld.filter((_, i) => i !== goes);
      continue;
    }
    const load = (host: AssignHost): number => held.filter((one) => one.host === host.id && one.service === task.service).length * 1000 + held.filter((one) => one.host === host.id).length;
    const host = fits.reduce((best, one) => (load(one) < load(best) ? one : best));
    const number = facts.nextNumber(task.service);
    kept.push({ id: replicaId(task.service, facts.region, number), service: task.service, number, version: task.version, digest: task.digest, host: host.id });
  }
  if (kept.length < count) unplaced.push({ service: task.service, count: count - kept.length, reason });
  return [...others, ...keptOld, ...kept];
}
