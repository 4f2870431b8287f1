import { DurableObject } from "cloudflare:workers";
import { bundleBytesMax, bundleSchema, type Bundle } from "../../schema/bundle.ts";
import type { DecisionRecord, Recalled } from "../../schema/decision.ts";
import { agentMessageSchema, closeCodes, linkBytesMax, linkTimes, ping, pong, protocol, protocolMin, type AgentMessage, type Assign, type AssignedReplica, type Challenge, type Hello, type HubMessage, type ReplicaState } from "../../schema/protocol.ts";
import { quarantinesSchema, type Quarantine } from "../../schema/quarantine.ts";
import { isRegion, type Region } from "../../schema/region.ts";
import type { RegionStatus, Snapshot, ViewUpdate } from "../../schema/snapshot.ts";
import { toBase64 } from "../../schema/seal.ts";
import type { Task } from "../../schema/task.ts";
import { closeQuietly } from "../closeQuietly.ts";
import type { FleetEnv } from "../env.ts";
import { place } from "../scale/place.ts";
import { regionsOf } from "../regions.ts";
import { owned } from "./claims.ts";
import { fighting, holds, noted, type Clone, type Takeover } from "./clones.ts";
import { Decisions } from "./decisions.ts";
import { fleetMetrics } from "./metrics.ts";
import { checkHello } from "./proof.ts";
import { added, lasting } from "./quarantines.ts";
import { heartbeat, isLost, newRow, report, snapshot, status, substance, type HostRow } from "./roster.ts";
import { signTicket } from "./ticket.ts";

/** Data links that an agent holds: two, so that one may fail (facts/failures.md §2). */
const relaysPerHost = 2;
/** Another region's copy older than this is asked for again, behind the answer. */
const exchangeMs = 1_000;

/** What a control link's socket keeps through hibernation. */
interface LinkState {
  challenge?: Challenge;
  host?: string;
  epoch?: number;
  heardAt?: number;
  /** Which run of the agent it is. */
  instance?: string;
  /** Closed from here: whatever still comes by it counts for nothing. */
  over?: boolean;
}

interface Assignment {
  generation: number;
  replicas: AssignedReplica[];
}

/**
 * One per region: agents' control links, the roster, and the region's snapshot.
 *
 * Storage (synchronous key-value on SQLite): `bundle` the last good one as JSON; `host:<id>` a `HostRow`, written when its
 * substance changes; `assign:<id>` an `Assignment`; `task:<digest>` tasks that may still be running; `number:<service>` the last
 * number given; `epoch:<id>` the last session of a host; `takeovers:<id>` connections that took over from others of its own, and
 * `clone:<id>` that its identity is in two places;
 * `quarantined` the requests that are refused. When a host was last heard lives in its socket's attachment: no write
 * per heartbeat.
 */
export class Hub extends DurableObject<FleetEnv> {
  readonly #region: Region;
  readonly #awakeSince = Date.now();
  readonly #rows = new Map<string, HostRow>();
  /** What is stored of them. */
  readonly #assignments = new Map<string, Assignment>();
  readonly #others = new Map<Region, { snapshot: Snapshot; at: number }>();
  #asking = false;
  #bundle: Bundle | undefined;
  #quarantined: Quarantine[] = [];
  #unplaced: RegionStatus["unplaced"] = [];
  /** In memory only: they are told once, cost no write, and a restart may forget them. */
  readonly #decisions = new Decisions();

