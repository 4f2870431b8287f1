import type { AssignedReplica, ReplicaState } from "../../schema/protocol.ts";
import { isOver } from "../../schema/replica.ts";
import type { HostKind, Target } from "../../schema/scale.ts";
import type { Task } from "../../schema/task.ts";

export type AssignTask = Omit<Task, "sealedSecrets">;

export interface AssignHost extends HostKind {
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
  /** Digests that were ready there: their weights are near. */
  warm?: ReadonlySet<string>;
  /** Reclaims that its zone has seen in the last day. */
  reclaims?: number;
}

/** A replica and the host that has it. */
export interface Held extends AssignedReplica {
  host: string;
}

/** What of a region decides whether something fits. */
export interface FitFacts {
  states: ReadonlyMap<string, Pick<ReplicaState, "phase">>;
  /** The tasks of versions that are still running somewhere, by digest. */
  tasks: ReadonlyMap<string, AssignTask>;
}

/** Where a replica may be: anywhere where it says nothing. */
export type Where = Pick<Target, "zone" | "spot">;

/** Whether a host is of the kind that is asked for. One that does not say that it may be reclaimed is on demand. */
export function isOfKind(host: HostKind, { zone, spot }: Where): boolean {
  return (zone === undefined || host.zone === zone) && (spot === undefined || (host.spot ?? false) === spot);
}

/** As in "spot host in us-east-1a". */
export function kindInWords({ zone, spot }: Where): string {
  return `${spot === undefined ? "" : spot ? "spot " : "on-demand "}host${zone === undefined ? "" : ` in ${zone}`}`;
}

/** What a replica takes of its host: a fixed port, GPUs. */
function takes(facts: FitFacts, replica: AssignedReplica): { port: number | undefined; gpus: number } {
  const task = facts.tasks.get(replica.digest);
  return { port: task?.fixedPort, gpus: task?.gpus ?? 0 };
}

/** Why a task does not fit on a host now; undefined when it does. */
export function misfit(facts: FitFacts, task: AssignTask, host: AssignHost, held: readonly Held[]): string | undefined {
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

/** What takes neither a GPU nor a fixed port fits without bound, as far as a Hub can see. */
export const roomMax = 1000;

/** How many more replicas of a task fit on a host beside what is there. */
export function room(facts: FitFacts, task: AssignTask, host: AssignHost, held: readonly Held[]): number {
  if (misfit(facts, task, host, held) !== undefined) return 0;
  if (task.fixedPort !== undefined) return 1;
  if (task.gpus === 0) return roomMax;
  const there = held.filter((one) => one.host === host.id && !isOver(facts.states.get(one.id)?.phase ?? "pending"));
  return Math.min(roomMax, Math.floor((host.gpus - there.reduce((sum, one) => sum + takes(facts, one).gpus, 0)) / task.gpus));
}

/**
 * The host that a new replica had better have, of those on which it fits; the first of equals.
 *
 * Not all of a service on one host, then where its weights are near, then where fewer hosts were reclaimed, then what costs less
 * (what says no price is there anyway), then where least is.
 */
export function preferred(fits: readonly AssignHost[], task: AssignTask, held: readonly Held[]): AssignHost | undefined {
  const all = new Map<string, number>();
  const mine = new Map<string, number>();
  for (const { host, service } of held) {
    all.set(host, (all.get(host) ?? 0) + 1);
    if (service === task.service) mine.set(host, (mine.get(host) ?? 0) + 1);
  }
  const merits = ({ id, warm, reclaims, priceMicroUsd, gpus }: AssignHost): number[] => [
    mine.size === 1 && mine.has(id) ? 1 : 0,
    warm?.has(task.digest) === true ? 0 : 1,
    reclaims ?? 0,
    (priceMicroUsd ?? 0) / Math.max(1, gpus),
    mine.get(id) ?? 0,
    all.get(id) ?? 0,
  ];
  let best: { host: AssignHost; merits: number[] } | undefined;
  for (const host of fits) {
    const own = merits(host);
    if (best === undefined || compare(own, best.merits) < 0) best = { host, merits: own };
  }
  return best?.host;
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return (a[i] as number) - (b[i] as number);
  return 0;
}
