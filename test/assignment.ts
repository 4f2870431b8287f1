import type { AssignedReplica, ReplicaState } from "../schema/protocol.ts";
import type { Phase } from "../schema/replica.ts";
import { assign, type AssignFacts, type AssignService, type AssignTarget, type Assigned } from "../edge/scale/assign.ts";
import type { AssignHost, AssignTask } from "../edge/scale/fit.ts";

export function task(service: string, digest: string, fields: Partial<AssignTask> = {}): AssignTask {
  return {
    service, digest, version: 1, run: "serve", envs: {}, drainMs: 0, gpus: 0,
    probe: { path: "/", initialDelayMs: 0, timeoutMs: 1, intervalMs: 1, failureThresholdMs: 0, headers: {} },
    ...fields,
  };
}

export function host(id: string, fields: Partial<AssignHost> = {}): AssignHost {
  return { id, usable: true, lost: false, gpus: 0, ...fields };
}

/** A region that remembers, as its Hub does: what is assigned, the phases, the numbers given. */
export class Fleet {
  services: AssignService[] = [];
  hosts: AssignHost[] = [];
  assigned = new Map<string, AssignedReplica[]>();
  readonly phases = new Map<string, Phase>();
  readonly inFlight = new Map<string, number>();
  readonly removed = new Set<string>();
  /** Of those that have failed: their hosts would not run them. */
  readonly refused = new Set<string>();
  readonly tasks = new Map<string, AssignTask>();
  readonly #numbers = new Map<string, number>();
  given = 0;

  facts(): AssignFacts {
    for (const { task: one } of this.services.flatMap(({ targets }) => targets)) this.tasks.set(one.digest, one);
    const states = new Map<string, ReplicaState>();
    for (const one of [...this.assigned.values()].flat()) {
      const phase = this.phases.get(one.id);
      if (phase !== undefined) states.set(one.id, { ...one, phase, since: 0, restarts: 0, wasReady: false, inFlight: this.inFlight.get(one.id) ?? 0, ...(this.refused.has(one.id) ? { refused: true } : {}) });
    }
    return {
      region: "local", services: this.services, hosts: this.hosts, assigned: this.assigned, states, removed: this.removed, tasks: this.tasks,
      nextNumber: (service) => {
        this.given++;
        const number = (this.#numbers.get(service) ?? 0) + 1;
        this.#numbers.set(service, number);
        return number;
      },
    };
  }

  /** Plan, and take the plan over. */
  plan(): Assigned {
    const placement = assign(this.facts());
    this.assigned = placement.assigned;
    return placement;
  }

  want(service: AssignTask, count: number): this {
    return this.wantAll(service.service, { task: service, count });
  }

  /** Versions side by side, or the same one on several kinds of hosts. */
  wantAll(service: string, ...targets: AssignTarget[]): this {
    this.services = [...this.services.filter((one) => one.service !== service), { service, targets }];
    return this;
  }

  on(...hosts: AssignHost[]): this {
    this.hosts = hosts;
    return this;
  }

  set(phase: Phase, ...ids: string[]): this {
    for (const id of ids) this.phases.set(id, phase);
    return this;
  }

  /** A replica's host will not run it, and is remembered for that. */
  refuse(id: string): this {
    this.refused.add(id);
    const on = [...this.assigned].find(([, list]) => list.some((one) => one.id === id));
    const digest = on?.[1].find((one) => one.id === id)?.digest ?? "";
    this.hosts = this.hosts.map((one) => (one.id === on?.[0] ? { ...one, refused: new Set([...(one.refused ?? []), digest]) } : one));
    return this.set("failed", id);
  }

  /** Ids by host, sorted. */
  ids(): Record<string, string[]> {
    return Object.fromEntries([...this.assigned].map(([id, list]) => [id, list.map((one) => one.id).sort()]));
  }

  all(): AssignedReplica[] {
    return [...this.assigned.values()].flat();
  }
}

