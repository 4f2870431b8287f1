import { owned } from "../../edge/hub/claims.ts";
import { Losses } from "../../edge/hub/losses.ts";
import { heartbeat, isLost, leavingReason, newRow, report, returned, snapshot, substance, type HostRow } from "../../edge/hub/roster.ts";
import { assign, type AssignFacts, type AssignService } from "../../edge/scale/assign.ts";
import { nextLook } from "../../edge/scale/brake.ts";
import { linkTimes, protocol, type Assign, type AssignedReplica, type Heartbeat, type ReplicaState } from "../../schema/protocol.ts";
import type { Region } from "../../schema/region.ts";
import { isOver } from "../../schema/replica.ts";
import type { Desire, RegionFacts, ScaleReplica, VersionSeen } from "../../schema/scale.ts";
import type { Snapshot } from "../../schema/snapshot.ts";
import type { SimHost } from "./agent.ts";
import { Sums, type Told } from "./sums.ts";
import type { World } from "./world.ts";

interface Assignment {
  generation: number;
  replicas: AssignedReplica[];
}

/** What a Hub's storage keeps. */
interface Stored {
  rows: Map<string, HostRow>;
  assignments: Map<string, Assignment>;
  numbers: Map<string, number>;
  epochs: Map<string, number>;
  tasks: Map<string, AssignFacts["tasks"] extends ReadonlyMap<string, infer T> ? T : never>;
  desires: Map<string, Desire>;
  warm: Map<string, Set<string>>;
  brake: Losses["brake"];
}

/** Reclaims count for so long. */
const dayMs = 86_400_000;

/**
 * A region's Hub: the real roster, losses, brake and assign, with links and storage made up. What the Durable Object does with them
 * (`edge/hub/hub.ts`), in the same order.
 */
export class SimHub {
  readonly region: Region;
  readonly #world: World;
  readonly #hosts: readonly SimHost[];
  readonly #stored: Stored = { rows: new Map(), assignments: new Map(), numbers: new Map(), epochs: new Map(), tasks: new Map(), desires: new Map(), warm: new Map(), brake: undefined };
  up = true;
  // ——— of one waking ———
  #awakeSince: number;
  #stamp = 0;
  #links = new Map<string, (assign: Assign) => void>();
  #losses: Losses;
  #unheard = new Set<string>();
  #sums = new Map<string, Sums>();
  #unplaced: RegionFacts["unplaced"] = [];
  #reclaims: { zone: string; at: number }[] = [];

  constructor(world: World, region: Region, hosts: readonly SimHost[]) {
    this.#world = world;
    this.region = region;
    this.#hosts = hosts.filter((host) => host.region === region);
    this.#awakeSince = world.agenda.now;
    this.#losses = new Losses(this.#awakeSince, undefined);
  }

