import { replicaId } from "../../schema/ids.ts";
import type { AssignedReplica, ReplicaState } from "../../schema/protocol.ts";
import { isOver } from "../../schema/replica.ts";
import type { Region } from "../../schema/region.ts";
import { isOfKind, isWilling, kindInWords, misfit, preferred, type AssignHost, type AssignTask, type FitFacts, type Where } from "./fit.ts";
import { keep } from "./keep.ts";
import { Occupied, type Held } from "./occupied.ts";

/** So many replicas of one version in this region, on hosts of this kind. */
export interface AssignTarget extends Where {
  task: AssignTask;
  count: number;
  /** So many that are ready serve on beside it in any case: what takes their place is in another region. */
  staying?: number;
}

export interface AssignService {
  service: string;
  /** All that should be of it: what is of none of these digests is old, and rolls away as those of the first one get ready. */
  targets: readonly AssignTarget[];
}

export interface AssignFacts extends FitFacts {
  region: Region;
  services: readonly AssignService[];
  hosts: readonly AssignHost[];
  /** What each host is assigned now. */
  assigned: ReadonlyMap<string, readonly AssignedReplica[]>;
  /** What is known of each replica, by id. */
  states: ReadonlyMap<string, ReplicaState>;
  /** Replicas that people asked to have replaced. */
  removed: ReadonlySet<string>;
  /** The next number of a service; never given twice. */
  nextNumber: (service: string) => number;
}

/** What of a target has no host. */
export interface Unplaced extends Where {
  service: string;
  count: number;
  reason: string;
}

export interface Assigned {
  assigned: Map<string, AssignedReplica[]>;
  unplaced: Unplaced[];
}

/** Where so many hosts would not run a version, it is left with the last of them: what it needs is nowhere. */
export const triesMax = 32;

function isReady(facts: AssignFacts, replica: Held): boolean {
  return facts.states.get(replica.id)?.phase === "ready";
}

function isGoingOn(facts: AssignFacts, replica: Held): boolean {
  return !isOver(facts.states.get(replica.id)?.phase ?? "pending");
}

/** Ended without having failed: its host took it back or its agent left. Another takes its place, under a new number. */
function hasGone(facts: AssignFacts, replica: Held): boolean {
  const phase = facts.states.get(replica.id)?.phase;
  return phase === "stopped" || phase === "reclaimed";
}

/**
 * Which replica should be on which host, from what is there. Idempotent: placing what was placed changes nothing.
 *
 * A replica stays where it is while its host is not lost. On a host that is leaving it stays until another is ready in its place,
 * which is asked for at once, as in an update. One that failed keeps its place in the count: it was never ready, and
 * another of the same digest would fail as well; but what its host would not begin is tried on another, and after a while there again. An update is rolling: old replicas go as new ones become ready; where the new
 * one cannot fit beside the old one, the old one goes first: one at a time, the next when every new one is ready, and none for a
 * new one that would not fit then either. Versions that are wanted side by side are each kept at their count. A ready one whose host is
 * not of the kind that is wanted any more serves on, as on a leaving host, until another is ready in its place.
 */
export function assign(facts: AssignFacts): Assigned {
  const lost = new Set(facts.hosts.filter((host) => host.lost).map((host) => host.id));
  const known = new Set(facts.hosts.map((host) => host.id));
  let held: Held[] = [];
  for (const [host, replicas] of facts.assigned) {
    if (lost.has(host) || !known.has(host)) continue;
    for (const replica of replicas) if (!facts.removed.has(replica.id)) held.push({ ...replica, host });
  }
  const wanted = new Set(facts.services.map(({ service }) => service));
  held = held.filter((replica) => wanted.has(replica.service));

  // again until nothing changes: what one service gives up is room for another, whichever comes first
  let unplaced: Assigned["unplaced"];
  let before: Set<string>;
  do {
    before = new Set(held.map(({ id }) => id));
    unplaced = [];
    for (const service of facts.services) held = assignService(facts, service, held, unplaced);
  } while (held.length !== before.size || held.some(({ id }) => !before.has(id)));

  // in one order, whatever the phases are: a list that says the same is the same
  held.sort((a, b) => (a.service === b.service ? a.number - b.number : a.service < b.service ? -1 : 1));
  const assigned = new Map<string, AssignedReplica[]>();
  for (const { id } of facts.hosts) assigned.set(id, []);
  for (const { host, ...replica } of held) assigned.get(host)?.push(replica);
  return { assigned, unplaced };
}

/**
 * Those that serve least, last: what has ended, then what is not ready, then on hosts that take nothing new, then with fewest requests in
 * flight, then the newest. (SkyServe's order is by phase, then older versions, then the newest: it does not look at requests.)
 */
function byUse(facts: AssignFacts, hosts: ReadonlyMap<string, AssignHost>): (a: Held, b: Held) => number {
  const phase = (replica: Held): number => (isReady(facts, replica) ? 0 : isGoingOn(facts, replica) ? 1 : 2);
  const away = (replica: Held): number => (hosts.get(replica.host)?.usable === true ? 0 : 1);
  const inFlight = (replica: Held): number => facts.states.get(replica.id)?.inFlight ?? 0;
  return (a, b) => phase(a) - phase(b) || away(a) - away(b) || inFlight(b) - inFlight(a) || a.number - b.number;
}

