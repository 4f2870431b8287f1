import { owned } from "../../edge/hub/claims.ts";
import { Placing } from "../../edge/hub/placing.ts";
import { heartbeat, isLost, leavingReason, newRow, report, returned, snapshot, substance, type HostRow } from "../../edge/hub/roster.ts";
import { scaleFacts } from "../../edge/hub/scaleFacts.ts";
import { Scaling } from "../../edge/hub/scaling.ts";
import { nextLook } from "../../edge/scale/brake.ts";
import { linkTimes, protocol, type Assign, type AssignedReplica, type Heartbeat, type ReplicaState } from "../../schema/protocol.ts";
import type { Region } from "../../schema/region.ts";
import type { Desire, RegionFacts, ServiceScale } from "../../schema/scale.ts";
import type { Snapshot } from "../../schema/snapshot.ts";
import { Store } from "./store.ts";
import { Sums, type Told } from "./sums.ts";
import type { HubPart, World } from "./world.ts";

/** What a Hub forgets when it is put away. */
interface Waking {
  since: number;
  stamp: string;
  rows: Map<string, HostRow>;
  links: Map<string, (assign: Assign) => void>;
  /** Hosts that were connected before, and have not come back. */
  unheard: Set<string>;
  placing: Placing;
  scaling: Scaling;
  sums: Map<string, Sums>;
}

/**
 * A region's Hub: the real roster, placing, scaling and facts on a storage in memory, with links made up. What the Durable
 * Object does with them (`edge/hub/hub.ts`), in the same order.
 */
export class SimHub implements HubPart {
  readonly region: Region;
  readonly #world: World;
  readonly #store = new Store();
  up = true;
  #wakings = 0;
  #waking: Waking;

  constructor(world: World, region: Region) {
    this.#world = world;
    this.region = region;
    this.#waking = this.#wake(world.agenda.now);
  }

