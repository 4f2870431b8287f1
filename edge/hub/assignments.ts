import type { Bundle } from "../../schema/bundle.ts";
import type { Now } from "../../schema/clock.ts";
import type { Assign, AssignedReplica, ReplicaState } from "../../schema/protocol.ts";
import type { Region } from "../../schema/region.ts";
import type { RegionStatus } from "../../schema/snapshot.ts";
import type { Task } from "../../schema/task.ts";
import type { ScaleHost } from "../../schema/scale.ts";
import { assign } from "../scale/assign.ts";
import { targetsOf, type Desires } from "./desires.ts";
import { assignHosts, scaleHosts, type KindFacts } from "./kinds.ts";

interface Assignment {
  generation: number;
  replicas: AssignedReplica[];
}

/** What a plan is made of. */
export interface PlanFacts extends KindFacts {
  region: Region;
  bundle: Bundle;
  /** What Scalers want. */
  desires: Pick<Desires, "of">;
}

/** Of the present versions, and of those that may be gone back to. */
function tasksOf({ fleet }: Bundle): Omit<Task, "sealedSecrets">[] {
  return fleet.services.flatMap(({ task, previous }) => [task, ...(previous === undefined ? [] : [previous.task])]);
}

/** A host whose list is another than before. */
export interface Reassigned {
  host: string;
  name: string;
  before: readonly AssignedReplica[];
  after: readonly AssignedReplica[];
}

/** What each host of a region is to run, kept in its Hub's storage: `assign:<host>`, `task:<digest>` and `number:<service>`. */
export class Assignments {
  readonly #kv: DurableObjectStorage["kv"];
  /** What `assign:` keys say, read once. */
  readonly #known = new Map<string, Assignment>();

  constructor(kv: DurableObjectStorage["kv"]) {
    this.#kv = kv;
  }

  of(host: string): Assignment {
    let known = this.#known.get(host);
    if (known === undefined) {
      known = this.#kv.get<Assignment>(`assign:${host}`) ?? { generation: 0, replicas: [] };
      this.#known.set(host, known);
    }
    return known;
  }

  forget(host: string): void {
    this.#known.delete(host);
    this.#kv.delete(`assign:${host}`);
  }

  /** The desired state of a host as it is told, with each task that it needs and the secrets sealed to it. */
  message(host: string, bundle: Bundle | undefined): Assign {
    const { generation, replicas } = this.of(host);
    const tasks: Task[] = [];
    for (const digest of new Set(replicas.map((replica) => replica.digest))) {
      const current = bundle?.fleet.services.flatMap(({ previous, ...one }) => [one, ...(previous === undefined ? [] : [previous])]).find((one) => one.task.digest === digest);
      const task = current?.task ?? this.#kv.get<Omit<Task, "sealedSecrets">>(`task:${digest}`);
      if (task === undefined) continue;
      const sealedSecrets = current?.sealedSecrets[host];
      tasks.push(sealedSecrets === undefined ? task : { ...task, sealedSecrets });
    }
    return { type: "assign", generation, tasks, replicas };
  }

  /** Compares what is assigned with what should be, and keeps what should be. @returns the hosts for which it differs */
  plan({ region, bundle, desires, ...facts }: PlanFacts, now: Now): { reassigned: Reassigned[]; unplaced: RegionStatus["unplaced"] } {
    const hosts = bundle.fleet.hosts.filter((host) => host.region === region);
    const before = new Map(hosts.map(({ id }) => [id, this.of(id)]));
    const present = tasksOf(bundle);
    const tasks = this.#tasks(present);
    const services = bundle.fleet.services.map((service) => targetsOf(service, desires.of(service.task.service), region, tasks));
    const states = this.#states(facts.rows);
    const removed = new Set(bundle.fleet.removed);
    const { assigned, unplaced } = assign({
      region,
      services,
      hosts: assignHosts(hosts, facts, now),
      assigned: new Map([...before].map(([id, { replicas }]) => [id, replicas])),
      states,
      removed,
      tasks,
      nextNumber: (service) => {
        const number = (this.#kv.get<number>(`number:${service}`) ?? 0) + 1;
        this.#kv.put(`number:${service}`, number);
        return number;
      },
    });
    const names = new Map(hosts.map(({ id, name }) => [id, name]));
    const used = new Set(present.map(({ digest }) => digest));
    const reassigned: Reassigned[] = [];
    for (const [host, replicas] of assigned) {
      const was = this.of(host);
      for (const { digest } of replicas) used.add(digest);
      if (JSON.stringify(was.replicas) === JSON.stringify(replicas)) continue;
      // whoever wants less of it, or another version in its place, did not know that hosts are lost
      if (facts.braked && was.replicas.some(({ id }) => states.get(id)?.phase === "ready" && !removed.has(id) && replicas.every((one) => one.id !== id))) continue;
      const next: Assignment = { generation: was.generation + 1, replicas };
      this.#kv.put(`assign:${host}`, next);
      this.#known.set(host, next);
      reassigned.push({ host, name: names.get(host) ?? host, before: was.replicas, after: replicas });
    }
    for (const digest of tasks.keys()) if (!used.has(digest)) this.#kv.delete(`task:${digest}`);
    return { reassigned, unplaced };
  }

  /** A region's hosts as a Scaler sees them for a service's current version. */
  hostsFor(task: Omit<Task, "sealedSecrets">, { region, bundle, ...facts }: Omit<PlanFacts, "desires">, now: Now): ScaleHost[] {
    const hosts = bundle.fleet.hosts.filter((host) => host.region === region);
    const held = hosts.flatMap(({ id }) => this.of(id).replicas.map((replica) => ({ ...replica, host: id })));
    return scaleHosts({ region, task, hosts: assignHosts(hosts, facts, now), held, states: this.#states(facts.rows), tasks: this.#tasks(tasksOf(bundle)) });
  }

  /** The tasks of all versions that may still be running, the present ones kept for later. */
  #tasks(present: readonly Omit<Task, "sealedSecrets">[]): Map<string, Omit<Task, "sealedSecrets">> {
    for (const task of present) if (this.#kv.get(`task:${task.digest}`) === undefined) this.#kv.put(`task:${task.digest}`, task);
    const tasks = new Map<string, Omit<Task, "sealedSecrets">>();
    for (const [key, task] of this.#kv.list<Omit<Task, "sealedSecrets">>({ prefix: "task:" })) tasks.set(key.slice("task:".length), task);
    for (const task of present) tasks.set(task.digest, task);
    return tasks;
  }

  /** What hosts say of the replicas that are assigned to them; what one says of another's counts for nothing. */
  #states(rows: PlanFacts["rows"]): Map<string, ReplicaState> {
    const states = new Map<string, ReplicaState>();
    for (const row of rows.values()) {
      const own = new Set(this.of(row.id).replicas.map(({ id }) => id));
      for (const replica of row.replicas) if (own.has(replica.id)) states.set(replica.id, replica);
    }
    return states;
  }
}