function assignService(facts: AssignFacts, { service, targets }: AssignService, all: readonly Held[], unplaced: Unplaced[]): Held[] {
  const others = all.filter((replica) => replica.service !== service);
  const hosts = new Map(facts.hosts.map((host) => [host.id, host]));
  const versions = new Map(targets.toReversed().map(({ task: { digest, version } }) => [digest, version]));
  const isStaying = (replica: Held): boolean => hosts.get(replica.host)?.leaving !== true;
  // a config-only change: the same processes under a new version
  const mine = all.filter((replica) => replica.service === service).map((replica) => ({ ...replica, version: versions.get(replica.digest) ?? replica.version }));
  const isCurrent = (replica: Held): boolean => versions.has(replica.digest) && isStaying(replica);
  const order = byUse(facts, hosts);

  const current = mine.filter((replica) => isCurrent(replica) && !hasGone(facts, replica)).sort(order);
  const { kept, rest } = keep(targets.map(({ task: { digest }, count, zone, spot }) => ({ digest, count, ...(zone === undefined ? {} : { zone }), ...(spot === undefined ? {} : { spot }) })), current, (host) => hosts.get(host) ?? {});

  // what serves on in place of what is not ready: by digest, that of the first target for those that none wants
  const [first] = targets;
  const inPlaceOf = (replica: Held): string | undefined => (versions.has(replica.digest) ? replica.digest : first?.task.digest);
  const keptOf = (digest: string): Held[] => kept.flatMap((replicas, i) => (targets[i]?.task.digest === digest ? replicas : []));
  const old = [...mine.filter((replica) => !isCurrent(replica) && isGoingOn(facts, replica)), ...rest.filter((replica) => isReady(facts, replica))].sort(order);
  let keptOld: Held[] = [];
  for (const digest of versions.keys()) {
    const count = targets.reduce((sum, target) => (target.task.digest === digest ? sum + target.count : sum), 0);
    const staying = targets.reduce((sum, target) => (target.task.digest === digest ? sum + (target.staying ?? 0) : sum), 0);
    const ready = keptOf(digest).filter((replica) => isReady(facts, replica)).length;
    keptOld.push(...old.filter((replica) => inPlaceOf(replica) === digest).slice(0, Math.max(staying, count - ready)));
  }

  const occupied = new Occupied([...others, ...keptOld, ...kept.flat()], (id) => hosts.get(id)?.zone);
  for (const [i, { task, count, staying: _staying, ...where }] of targets.entries()) {
    const own = kept[i] as Held[];
    const possible = facts.hosts.filter((host) => isOfKind(host, where));
    let reason = facts.hosts.length === 0 ? "no host is enrolled" : `no ${kindInWords(where)} is enrolled`;
    while (own.length < count) {
      const misfits = possible.map((host) => ({ host, why: misfit(facts, task, host, occupied.on(host.id)) }));
      const host = preferred(misfits.filter(({ why }) => why === undefined).map((one) => one.host), task, occupied);
      if (host === undefined) {
        const usable = misfits.find((one) => one.host.usable);
        reason = (usable ?? misfits[0])?.why ?? reason;
        // one whose going makes room, the one that serves least: what is on a leaving host makes none
        const mayGo = keptOf(task.digest).every((replica) => isReady(facts, replica)) ? keptOld.filter((replica) => inPlaceOf(replica) === task.digest) : [];
        const going = new Set(mayGo.map(({ id }) => id));
        const roomy = new Set(possible.filter(({ id }) => mayGo.some((replica) => replica.host === id)).filter((one) => misfit(facts, task, one, occupied.on(one.id).filter(({ id }) => !going.has(id))) === undefined).map(({ id }) => id));
        const goes = mayGo.findLast((replica) => roomy.has(replica.host));
        if (goes === undefined) break;
        keptOld = keptOld.filter((replica) => replica !== goes);
        occupied.remove(goes);
        continue;
      }
      const placed = another(facts, service, task, host);
      own.push(placed);
      occupied.add(placed);
    }
    elsewhere(facts, service, task, own, possible, occupied);
    if (own.length < count) unplaced.push({ service, count: count - own.length, reason, ...where });
  }
  return [...others, ...keptOld, ...kept.flat()];
}

function another(facts: AssignFacts, service: string, task: AssignTask, host: AssignHost): Held {
  const number = facts.nextNumber(service);
  return { id: replicaId(service, facts.region, number), service, number, version: task.version, digest: task.digest, host: host.id };
}

/**
 * What its host would not begin, or begins only when its disk has room again, goes to a host that may, where one fits. What it would not
 * begin a while ago is asked for anew, there too.
 */
function elsewhere(facts: AssignFacts, service: string, task: AssignTask, own: Held[], possible: readonly AssignHost[], occupied: Occupied): void {
  const hosts = new Map(facts.hosts.map((host) => [host.id, host]));
  const tries = facts.hosts.filter(({ refused }) => refused?.has(task.digest) === true).length;
  for (const [i, replica] of own.entries()) {
    const { phase = "pending", refused = false } = facts.states.get(replica.id) ?? {};
    const isOverdue = phase === "failed" && hosts.get(replica.host)?.overdue?.has(replica.id) === true;
    const isRefused = phase === "failed" && refused && tries < triesMax;
    if (!isOverdue && !isRefused && !(phase === "pending" && hosts.get(replica.host)?.full === true)) continue;
    occupied.remove(replica);
    const host = preferred(possible.filter((one) => (isOverdue || one.id !== replica.host) && isWilling(one, task) && misfit(facts, task, one, occupied.on(one.id)) === undefined), task, occupied);
    const placed = host === undefined ? replica : another(facts, service, task, host);
    own[i] = placed;
    occupied.add(placed);
  }
}
