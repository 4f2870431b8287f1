import fc from "fast-check";
import { expect, test } from "vitest";
import { reconcile } from "../agent/reconcile.ts";
import { owned } from "../edge/hub/claims.ts";
import { heartbeat, isLost, newRow, report, type HostRow } from "../edge/hub/roster.ts";
import { assign } from "../edge/scale/assign.ts";
import type { Assign, AssignedReplica, Heartbeat, ReplicaState } from "../schema/protocol.ts";
import { isOver } from "../schema/replica.ts";
import type { Task } from "../schema/task.ts";

/**
 * The protocol between a Hub and its agents as a property: the real roster, placing and reconciling, joined by a channel that loses,
 * repeats and reorders whatever it is given (more than a WebSocket ever does), with links that break, hosts that vanish for longer
 * than their lease, services that are changed meanwhile, and a host that goes on with an older session. Whatever happened, once the
 * channel is good again all converge to what should be.
 */

const hostIds = ["a", "b", "c"];
const leaseMs = 15_000;

type ToAgent = { host: string; epoch: number; assign: Assign };
type ToHub = { host: string; message: Heartbeat | { type: "report"; epoch: number; replica: ReplicaState } };

const taskOf = (version: number): Task => ({
  service: "chat", version, digest: `d${version}`, run: "serve", envs: {}, drainMs: 0, gpus: 0,
  probe: { path: "/", initialDelayMs: 1, timeoutMs: 1, intervalMs: 1, failureThresholdMs: 1, headers: {} },
});

class Agent {
  readonly id: string;
  epoch = 0;
  generation = Number.NEGATIVE_INFINITY;
  replicas = new Map<string, ReplicaState>();
  /** What it was ever told to run. */
  readonly told = new Set<string>();

  constructor(id: string) {
    this.id = id;
  }

  /** As `agent/link.ts`: nothing of another session, and no older generation. */
  take({ epoch, assign }: ToAgent, now: number): void {
    if (epoch !== this.epoch || assign.generation < this.generation) return;
    this.generation = assign.generation;
    for (const { id } of assign.replicas) this.told.add(id);
    for (const step of reconcile(assign, [...this.replicas.values()], now)) {
      if (step.do === "start") this.replicas.set(step.replica.id, { ...step.replica, phase: "starting", since: now, restarts: 0, wasReady: false, inFlight: 0 });
      else if (step.do === "forget") this.replicas.delete(step.id);
      else if (step.do === "drain") this.become(step.id, "draining", now);
      else if (step.do === "relabel") this.replicas.set(step.id, { ...(this.replicas.get(step.id) as ReplicaState), version: step.version });
    }
  }

  become(id: string, phase: ReplicaState["phase"], now: number): ReplicaState {
    const next = { ...(this.replicas.get(id) as ReplicaState), phase, since: now };
    this.replicas.set(id, next);
    return next;
  }

  /** One replica's life goes a step on. */
  step(now: number): ReplicaState | undefined {
    const one = [...this.replicas.values()].find(({ phase }) => phase === "starting" || phase === "draining");
    return one && this.become(one.id, one.phase === "starting" ? "ready" : "stopped", now);
  }
}

class Hub {
  rows = new Map<string, HostRow>();
  epochs = new Map<string, number>();
  assignments = new Map<string, { generation: number; replicas: AssignedReplica[] }>();
  number = 0;
  version = 1;
  count = 1;
  readonly #send: (message: ToAgent) => void;

  constructor(send: (message: ToAgent) => void) {
    this.#send = send;
  }

  connect(host: string, now: number): number {
    const epoch = (this.epochs.get(host) ?? 0) + 1;
    this.epochs.set(host, epoch);
    const known = this.rows.get(host);
    this.rows.set(host, known === undefined ? newRow(host, epoch, now) : { ...known, epoch, linkUp: true, heardAt: now });
    this.replan(now);
    this.tell(host);
    return epoch;
  }

  cut(host: string): void {
    const row = this.rows.get(host);
    if (row) this.rows.set(host, { ...row, linkUp: false, relays: [] });
  }

  tell(host: string): void {
    const row = this.rows.get(host);
    if (row?.linkUp !== true) return;
    const { generation, replicas } = this.assigned(host);
    const tasks = Array.from({ length: this.version }, (_, i) => taskOf(i + 1));
    this.#send({ host, epoch: row.epoch, assign: { type: "assign", generation, tasks, replicas } });
  }

  take({ host, message }: ToHub, now: number): void {
    const row = this.rows.get(host);
    if (row === undefined || !row.linkUp || message.epoch !== row.epoch) return;
    const mine = this.assigned(host).replicas;
    if (message.type === "heartbeat") {
      this.rows.set(host, heartbeat(row, { ...message, replicas: owned(message.replicas, mine) }, now));
      if (message.generation < this.assigned(host).generation) this.tell(host);
    } else for (const replica of owned([message.replica], mine)) this.rows.set(host, report(row, replica, now));
    this.replan(now);
  }

  assigned(host: string): { generation: number; replicas: AssignedReplica[] } {
    return this.assignments.get(host) ?? { generation: 0, replicas: [] };
  }

