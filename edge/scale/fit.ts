import { gpusOn, suits } from "../../schema/accelerator.ts";
import type { ReplicaState } from "../../schema/protocol.ts";
import { isOver } from "../../schema/replica.ts";
import type { HostKind, Target } from "../../schema/scale.ts";
import type { Task } from "../../schema/task.ts";
import type { Held, Occupied } from "./occupied.ts";

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
  /** Digests that it would not run when it was last asked. */
  refused?: ReadonlySet<string>;
  /** Ids of replicas there that it would not run so long ago that it is asked again. */
  overdue?: ReadonlySet<string>;
  /** Its disk has no room for anything new. */
  full?: boolean;
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

/** What replicas that go on take of their host, which has these: GPUs, and whether a fixed port is among it. */
function taken(facts: FitFacts, host: AssignHost, there: readonly Held[], port: number | undefined): { isPortTaken: boolean; gpus: number } {
  let isPortTaken = false;
  let gpus = 0;
  for (const { id, digest } of there) {
    const task = facts.tasks.get(digest);
    if (task === undefined || isOver(facts.states.get(id)?.phase ?? "pending")) continue;
    isPortTaken ||= port !== undefined && task.fixedPort === port;
    gpus += gpusOn(task, host.accelerator);
  }
  return { isPortTaken, gpus };
}

/**
 * Why a task may not run on a host, by what it names; undefined when it may. What a host does not say of itself rules nothing out. Of
 * `spot` only its being forbidden everywhere counts: how many are on spot is the scaler's.
 */
function unsuited(task: AssignTask, host: AssignHost): string | undefined {
  if (!suits(task, host.accelerator)) return `no host has ${(task.accelerators ?? []).map(({ name }) => name).join(" or ")}`;
  const { places = [] } = task;
  if (places.length === 0) return undefined;
  const { zone } = host;
  const isPlace = ({ region, zone: wanted }: (typeof places)[number]): boolean => zone === undefined || ((wanted === undefined || wanted === zone) && (region === undefined || zone.startsWith(region)));
  if (!places.some(isPlace)) return `no host is in ${[...new Set(places.map((place) => place.zone ?? place.region ?? place.cloud ?? ""))].join(" or ")}`;
  return host.spot === true && places.every(({ spot }) => spot === false) ? "no host is on demand, and the service takes no spot hosts" : undefined;
}

/** Why a task does not fit on a host now, beside what is there; undefined when it does. */
export function misfit(facts: FitFacts, task: AssignTask, host: AssignHost, there: readonly Held[]): string | undefined {
  if (!host.usable) return host.leaving === true ? "the hosts that are connected are draining" : "no host is connected";
  if (task.image !== undefined && host.images === false) return "the agents of the hosts that are connected are too old for images: update them";
  const why = unsuited(task, host);
  if (why !== undefined) return why;
  const { isPortTaken, gpus: used } = taken(facts, host, there, task.fixedPort);
  if (isPortTaken) {
    return `port ${task.fixedPort} is taken on every host: "run" names it; listen on $PORT to have several on one host`;
  }
  const gpus = gpusOn(task, host.accelerator);
  if (gpus > 0 && used + gpus > host.gpus) return `no host has ${gpus} free GPU${gpus === 1 ? "" : "s"}`;
  return undefined;
}

/** Whether a host would begin it now, as far as is known. */
export function isWilling({ refused, full }: Pick<AssignHost, "refused" | "full">, { digest }: AssignTask): boolean {
  return full !== true && refused?.has(digest) !== true;
}

/** What takes neither a GPU nor a fixed port fits without bound, as far as a Hub can see. */
export const roomMax = 1000;

/** How many more replicas of a task fit on a host beside what is there. */
export function room(facts: FitFacts, task: AssignTask, host: AssignHost, there: readonly Held[]): number {
  if (!isWilling(host, task) || misfit(facts, task, host, there) !== undefined) return 0;
  if (task.fixedPort !== undefined) return 1;
  const gpus = gpusOn(task, host.accelerator);
  return gpus === 0 ? roomMax : Math.min(roomMax, Math.floor((host.gpus - taken(facts, host, there, undefined).gpus) / gpus));
}

/**
 * The host that a new replica had better have, of those on which it fits; the first of equals.
 *
 * One that has not refused it and has room on its disk; then not all of a service on one host, then where its weights are near, then where fewer hosts were reclaimed, then what costs less
 * (what says no price is there anyway), then in the zone and on the host where least is.
 */
export function preferred(fits: readonly AssignHost[], task: AssignTask, occupied: Occupied): AssignHost | undefined {
  const mine = occupied.hostsOf(task.service);
  const zones = occupied.zonesOf(task.service);
  const merits = ({ id, zone, warm, reclaims, priceMicroUsd, gpus, ...host }: AssignHost): number[] => [
    isWilling(host, task) ? 0 : 1,
    mine.size === 1 && mine.has(id) ? 1 : 0,
    warm?.has(task.digest) === true ? 0 : 1,
    reclaims ?? 0,
    (priceMicroUsd ?? 0) / Math.max(1, gpus),
    zone === undefined ? 0 : (zones.get(zone) ?? 0),
    mine.get(id) ?? 0,
    occupied.on(id).length,
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