  constructor(ctx: DurableObjectState, env: FleetEnv) {
    super(ctx, env);
    const name = ctx.id.name ?? "";
    if (!isRegion(name)) throw new Error(`Cannot start a Hub named "${name}": it is no region`);
    this.#region = name;
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(ping, pong));
    const stored = ctx.storage.kv.get<string>("bundle");
    if (stored !== undefined) this.#bundle = JSON.parse(stored) as Bundle;
    this.#quarantined = ctx.storage.kv.get<Quarantine[]>("quarantined") ?? [];
    for (const [, row] of ctx.storage.kv.list<HostRow>({ prefix: "host:" })) this.#rows.set(row.id, { ...row, linkUp: false });
    for (const socket of ctx.getWebSockets()) {
      const { host, epoch, heardAt } = this.#link(socket);
      const row = host === undefined ? undefined : this.#rows.get(host);
      if (row !== undefined && row.epoch === epoch) this.#rows.set(row.id, { ...row, linkUp: true, heardAt: Math.max(row.heardAt, heardAt ?? 0) });
    }
    // whoever does not come back within a lease of this waking is lost
    if ([...this.#rows.values()].some((row) => !row.linkUp)) void this.#wakeAt(this.#awakeSince + linkTimes.leaseMs);
  }

  // ——— what the router and control ask ———

  /**
   * Take over a bundle. It is checked here too: the consumer keeps its last good one whatever it is sent.
   *
   * @returns the version in use afterwards; higher than the one sent when that was stale
   */
  async publish(sent: Bundle): Promise<{ version: number }> {
    const bundle = bundleSchema.parse(sent);
    const known = this.#bundle?.route.version ?? 0;
    if (bundle.route.version < known) return { version: known };
    const text = JSON.stringify(bundle);
    if (text.length > bundleBytesMax) throw new Error(`Cannot take over bundle ${bundle.route.version}: it is ${text.length} bytes, at most ${bundleBytesMax} fit`);
    this.ctx.storage.kv.put("bundle", text);
    this.#bundle = bundle;
    this.#dropRevoked();
    this.#replan();
    return { version: bundle.route.version };
  }

  /** What an isolate lacks: the bundle if its own is older than ours, and every region's snapshot. */
  async view(bundleVersion: number): Promise<ViewUpdate> {
    const route = this.#bundle?.route;
    await this.#exchange();
    return {
      bundleVersion: route?.version ?? 0,
      ...(route !== undefined && route.version > bundleVersion ? { route } : {}),
      snapshots: [this.snapshot(), ...[...this.#others.values()].map((other) => other.snapshot)],
    };
  }

  /** This region's roster, dated. */
  snapshot(): Snapshot {
    const now = Date.now();
    const quarantined = this.#quarantined.length === 0 ? [] : lasting(this.#quarantined, now);
    return { ...snapshot(this.#rows.values(), this.#region, now), ...(quarantined.length === 0 ? {} : { quarantined }) };
  }

  status(): RegionStatus {
    const generations = new Map<string, number>();
    for (const id of this.#rows.keys()) generations.set(id, this.#assignment(id).generation);
    return status(
      { rows: this.#rows, hosts: this.#bundle?.fleet.hosts ?? [], generations, region: this.#region, bundleVersion: this.#bundle?.route.version ?? 0, unplaced: this.#unplaced, awakeSince: this.#awakeSince, clones: this.#clones() },
      Date.now(),
    );
  }

  /** The whole fleet's metrics, in Prometheus text. A region that does not answer is left out. */
  async metrics(): Promise<{ text: string; contentType: string }> {
    const others = regionsOf(this.env).filter((region) => region !== this.#region);
    const answers = await Promise.allSettled(others.map((region) => this.env.HUB.getByName(region).status()));
    return fleetMetrics([this.status(), ...answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []))]);
  }

  /** What isolates near here decided, oldest first. */
  record(batch: readonly DecisionRecord[]): void {
    this.#decisions.add(batch);
  }

  /**
   * Requests that an isolate near here refuses, because replicas died of them. All others are told with the next snapshot.
   *
   * @throws when it is not what the schema says; nothing of it is kept then
   */
  quarantine(told: readonly Quarantine[]): void {
    this.#quarantined = added(this.#quarantined, quarantinesSchema.parse(told), Date.now());
    this.ctx.storage.kv.put("quarantined", this.#quarantined);
  }

  /** What became of a request, if an isolate has told this Hub and it has not forgotten. */
  explain(requestId: string): Recalled {
    const decision = this.#decisions.find(requestId);
    return { ...(decision === undefined ? {} : { decision }), kept: this.#decisions.size, keptMax: this.#decisions.max, since: this.#awakeSince };
  }

  /** Other regions' snapshots: the first time is waited for, later ones are fetched behind the answer. */
  async #exchange(): Promise<void> {
    const others = regionsOf(this.env).filter((region) => region !== this.#region);
    const now = Date.now();
    const due = others.filter((region) => now - (this.#others.get(region)?.at ?? 0) > exchangeMs);
    if (due.length === 0 || this.#asking) return;
    this.#asking = true;
    const work = Promise.allSettled(
      due.map(async (region) => {
        const copy = await this.env.HUB.getByName(region).snapshot();
        this.#others.set(region, { snapshot: copy, at: Date.now() });
      }),
    ).finally(() => {
      this.#asking = false;
    });
    if (due.some((region) => !this.#others.has(region))) await work;
    else this.ctx.waitUntil(work);
  }

  // ——— agents' control links ———

  /** An upgrade that the fleet Worker has let through. */
  override async fetch(): Promise<Response> {
    const { 0: client, 1: server } = new WebSocketPair();
    const challenge: Challenge = { type: "challenge", nonce: toBase64(crypto.getRandomValues(new Uint8Array(32))), protocol, protocolMin, region: this.#region };
    this.ctx.acceptWebSocket(server);
    server.serializeAttachment({ challenge } satisfies LinkState);
    server.send(JSON.stringify(challenge satisfies HubMessage));
    // a socket that does not prove itself in time is closed
    setTimeout(() => {
      if (this.#link(server).host === undefined) closeQuietly(server, closeCodes.policy, "no hello in time");
    }, linkTimes.authMs);
    return new Response(null, { status: 101, webSocket: client });
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    const link = this.#link(socket);
    const limit = link.host === undefined ? linkBytesMax.beforeHello : linkBytesMax.afterHello;
    if (typeof message !== "string" || message.length > limit) return closeQuietly(socket, closeCodes.policy, "not a text message, or too long");
    let json: unknown;
    try {
      json = JSON.parse(message);
    } catch {
      return closeQuietly(socket, closeCodes.policy, "not JSON");
    }
    const parsed = agentMessageSchema.safeParse(json);
    if (!parsed.success) {
      // a newer agent may say what this Hub does not know; a known message that is malformed ends the link
      const type = typeof json === "object" && json !== null && "type" in json ? json.type : undefined;
      if (link.host !== undefined && typeof type === "string" && !knownTypes.has(type)) return;
      return closeQuietly(socket, closeCodes.policy, "malformed message");
    }
    if (link.host === undefined) {
      if (parsed.data.type !== "hello" || link.challenge === undefined) return closeQuietly(socket, closeCodes.policy, "hello expected");
      return this.#hello(socket, link.challenge, parsed.data);
    }
    await this.#heard(socket, link, parsed.data);
  }

  async #hello(socket: WebSocket, challenge: Challenge, hello: Hello): Promise<void> {
    // a Hub that has been told nothing yet cannot tell a stranger from a friend: come again soon
    if (this.#bundle === undefined) return closeQuietly(socket, closeCodes.tryAgainLater, "no bundle has reached this hub yet");
    const host = this.#bundle.fleet.hosts.find(({ id }) => id === hello.host);
    const now = Date.now();
    const verdict = await checkHello(challenge, hello, host, now);
    if (verdict !== "ok") return closeQuietly(socket, verdict.code, verdict.reason);
    const epoch = (this.ctx.storage.kv.get<number>(`epoch:${hello.host}`) ?? 0) + 1;
    this.ctx.storage.kv.put(`epoch:${hello.host}`, epoch);
    const known = this.#rows.get(hello.host);
    const clone = this.#takeOver(socket, hello, epoch, host?.releases ?? 0, now);
    if (clone !== undefined) {
      if (known !== undefined) this.#put({ ...known, epoch, linkUp: false, relays: [] });
      await this.#wakeAt((known?.heardAt ?? now) + linkTimes.leaseMs);
      // an agent that does not know the code would be back at once
      return closeQuietly(socket, hello.protocol >= 3 ? closeCodes.quarantined : closeCodes.unauthorized, clone.reason);
    }
    socket.serializeAttachment({ host: hello.host, epoch, heardAt: now, ...(hello.instance === undefined ? {} : { instance: hello.instance }) } satisfies LinkState);
    // The roster keeps what was known until the first heartbeat says what is: nothing flaps while an agent reconnects.
    this.#put(known === undefined ? newRow(hello.host, epoch, now) : { ...known, epoch, linkUp: true, heardAt: now, relays: [] });
    send(socket, { type: "welcome", protocol: Math.min(protocol, hello.protocol), epoch, heartbeatMs: linkTimes.heartbeatMs, leaseMs: linkTimes.leaseMs, relays: await this.#tickets(hello.host, epoch) });
    this.#replan();
    send(socket, this.#assign(hello.host));
  }

  /** Ends a host's other connections. Undefined, or that its identity is in two places: then this one is to go as well. */
  #takeOver(socket: WebSocket, { host, instance }: Hello, epoch: number, releases: number, now: number): Clone | undefined {
    const { kv } = this.ctx.storage;
    const stored = kv.get<Clone>(`clone:${host}`);
    let clone = stored !== undefined && holds(stored, { releases }) ? stored : undefined;
    if (stored !== undefined && clone === undefined) kv.delete(`clone:${host}`);
    const others = this.ctx.getWebSockets().filter((other) => other !== socket && this.#link(other).host === host && this.#link(other).over !== true);
    const went = others.length === 0 ? undefined : this.#link(others[others.length - 1] ?? socket).instance;
    if (clone === undefined && others.length > 0) {
      const takeovers = noted(kv.get<Takeover[]>(`takeovers:${host}`) ?? [], { at: now, ...(instance === undefined ? {} : { came: instance }), ...(went === undefined ? {} : { went }) });
      const reason = fighting(takeovers, now);
      if (reason === undefined) kv.put(`takeovers:${host}`, takeovers);
      else {
        clone = { since: now, reason, releases };
        kv.put(`clone:${host}`, clone);
        kv.delete(`takeovers:${host}`);
      }
    }
    for (const other of others) {
      other.serializeAttachment({ ...this.#link(other), over: true } satisfies LinkState);
      if (clone === undefined) closeQuietly(other, closeCodes.superseded, "a newer connection has taken over");
      else closeQuietly(other, closeCodes.quarantined, clone.reason);
    }
    // the data links of one run go on through a new control link; those of another run do not
    if (clone !== undefined || (others.length > 0 && instance !== undefined && instance !== went)) {
      for (let index = 0; index < relaysPerHost; index++) this.ctx.waitUntil(this.env.RELAY.getByName(`${host}/${index}`).fence(epoch));
    }
    return clone;
  }

  /** The hosts of this region that are shut out now. */
  #clones(): Map<string, Clone> {
    const clones = new Map<string, Clone>();
    for (const [key, clone] of this.ctx.storage.kv.list<Clone>({ prefix: "clone:" })) {
      const id = key.slice("clone:".length);
      const host = this.#bundle?.fleet.hosts.find((one) => one.id === id);
      if (host !== undefined && holds(clone, host)) clones.set(id, clone);
    }
    return clones;
  }

  async #heard(socket: WebSocket, link: LinkState, message: AgentMessage): Promise<void> {
    const row = link.host === undefined ? undefined : this.#rows.get(link.host);
    // a superseded session has no say; its socket is on its way out
    if (row === undefined || link.epoch !== row.epoch) return closeQuietly(socket, closeCodes.superseded, "a newer connection has taken over");
    if (message.type === "hello" || message.epoch !== row.epoch) return closeQuietly(socket, closeCodes.policy, "wrong epoch or a second hello");
    const now = Date.now();
    socket.serializeAttachment({ ...link, heardAt: now } satisfies LinkState);
    switch (message.type) {
      case "heartbeat": {
        const next = heartbeat(row, { ...message, replicas: owned(message.replicas, this.#assignment(row.id).replicas) }, now);
        if (!this.#put(next)) return;
        // one that missed an assignment is told again
        if (message.generation < this.#assignment(row.id).generation) send(socket, this.#assign(row.id));
        return this.#replan();
      }
      case "report":
        for (const replica of owned([message.replica], this.#assignment(row.id).replicas)) if (this.#put(report(row, replica, now))) this.#replan();
        return;
      case "tickets":
        return send(socket, { type: "relays", relays: await this.#tickets(row.id, row.epoch) });
      case "goodbye":
        this.#put({ ...row, heardAt: 0, linkUp: false, relays: [], replicas: [] });
        closeQuietly(socket, 1000, "goodbye");
        return this.#replan();
    }
  }

  override async webSocketClose(socket: WebSocket, code: number): Promise<void> {
    const { host, epoch } = this.#link(socket);
    const row = host === undefined ? undefined : this.#rows.get(host);
    closeQuietly(socket, code, "");
    if (row === undefined || row.epoch !== epoch || !row.linkUp) return;
    // Out of routing at once; its places are kept for it until its lease is over.
    this.#put({ ...row, linkUp: false, relays: [] });
    await this.#wakeAt(row.heardAt + linkTimes.leaseMs);
  }

  override async webSocketError(socket: WebSocket): Promise<void> {
    await this.webSocketClose(socket, 1006);
  }

  override async alarm(): Promise<void> {
    this.#replan();
  }

  // ——— placing ———

  /** Compare what is assigned with what should be, and tell the hosts for which it differs. */
  #replan(): void {
    const bundle = this.#bundle;
    if (bundle === undefined) return;
    const { kv } = this.ctx.storage;
    const now = Date.now();
    const hosts = bundle.fleet.hosts.filter((host) => host.region === this.#region);
    const services = bundle.fleet.services.map(({ task, replicas }) => ({ task, count: replicas[this.#region] ?? 0 }));
    for (const { task } of services) if (kv.get(`task:${task.digest}`) === undefined) kv.put(`task:${task.digest}`, task);
    const tasks = new Map<string, Omit<Task, "sealedSecrets">>();
    for (const [key, task] of kv.list<Omit<Task, "sealedSecrets">>({ prefix: "task:" })) tasks.set(key.slice("task:".length), task);
    for (const { task } of services) tasks.set(task.digest, task);

    const before = new Map(hosts.map(({ id }) => [id, this.#assignment(id)]));
    const states = new Map<string, ReplicaState>();
    for (const row of this.#rows.values()) for (const replica of row.replicas) states.set(replica.id, replica);
    const { assigned, unplaced } = place({
      region: this.#region,
      services,
      hosts: hosts.map(({ id, revoked }) => {
        const row = this.#rows.get(id);
        const lost = revoked || isLost(row, now, this.#awakeSince);
        return { id, usable: !lost && (row?.linkUp ?? false) && !(row?.draining ?? false), lost, gpus: row?.gpus ?? 0 };
      }),
      assigned: new Map([...before].map(([id, { replicas }]) => [id, replicas])),
      states,
      removed: new Set(bundle.fleet.removed),
      tasks,
      nextNumber: (service) => {
        const number = (kv.get<number>(`number:${service}`) ?? 0) + 1;
        kv.put(`number:${service}`, number);
        return number;
      },
    });
    this.#unplaced = unplaced;
    const used = new Set(services.map(({ task }) => task.digest));
    for (const [host, replicas] of assigned) {
      const was = before.get(host) ?? { generation: 0, replicas: [] };
      for (const { digest } of replicas) used.add(digest);
      if (JSON.stringify(was.replicas) === JSON.stringify(replicas)) continue;
      const assignment: Assignment = { generation: was.generation + 1, replicas };
      kv.put(`assign:${host}`, assignment);
      this.#assignments.set(host, assignment);
      for (const socket of this.ctx.getWebSockets()) if (this.#link(socket).host === host) send(socket, this.#assign(host));
    }
    for (const digest of tasks.keys()) if (!used.has(digest)) kv.delete(`task:${digest}`);
  }

  #assignment(host: string): Assignment {
    let assignment = this.#assignments.get(host);
    if (assignment === undefined) {
      assignment = this.ctx.storage.kv.get<Assignment>(`assign:${host}`) ?? { generation: 0, replicas: [] };
      this.#assignments.set(host, assignment);
    }
    return assignment;
  }

  /** The desired state of a host, with each task that it needs and the secrets sealed to it. */
  #assign(host: string): Assign {
    const { generation, replicas } = this.#assignment(host);
    const tasks: Task[] = [];
    for (const digest of new Set(replicas.map((replica) => replica.digest))) {
      const current = this.#bundle?.fleet.services.find(({ task }) => task.digest === digest);
      const task = current?.task ?? this.ctx.storage.kv.get<Omit<Task, "sealedSecrets">>(`task:${digest}`);
      if (task === undefined) continue;
      const sealedSecrets = current?.sealedSecrets[host];
      tasks.push(sealedSecrets === undefined ? task : { ...task, sealedSecrets });
    }
    return { type: "assign", generation, tasks, replicas };
  }

  /** A revoked host's links are closed at once, data links too. */
  #dropRevoked(): void {
    const good = new Set(this.#bundle?.fleet.hosts.filter(({ revoked }) => !revoked).map(({ id }) => id));
    for (const socket of this.ctx.getWebSockets()) {
      const { host } = this.#link(socket);
      if (host !== undefined && !good.has(host)) closeQuietly(socket, closeCodes.unauthorized, "the host is revoked");
    }
    for (const row of this.#rows.values()) {
      if (good.has(row.id)) continue;
      for (let index = 0; index < relaysPerHost; index++) this.ctx.waitUntil(this.env.RELAY.getByName(`${row.id}/${index}`).drop());
      this.#rows.delete(row.id);
      this.ctx.storage.kv.delete(`host:${row.id}`);
      this.ctx.storage.kv.delete(`assign:${row.id}`);
      this.#assignments.delete(row.id);
      for (const kind of ["takeovers", "clone"]) this.ctx.storage.kv.delete(`${kind}:${row.id}`);
    }
  }

  // ——— small parts ———

  #link(socket: WebSocket): LinkState {
    return (socket.deserializeAttachment() as LinkState | null) ?? {};
  }

  /** Put a row in the roster. True when its substance has changed; only then is it written. */
  #put(row: HostRow): boolean {
    const before = this.#rows.get(row.id);
    this.#rows.set(row.id, row);
    if (before !== undefined && substance(before) === substance(row)) return false;
    this.ctx.storage.kv.put(`host:${row.id}`, row);
    return true;
  }

  #tickets(host: string, epoch: number): Promise<{ index: number; ticket: string }[]> {
    const now = Date.now();
    return Promise.all(Array.from({ length: relaysPerHost }, async (_, index) => ({ index, ticket: await signTicket(this.env.FAIRLEAD_TICKET_KEY, `${host}/${index}`, epoch, now) })));
  }

  /** One alarm an object: the earlier one stands. A little late, so that the lease is over when it rings. */
  async #wakeAt(at: number): Promise<void> {
    const due = Math.max(at, Date.now()) + 100;
    const set = await this.ctx.storage.getAlarm();
    if (set === null || set > due) await this.ctx.storage.setAlarm(due);
  }
}

const knownTypes: ReadonlySet<string> = new Set(agentMessageSchema.options.map((option) => option.shape.type.value));

function send(socket: WebSocket, message: HubMessage): void {
  try {
    socket.send(JSON.stringify(message));
  } catch {
    // the socket is closing: its close event does what is needed
  }
}
