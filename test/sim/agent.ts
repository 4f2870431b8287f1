import { heartbeat } from "../../agent/heartbeat.ts";
import { reconcile } from "../../agent/reconcile.ts";
import { reconnectMs } from "../../agent/reconnect.ts";
import { newReplica, refusedReplica, step, type Effect, type Event, type Replica } from "../../agent/replica.ts";
import { linkTimes, type Assign, type Heartbeat, type ReclaimNotice, type ReplicaState } from "../../schema/protocol.ts";
import { isOver } from "../../schema/replica.ts";
import type { Task } from "../../schema/task.ts";
import { lognormalBetween } from "./draw.ts";
import { SimEngine, type Job } from "./engine.ts";
import type { Cut, HubPart, SimHost, World } from "./world.ts";

/** One replica with its engine. */
interface Kept {
  replica: Replica;
  task: Task | undefined;
  engine: SimEngine | undefined;
  /** When its engine answers the readiness probe. */
  upAt: number;
  /** Since when it has its GPUs. */
  from: number;
}

/** As `agent/replicas.ts`: a draining replica takes requests for so long. */
const settleMs = 2_000;
/** As `agent/link.ts`: changes within so long go out as one heartbeat. */
const coalesceMs = 50;
/** As `agent/replicas.ts`: what is over is looked at again so often. */
const tidyMs = 30_000;
/** A process that is told to end takes so long. */
const endMs = 1_000;
/** A probe of an engine on the same machine. */
const probeMs = 5;
/** Of a cold start, the share that is getting the place and the weights. */
const provisionShare = 0.6;

/**
 * A host with its agent: the real steps of `reconcile` and the real life of a replica (`agent/replica.ts`); processes and engines are
 * made up. Its link is the world's channel.
 */
export class SimAgent {
  readonly host: SimHost;
  readonly #world: World;
  readonly #hub: HubPart;
  readonly #kept = new Map<string, Kept>();
  /** Digests that were ready here: it remembers them through crashes. */
  readonly #warm = new Set<string>();
  /** The machine runs. */
  up = false;
  /** Undefined: it has no session. */
  #session: { epoch: number; say: (message: Heartbeat | { report: ReplicaState }) => void } | undefined;
  #assigned: Assign | undefined;
  #generation = Number.NEGATIVE_INFINITY;
  #reclaim: ReclaimNotice | undefined;
  #beating = 0;
  #soon = false;
  #attempt = 0;
  /** Of this life of the machine: what was to be done in an earlier one is not. */
  #life = 0;

  constructor(world: World, hub: HubPart, host: SimHost) {
    this.#world = world;
    this.#hub = hub;
    this.host = host;
  }

  // ——— the machine ———