  /** It is evicted, and wakes a while later: what it keeps in memory is gone, and so are its links. */
  restart(downMs: number): void {
    if (!this.up) return;
    this.up = false;
    this.#links.clear();
    this.#world.agenda.after(downMs, (now) => {
      this.up = true;
      this.#awakeSince = now;
      this.#stamp++;
      this.#sums = new Map();
      this.#unplaced = [];
      this.#unheard = new Set();
      for (const row of this.#stored.rows.values()) {
        if (row.linkUp) this.#unheard.add(row.id);
        this.#stored.rows.set(row.id, { ...row, linkUp: false, gone: row.linkUp ? { since: now, relays: row.relays } : row.gone });
      }
      this.#losses = new Losses(now, this.#stored.brake);
      this.#press(now);
      this.#wakeAt(now + linkTimes.leaseMs);
    });
    for (const { id } of this.#hosts) this.#world.agent(id).drop();
  }

  // ——— links ———

  hello(host: string, send: (assign: Assign) => void): number {
    const { now } = this.#world.agenda;
    const epoch = (this.#stored.epochs.get(host) ?? 0) + 1;
    this.#stored.epochs.set(host, epoch);
    this.#links.set(host, send);
    const known = this.#stored.rows.get(host);
    const row = known === undefined ? newRow(host, epoch, now) : { ...returned(known, epoch, now, this.#unheard.delete(host)), gone: undefined };
    this.#put({ ...row, protocol });
    return epoch;
  }

  /** The session stands: its host is told what it is to do. */
  welcome(host: string): void {
    this.#replan();
    this.#tell(host);
  }

  hear(host: string, epoch: number, message: Heartbeat | { report: ReplicaState } | { goodbye: true }, now: number): void {
    const row = this.#stored.rows.get(host);
    if (!this.up || row === undefined || row.epoch !== epoch) return;
    const mine = this.#of(host).replicas;
    if ("report" in message) {
      for (const replica of owned([message.report], mine)) if (this.#put(report(row, replica, now))) this.#replan();
      return;
    }
    if ("goodbye" in message) {
      this.#put({ ...row, heardAt: 0, linkUp: false, gone: undefined, relays: [], replicas: [] });
      return this.#replan();
    }
    if (message.reclaim !== undefined && row.reclaim === undefined) this.#reclaims.push({ zone: this.#host(host)?.zone ?? "", at: now });
    if (!this.#put(heartbeat(row, { ...message, replicas: owned(message.replicas, mine) }, now))) {
      if (this.#losses.sweep(this.#stored.rows, now)) this.#replan();
      return;
    }
    if (message.generation < this.#of(host).generation) this.#tell(host);
    this.#replan();
  }

  /** A host's socket has closed. */
  cut(host: string): void {
    this.#links.delete(host);
    const row = this.#stored.rows.get(host);
    if (!this.up || row === undefined || !row.linkUp) return;
    const { now } = this.#world.agenda;
    this.#put({ ...row, linkUp: false, relays: [], gone: { since: now, relays: row.relays } });
    this.#press(now);
    this.#wakeAt(row.heardAt + linkTimes.leaseMs);
  }

  #tell(host: string): void {
    const { generation, replicas } = this.#of(host);
    const tasks = [...new Set(replicas.map(({ digest }) => digest))].flatMap((digest) => this.#stored.tasks.get(digest) ?? []);
    this.#links.get(host)?.({ type: "assign", generation, tasks, replicas });
  }

  // ——— placing ———

  #host(id: string): SimHost | undefined {
    return this.#hosts.find((host) => host.id === id);
  }

  #of(host: string): Assignment {
    return this.#stored.assignments.get(host) ?? { generation: 0, replicas: [] };
  }

  #put(row: HostRow): boolean {
    const before = this.#stored.rows.get(row.id);
    this.#stored.rows.set(row.id, row);
    for (const { digest, phase } of row.replicas) {
      if (phase !== "ready" || this.#stored.warm.get(row.id)?.has(digest) === true) continue;
      this.#stored.warm.set(row.id, new Set([...(this.#stored.warm.get(row.id) ?? []), digest]));
    }
    return before === undefined || substance(before) !== substance(row);
  }

  #press(now: number): void {
    if (this.#losses.press(this.#stored.rows, now)) this.#stored.brake = this.#losses.brake;
  }

  #wakeAt(at: number): void {
    const stamp = this.#stamp;
    this.#world.agenda.add(Math.max(at, this.#world.agenda.now) + 100, () => {
      if (this.up && this.#stamp === stamp) this.#replan();
    });
  }

  /** What the bundle says until a Scaler says more. */
  #services(): AssignService[] {
    return this.#world.services.map((service) => {
      const { tasks } = service;
      const desire = this.#stored.desires.get(service.name);
      const current = tasks.at(-1);
      if (current === undefined) throw new Error(`Cannot place "${service.name}": it has no version`);
      if (desire === undefined) return { service: service.name, targets: [{ task: current, count: this.region === service.home ? service.policy.min : 0 }] };
      const targets = (desire.regions[this.region] ?? []).flatMap(({ digest, version, count, zone, spot }) => {
        const task = tasks.find((one) => one.digest === digest);
        return task === undefined ? [] : [{ task: { ...task, version }, count, ...(zone === undefined ? {} : { zone }), ...(spot === undefined ? {} : { spot }) }];
      });
      return { service: service.name, targets: targets.length === 0 ? [{ task: current, count: 0 }] : targets };
    });
  }

  #replan(): void {
    if (!this.up) return;
    const { now } = this.#world.agenda;
    const { rows, assignments, tasks, numbers } = this.#stored;
    this.#losses.plan(rows, now);
    this.#press(now);
    const { brake } = this.#losses;
    if (brake !== undefined) this.#wakeAt(nextLook(brake));
    for (const service of this.#world.services) for (const task of service.tasks) tasks.set(task.digest, task);
    const { assigned, unplaced } = assign({
      region: this.region,
      services: this.#services(),
      hosts: this.#hosts.map((host) => {
        const row = rows.get(host.id);
        const silent = isLost(row, now, this.#awakeSince);
        const lost = silent && brake === undefined;
        const leaving = leavingReason(row, undefined) !== undefined;
        return { ...host, usable: !silent && (row?.linkUp ?? false) && !leaving, leaving, lost, images: true, warm: this.#stored.warm.get(host.id) ?? new Set(), reclaims: this.#reclaimsOf(host.zone, now) };
      }),
      assigned: new Map(this.#hosts.map(({ id }) => [id, this.#of(id).replicas])),
      states: this.#states(),
      removed: new Set(),
      tasks,
      nextNumber: (service) => {
        const number = (numbers.get(service) ?? 0) + 1;
        numbers.set(service, number);
        return number;
      },
    });
    this.#unplaced = unplaced;
    for (const [host, replicas] of assigned) {
      const was = this.#of(host);
      if (JSON.stringify(was.replicas) === JSON.stringify(replicas)) continue;
      assignments.set(host, { generation: was.generation + 1, replicas });
      this.#tell(host);
    }
    this.#world.placed(this, now);
  }

  /** What hosts say of the replicas that are assigned to them. */
  #states(): Map<string, ReplicaState> {
    const states = new Map<string, ReplicaState>();
    for (const row of this.#stored.rows.values()) {
      const own = new Set(this.#of(row.id).replicas.map(({ id }) => id));
      for (const replica of row.replicas) if (own.has(replica.id)) states.set(replica.id, replica);
    }
    return states;
  }

  #reclaimsOf(zone: string | undefined, now: number): number {
    return this.#reclaims.filter((one) => one.zone === (zone ?? "") && now - one.at < dayMs).length;
  }

  // ——— what isolates and Scalers ask ———

  snapshot(): Snapshot {
    const { now } = this.#world.agenda;
    const unheard = now - this.#awakeSince > linkTimes.leaseMs || this.#unheard.size === 0 ? undefined : { hosts: this.#unheard, since: this.#awakeSince };
    return this.#losses.table(snapshot(this.#stored.rows.values(), this.region, now, unheard), this.#stored.rows, now);
  }

  record(isolate: string, told: ReadonlyMap<string, Told>): void {
    if (!this.up) return;
    for (const [service, one] of told) this.#sumsOf(service).add(isolate, one);
  }

  #sumsOf(service: string): Sums {
    let sums = this.#sums.get(service);
    if (sums === undefined) this.#sums.set(service, (sums = new Sums()));
    return sums;
  }

  desire(desire: Desire): void {
    if (!this.up || desire.generation <= (this.#stored.desires.get(desire.service)?.generation ?? 0)) return;
    this.#stored.desires.set(desire.service, desire);
    this.#replan();
  }

  facts(service: string): RegionFacts {
    const { now } = this.#world.agenda;
    const { rows, desires } = this.#stored;
    const { tasks, policy, rollout, home } = this.#world.service(service);
    const [previous, current] = [tasks.at(-2), tasks.at(-1)];
    if (current === undefined) throw new Error(`Cannot tell facts of "${service}": it has no version`);
    const { brake } = this.#losses;
    const sums = this.#sumsOf(service);
    return {
      region: this.region,
      stamp: `${this.region}-${this.#stamp}`,
      at: now,
      bundleVersion: tasks.length,
      service: {
        task: current, replicas: { [home]: policy.min }, policy,
        ...(rollout === undefined ? {} : { rollout }),
        ...(previous === undefined ? {} : { previous: { version: previous.version, digest: previous.digest } }),
      },
      demand: sums.demand(),
      versions: [...sums.versions()] satisfies VersionSeen[],
      replicas: this.#hosts.flatMap((host) => this.#replicasOn(host, service, now)),
      hosts: this.#hosts.map((host) => {
        const row = rows.get(host.id);
        const usable = row !== undefined && row.linkUp && !isLost(row, now, this.#awakeSince) && leavingReason(row, undefined) === undefined;
        const used = this.#of(host.id).replicas.filter(({ id }) => !isOver(row?.replicas.find((one) => one.id === id)?.phase ?? "pending")).length * current.gpus;
        const room = current.gpus === 0 ? 1000 : Math.max(0, Math.floor((host.gpus - used) / current.gpus));
        return { ...host, usable, room, warm: this.#stored.warm.get(host.id)?.has(current.digest) ?? false, reclaims: this.#reclaimsOf(host.zone, now) };
      }),
      generation: desires.get(service)?.generation ?? 0,
      unplaced: this.#unplaced.filter((one) => (one as { service?: string }).service === service),
      braked: brake !== undefined,
    };
  }

  #replicasOn(host: SimHost, service: string, now: number): ScaleReplica[] {
    const row = this.#stored.rows.get(host.id);
    const { zone, spot, accelerator, priceMicroUsd } = host;
    const kind = { ...(zone === undefined ? {} : { zone }), ...(spot === undefined ? {} : { spot }), ...(accelerator === undefined ? {} : { accelerator }), ...(priceMicroUsd === undefined ? {} : { priceMicroUsd }) };
    const common = { ...kind, region: this.region, host: host.id, leaving: leavingReason(row, undefined) !== undefined, reachable: row !== undefined && row.linkUp && !isLost(row, now, this.#awakeSince) };
    const said = row?.replicas ?? [];
    const spoken = new Set(said.map(({ id }) => id));
    return [
      ...said.filter((one) => one.service === service && one.phase !== "stopped").map(({ id, number, version, digest, phase, since, inFlight, load, wasReady, reason }): ScaleReplica => ({
        ...common, id, number, version, digest, phase, since, inFlight, wasReady, ...(load === undefined ? {} : { load }), ...(reason === undefined ? {} : { reason }),
      })),
      ...this.#of(host.id).replicas.filter((one) => one.service === service && !spoken.has(one.id)).map(({ id, number, version, digest }): ScaleReplica => ({ ...common, id, number, version, digest, phase: "pending", since: now, inFlight: 0, wasReady: false })),
    ];
  }

  // ——— for checks ———

  get braked(): boolean {
    return this.#losses.brake !== undefined;
  }

  /** What hosts that are not leaving are assigned of a service. */
  assigned(service: string): AssignedReplica[] {
    return this.#hosts.flatMap(({ id }) => (leavingReason(this.#stored.rows.get(id), undefined) === undefined ? this.#of(id).replicas.filter((one) => one.service === service) : []));
  }

  generation(service: string): number {
    return this.#stored.desires.get(service)?.generation ?? 0;
  }
}