  #wake(now: number): Waking {
    const kv = this.#store;
    const rows = new Map<string, HostRow>();
    const unheard = new Set<string>();
    for (const [, stored] of kv.list({ prefix: "host:" })) {
      const row: HostRow = stored;
      rows.set(row.id, { ...row, linkUp: false, gone: row.linkUp ? { since: now, relays: row.relays } : row.gone, readings: undefined });
      if (row.linkUp) unheard.add(row.id);
    }
    const wake = (service: string): void => this.#world.channel.call(() => this.#world.scaler(service).wake());
    const scaling = new Scaling({ kv, wake });
    return {
      since: now, stamp: `${this.region} ${++this.#wakings}`, rows, unheard, links: new Map(),
      scaling, placing: new Placing({ region: this.region, awakeSince: now, kv, scaling }), sums: new Map(),
    };
  }

  /** It is evicted, and wakes a while later: what it keeps in memory is gone, and so are its links. */
  restart(downMs: number): void {
    if (!this.up) return;
    this.up = false;
    const hosts = [...this.#waking.links.keys()];
    this.#world.agenda.after(downMs, (now) => {
      this.up = true;
      this.#waking = this.#wake(now);
      this.#press(now);
      this.#wakeAt(now + linkTimes.leaseMs);
    });
    for (const host of hosts) this.#world.agent(host).drop();
  }

  /** Control has published a bundle: the world's. */
  published(): void {
    if (!this.up) return;
    this.#waking.scaling.published(this.#world.bundle);
    this.#replan();
  }

  // ——— links ———

  /** @returns the session's number */
  hello(host: string, send: (assign: Assign) => void): number {
    const { now } = this.#world.agenda;
    const { rows, links, unheard } = this.#waking;
    const before: number | undefined = this.#store.get(`epoch:${host}`);
    const epoch = (before ?? 0) + 1;
    this.#store.put(`epoch:${host}`, epoch);
    links.set(host, send);
    const known = rows.get(host);
    const row = known === undefined ? newRow(host, epoch, now) : { ...returned(known, epoch, now, unheard.delete(host)), gone: undefined };
    this.#put({ ...row, protocol });
    return epoch;
  }

  /** The session stands: its host is told what it is to do. */
  welcome(host: string): void {
    this.#replan();
    this.#tell(host);
  }

  hear(host: string, epoch: number, message: Heartbeat | { report: ReplicaState }, now: number): void {
    if (!this.up) return;
    const { rows, placing: { assignments, losses } } = this.#waking;
    const row = rows.get(host);
    if (row === undefined || row.epoch !== epoch) return;
    const { generation, replicas } = assignments.of(host);
    if ("report" in message) {
      for (const replica of owned([message.report], replicas)) if (this.#put(report(row, replica, now))) this.#replan();
      return;
    }
    if (!this.#put(heartbeat(row, { ...message, replicas: owned(message.replicas, replicas) }, now))) {
      if (losses.sweep(rows, now)) this.#replan();
      return;
    }
    // one that missed an assignment is told again
    if (message.generation < generation) this.#tell(host);
    this.#replan();
  }

  /** A host's socket has closed. */
  cut(host: string): void {
    const { rows, links } = this.#waking;
    links.delete(host);
    const row = rows.get(host);
    if (!this.up || row === undefined || !row.linkUp) return;
    const { now } = this.#world.agenda;
    this.#put({ ...row, linkUp: false, relays: [], gone: { since: now, relays: row.relays } });
    this.#press(now);
    this.#wakeAt(row.heardAt + linkTimes.leaseMs);
  }

  #tell(host: string): void {
    this.#waking.links.get(host)?.(this.#waking.placing.assignments.message(host, this.#world.bundle));
  }

  #put(row: HostRow): boolean {
    const { rows } = this.#waking;
    const before = rows.get(row.id);
    rows.set(row.id, row);
    if (before !== undefined && substance(before) === substance(row)) return false;
    this.#store.put(`host:${row.id}`, row);
    return true;
  }

  // ——— placing ———

  #press(now: number): void {
    this.#waking.placing.press(this.#waking.rows, now);
  }

  /** Its alarm, a little late, so that a lease is over when it rings. */
  #wakeAt(at: number): void {
    const { stamp } = this.#waking;
    this.#world.agenda.add(Math.max(at, this.#world.agenda.now) + 100, () => {
      if (this.up && this.#waking.stamp === stamp) this.#replan();
    });
  }

  #replan(): void {
    if (!this.up) return;
    const { now } = this.#world.agenda;
    const { placing, rows } = this.#waking;
    const reassigned = placing.plan(this.#world.bundle, rows, now);
    if (placing.losses.brake !== undefined) this.#wakeAt(nextLook(placing.losses.brake));
    for (const { againAt } of placing.refusals(now)) this.#wakeAt(againAt);
    for (const { host } of reassigned) this.#tell(host);
    if (reassigned.length > 0) this.#world.placed(this, reassigned, now);
  }

  // ——— what isolates ask and tell ———

  snapshot(): Snapshot {
    const { now } = this.#world.agenda;
    const { since, unheard, placing: { losses }, rows } = this.#waking;
    const silent = now - since > linkTimes.leaseMs || unheard.size === 0 ? undefined : { hosts: unheard, since };
    return losses.table(snapshot(rows.values(), this.region, now, silent), rows, now);
  }

  scales(): ServiceScale[] {
    return this.#waking.scaling.scales();
  }

  record(isolate: string, told: ReadonlyMap<string, Told>, now: number): void {
    if (!this.up) return;
    for (const [service, one] of told) this.#sumsOf(service).add(isolate, one);
    this.#waking.scaling.wakeFor(told.keys(), this.#world.bundle, now);
  }

  /** A request near here finds no replica ready. */
  wanted(service: string): void {
    if (this.up) this.#waking.scaling.wanted(service, this.#world.bundle);
  }

  #sumsOf(service: string): Sums {
    const { sums } = this.#waking;
    let known = sums.get(service);
    if (known === undefined) sums.set(service, (known = new Sums()));
    return known;
  }

  // ——— what Scalers ask and tell ———

  scaleFacts(service: string): RegionFacts {
    const { now } = this.#world.agenda;
    const { since, stamp, rows, placing, scaling } = this.#waking;
    const { assignments, losses, unplaced } = placing;
    const { bundle } = this.#world;
    scaling.asked(service, now);
    const sums = this.#sumsOf(service);
    return scaleFacts(service, {
      region: this.region, stamp, bundle, rows, awakeSince: since,
      assigned: (host) => assignments.of(host).replicas,
      hosts: placing.hostsFor(service, bundle, rows, now), hasRefused: (host, digest) => placing.hasRefused(host, digest),
      demand: sums.demand(), versions: sums.versions(),
      generation: scaling.desires.of(service)?.generation ?? 0, unplaced, braked: losses.brake !== undefined,
    }, now);
  }

  desire(desire: Desire): void {
    if (this.up && this.#waking.scaling.take(desire, this.#world.bundle) !== undefined) this.#replan();
  }

  // ——— for checks ———

  get braked(): boolean {
    return this.#waking.placing.losses.brake !== undefined;
  }

  /** By its host's last word. */
  isReady(host: string, replica: string): boolean {
    return this.#waking.rows.get(host)?.replicas.some(({ id, phase }) => id === replica && phase === "ready") === true;
  }

  /** What hosts that are not lost or leaving are assigned of a service. */
  assigned(service: string): AssignedReplica[] {
    const { now } = this.#world.agenda;
    const { rows, placing: { assignments }, since } = this.#waking;
    return this.#world.bundle.fleet.hosts.flatMap(({ id, region }) => {
      const row = rows.get(id);
      const counts = region === this.region && leavingReason(row, undefined) === undefined && !isLost(row, now, since);
      return counts ? assignments.of(id).replicas.filter((one) => one.service === service) : [];
    });
  }

  generation(service: string): number {
    return this.#waking.scaling.desires.of(service)?.generation ?? 0;
  }
}