  boot(): void {
    if (this.up) return;
    this.up = true;
    this.#life++;
    this.#assigned = undefined;
    this.#generation = Number.NEGATIVE_INFINITY;
    this.#reclaim = undefined;
    this.#attempt = 0;
    this.#connect(0);
    const life = this.#life;
    this.#world.agenda.every(tidyMs, () => {
      if (this.#life !== life || !this.up) return false;
      this.#settle();
    });
  }

  /** It is gone from one moment to the next. */
  crash(): void {
    if (!this.up) return;
    const { now } = this.#world.agenda;
    this.up = false;
    this.#life++;
    this.#session = undefined;
    this.#hub.cut(this.host.id);
    for (const one of this.#kept.values()) {
      this.#account(one, now);
      one.engine?.stop(now);
    }
    this.#kept.clear();
  }

  /** Its cloud says that it takes it back, and does. */
  reclaim(noticeMs: number): void {
    if (!this.up) return;
    const { now } = this.#world.agenda;
    this.#reclaim = { at: now + noticeMs, source: "sim", reason: "the cloud takes the host back" };
    this.#beat();
    const life = this.#life;
    this.#world.agenda.after(noticeMs, () => {
      if (this.#life === life) this.crash();
    });
  }

  /** Its control link breaks; what runs goes on. */
  drop(): void {
    if (!this.up || this.#session === undefined) return;
    this.#session = undefined;
    this.#hub.cut(this.host.id);
    this.#again();
  }

  #again(): void {
    const life = this.#life;
    this.#world.agenda.after(reconnectMs(this.#attempt++, false, this.#world.random), () => {
      if (this.#life === life && this.up && this.#session === undefined) this.#connect(0);
    });
  }

  // ——— the link ———

  #connect(delayMs: number): void {
    const life = this.#life;
    this.#world.agenda.after(delayMs, () => {
      if (this.#life !== life || this.#session !== undefined) return;
      if (!this.#hub.up || this.#world.isCut(this.host.id)) return this.#again();
      // one link in each direction, broken together
      const broken = (): void => {
        if (this.#session?.epoch === epoch) this.drop();
      };
      const out = this.#world.channel.link(broken);
      const back = this.#world.channel.link(broken);
      let epoch = -1;
      epoch = this.#hub.hello(this.host.id, (assign) => back.send(() => this.#told(assign, epoch)));
      this.#attempt = 0;
      this.#session = { epoch, say: (message) => out.send((now) => this.#hub.hear(this.host.id, epoch, message, now)) };
      this.#hub.welcome(this.host.id);
      this.#beat();
    });
  }

  #told(assign: Assign, epoch: number): void {
    if (this.#session?.epoch !== epoch || assign.generation < this.#generation) return;
    this.#generation = assign.generation;
    this.#assigned = assign;
    this.#settle();
    this.#changed();
  }

  #changed(): void {
    if (this.#soon) return;
    this.#soon = true;
    this.#world.agenda.after(coalesceMs, () => {
      this.#soon = false;
      this.#beat();
    });
  }

  #beat(): void {
    const beating = ++this.#beating;
    const { epoch, say } = this.#session ?? {};
    if (epoch === undefined || say === undefined || !this.up || this.#world.isCut(this.host.id)) return;
    const { id: _id, region: _region, refusal: _refusal, refusesUntilMs: _until, disk: _disk, gpus, ...kind } = this.host;
    say(heartbeat({
      epoch, generation: Math.max(0, this.#generation), relays: [0, 1], draining: this.#reclaim !== undefined, reclaim: this.#reclaim, replicas: this.states(),
      facts: { gpus, cpus: 8, memoryBytes: 64e9, ...(this.#isFull ? { disk: { bytes: 1e12, freeBytes: 0, full: true } } : {}), ...kind, warm: [...this.#warm] },
    }));
    this.#world.agenda.after(linkTimes.heartbeatMs, () => {
      if (this.#beating === beating) this.#beat();
    });
  }

  // ——— replicas ———

  states(): ReplicaState[] {
    return [...this.#kept.values()].map(({ replica, engine }) => {
      const { id, service, number, version, digest, phase, reason, since, restarts, wasReady, inFlight } = replica;
      return { id, service, number, version, digest, phase, since, restarts, wasReady, inFlight, ...(reason === undefined ? {} : { reason }), ...(phase === "failed" && !replica.begun ? { refused: true } : {}), ...(phase === "ready" && engine !== undefined ? { load: engine.load(), engine: "vllm" as const } : {}) };
    });
  }

  get #isFull(): boolean {
    const { disk } = this.host;
    const { now } = this.#world.agenda;
    return disk !== undefined && now >= disk.fullFromMs && now < disk.untilMs;
  }

  #settle(): void {
    const { now } = this.#world.agenda;
    if (this.#assigned === undefined) return;
    for (const next of reconcile(this.#assigned, [...this.#kept.values()].map(({ replica }) => replica), now, { leaving: this.#reclaim !== undefined, refusal: now < (this.host.refusesUntilMs ?? Number.POSITIVE_INFINITY) ? this.host.refusal : undefined })) {
      const one = "id" in next ? this.#kept.get(next.id) : undefined;
      switch (next.do) {
        case "start":
          this.#kept.set(next.replica.id, { replica: newReplica(next.replica, now), task: next.task, engine: undefined, upAt: Number.POSITIVE_INFINITY, from: now });
          this.#tell(this.#kept.get(next.replica.id), { type: "tick" });
          break;
        case "refuse":
          this.#kept.set(next.replica.id, { replica: refusedReplica(next.replica, next.reason, now), task: undefined, engine: undefined, upAt: 0, from: now });
          this.#changed();
          break;
        case "relabel":
          if (one !== undefined) one.replica = { ...one.replica, version: next.version };
          this.#changed();
          break;
        case "sleep":
        case "wake":
          break;
        case "drain":
          if (one !== undefined && one.replica.phase !== "draining" && one.replica.phase !== "stopping") {
            this.#tell(one, { type: "drain", reason: next.reason, drainMs: one.task?.drainMs ?? 0, settleMs, ...(this.#reclaim === undefined ? {} : { reclaimed: true }) });
          }
          break;
        case "forget":
          this.#kept.delete(next.id);
          this.#changed();
          break;
      }
    }
  }

  #tell(one: Kept | undefined, event: Event): void {
    if (one === undefined || this.#kept.get(one.replica.id) !== one) return;
    const { now } = this.#world.agenda;
    const before = one.replica;
    const { replica, effects } = step(before, event, now, this.#world.random, { probe: one.task?.probe ?? neverProbed });
    one.replica = replica;
    const { wakeAt } = replica;
    if (wakeAt !== undefined && wakeAt !== before.wakeAt) {
      this.#world.agenda.add(wakeAt, () => {
        if (one.replica.wakeAt === wakeAt) this.#tell(one, { type: "tick" });
      });
    }
    for (const effect of effects) this.#act(one, effect);
    if (replica.phase === before.phase) return;
    this.#world.phase(replica, this.host, now);
    if (replica.phase === "ready") this.#warm.add(replica.digest);
    const state = this.states().find(({ id }) => id === replica.id);
    if (state !== undefined) this.#session?.say({ report: state });
    this.#changed();
    if (isOver(replica.phase)) {
      this.#account(one, now);
      this.#world.agenda.after(0, () => this.#settle());
    }
  }

  #act(one: Kept, effect: Effect): void {
    const { agenda, random } = this.#world;
    switch (effect.do) {
      case "start": {
        const { start } = effect;
        const { service, version } = one.replica;
        const { coldStartMs, engine, versions } = this.#world.service(service);
        if (this.#isFull) {
          agenda.after(0, () => this.#tell(one, { type: "refused", start, reason: "its disk is full", wait: true }));
          break;
        }
        const ms = lognormalBetween(random, coldStartMs.p50, coldStartMs.p95);
        agenda.after(0, () => this.#tell(one, { type: "preparing", start, what: "the weights are being fetched" }));
        agenda.after(ms * provisionShare, (now) => {
          if (one.replica.start !== start || one.replica.processes !== "asked") return;
          one.engine = new SimEngine(agenda, engine);
          one.upAt = versions?.[version]?.neverReady === true ? Number.POSITIVE_INFINITY : now + ms * (1 - provisionShare);
          this.#tell(one, { type: "running", start, stage: "run", port: 8000, pid: 1 });
        });
        break;
      }
      case "probe":
        agenda.after(probeMs, (now) => this.#tell(one, { type: "probed", start: effect.start, ok: now >= one.upAt }));
        break;
      case "stop":
        agenda.after(endMs, (now) => {
          one.engine?.stop(now);
          one.engine = undefined;
          this.#tell(one, { type: "ended" });
        });
        break;
      case "sleep":
      case "wake":
        break;
    }
  }

  #account(one: Kept, now: number): void {
    if (one.task !== undefined) this.#world.held(one.replica.service, this.host, now - one.from);
    one.task = undefined;
  }

  // ——— requests ———

  /**
   * A request comes by a relay.
   *
   * @returns false when it is not taken
   */
  carry(id: string, job: Job, now: number): boolean {
    const one = this.#kept.get(id);
    if (!this.up || one?.engine === undefined) return false;
    const { phase, since } = one.replica;
    if (phase !== "ready" && !(phase === "draining" && now - since < settleMs)) return false;
    const over = (): void => this.#carrying(one, -1);
    this.#carrying(one, 1);
    one.engine.take({
      ...job,
      ends: (at, itlMs) => {
        over();
        job.ends(at, itlMs);
      },
      cut: (at, written) => {
        over();
        job.cut(at, written);
      },
    }, now);
    return true;
  }

  #carrying(one: Kept, by: number): void {
    const { replica } = one;
    // while it is ready that is all that `step` does
    if (replica.phase === "ready") replica.inFlight += by;
    else this.#tell(one, { type: "carrying", inFlight: replica.inFlight + by });
  }

  whyCut(id: string, now: number): Cut {
    const one = this.#kept.get(id);
    if (!this.up || one === undefined) return "lost";
    return now >= (one.replica.drain?.until ?? Number.POSITIVE_INFINITY) ? "drained" : "stopped";
  }

  /** For checks: what runs or is to. */
  alive(): Replica[] {
    return this.up ? [...this.#kept.values()].map(({ replica }) => replica).filter(({ phase }) => !isOver(phase)) : [];
  }

  /** The world ends: what is held is accounted for. */
  close(now: number): void {
    for (const one of this.#kept.values()) if (!isOver(one.replica.phase)) this.#account(one, now);
  }
}

const neverProbed = { path: "/", initialDelayMs: 0, timeoutMs: 1, intervalMs: 1, failureThresholdMs: 0, headers: {} };