  replan(now: number): void {
    const states = new Map([...this.rows.values()].flatMap(({ replicas }) => replicas.map((one) => [one.id, one] as const)));
    const { assigned } = assign({
      region: "local",
      services: [{ service: "chat", targets: [{ task: taskOf(this.version), count: this.count }] }],
      hosts: hostIds.map((id) => {
        const row = this.rows.get(id);
        const lost = isLost(row, now, 0);
        return { id, lost, usable: !lost && (row?.linkUp ?? false), gpus: 0 };
      }),
      assigned: new Map(hostIds.map((id) => [id, this.assigned(id).replicas])),
      states, removed: new Set(), tasks: new Map(Array.from({ length: this.version }, (_, i) => [`d${i + 1}`, taskOf(i + 1)])),
      nextNumber: () => ++this.number,
    });
    for (const [host, replicas] of assigned) {
      const before = this.assigned(host);
      if (JSON.stringify(before.replicas) === JSON.stringify(replicas)) continue;
      this.assignments.set(host, { generation: before.generation + 1, replicas });
      this.tell(host);
    }
  }
}

/** Both directions of every link in one bag: whatever is in it may come next, come again, or never come. */
class World {
  now = 1_000_000;
  readonly bag: (ToAgent | ToHub)[] = [];
  readonly agents = new Map(hostIds.map((id) => [id, new Agent(id)]));
  readonly hub = new Hub((message) => this.bag.push(message));

  deliver(message: ToAgent | ToHub): void {
    if ("assign" in message) this.agents.get(message.host)?.take(message, this.now);
    else this.hub.take(message, this.now);
    this.check();
  }

  connect(agent: Agent): void {
    agent.epoch = this.hub.connect(agent.id, this.now);
  }

  beat(agent: Agent): void {
    this.bag.push({ host: agent.id, message: { type: "heartbeat", epoch: agent.epoch, generation: Math.max(0, agent.generation), relays: [0], draining: false, replicas: [...agent.replicas.values()] } });
  }

  step(agent: Agent): void {
    const replica = agent.step(this.now);
    if (replica) this.bag.push({ host: agent.id, message: { type: "report", epoch: agent.epoch, replica } });
  }

  /** What must hold at every moment. */
  check(): void {
    const holders = new Map<string, string>();
    for (const agent of this.agents.values()) {
      for (const { id, phase } of agent.replicas.values()) {
        expect(agent.told.has(id)).toBe(true);
        if (isOver(phase)) continue;
        // an id is one host's for ever
        expect(holders.get(id) ?? agent.id).toBe(agent.id);
        holders.set(id, agent.id);
      }
    }
    const assigned = [...this.hub.assignments.values()].flatMap(({ replicas }) => replicas.map(({ id }) => id));
    expect(new Set(assigned).size).toBe(assigned.length);
  }
}

const op = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("deliver" as const), at: fc.nat(), again: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("lose" as const), at: fc.nat() }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom("beat" as const, "step" as const), host: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("connect" as const, "cut" as const), host: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.integer({ min: 0, max: 2 * leaseMs }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("want" as const), count: fc.nat(4), update: fc.boolean() }) },
);

test("over a channel that loses, repeats and reorders, hub and agents converge to what should be", () => {
  fc.assert(
    fc.property(fc.array(op, { maxLength: 120 }), (ops) => {
      const world = new World();
      const agentAt = (i: number): Agent => world.agents.get(hostIds[i] ?? "a") as Agent;
      for (const agent of world.agents.values()) world.connect(agent);
      for (const one of ops) {
        if (one.do === "deliver" && world.bag.length > 0) {
          const at = one.at % world.bag.length;
          const message = world.bag[at];
          if (!one.again) world.bag.splice(at, 1);
          if (message) world.deliver(message);
        } else if (one.do === "lose" && world.bag.length > 0) world.bag.splice(one.at % world.bag.length, 1);
        else if (one.do === "beat") world.beat(agentAt(one.host));
        else if (one.do === "step") world.step(agentAt(one.host));
        else if (one.do === "connect") world.connect(agentAt(one.host));
        else if (one.do === "cut") world.hub.cut(agentAt(one.host).id);
        else if (one.do === "wait") world.now += one.ms;
        else if (one.do === "want") {
          world.hub.count = one.count;
          if (one.update) world.hub.version++;
          world.hub.replan(world.now);
        }
      }
      // what is still under way comes at last, in any order; then the links are good
      for (const message of world.bag.splice(0).toReversed()) world.deliver(message);
      for (const agent of world.agents.values()) world.connect(agent);
      for (let round = 0; round < 40; round++) {
        world.now += 1_000;
        for (const agent of world.agents.values()) {
          world.step(agent);
          world.beat(agent);
        }
        for (let i = 0; i < 200 && world.bag.length > 0; i++) world.deliver(world.bag.shift() as ToHub);
      }
      const running = [...world.agents.values()].flatMap((agent) => [...agent.replicas.values()].filter(({ phase }) => !isOver(phase)).map(({ id, phase, digest }) => ({ host: agent.id, id, phase, digest })));
      const wanted = hostIds.flatMap((host) => world.hub.assigned(host).replicas.map(({ id }) => ({ host, id, phase: "ready", digest: `d${world.hub.version}` })));
      const byId = (x: { id: string }, y: { id: string }): number => (x.id < y.id ? -1 : 1);
      expect(running.sort(byId)).toEqual(wanted.sort(byId));
      expect(running).toHaveLength(world.hub.count);
    }),
    { numRuns: 150 },
  );
});
