import { DurableObject } from "cloudflare:workers";
import { bundleBytesMax, bundleSchema, type Bundle } from "../../schema/bundle.ts";
import type { DecisionRecord, Recalled } from "../../schema/decision.ts";
import { gateKeyOf } from "../../schema/gate.ts";
import { closeCodes, linkTimes, ping, pong, protocol, protocolMin, type AgentMessage, type Challenge, type Hello, type HubMessage } from "../../schema/protocol.ts";
import { quarantinesSchema, type Quarantine } from "../../schema/quarantine.ts";
import { isRegion, type Region } from "../../schema/region.ts";
import type { Desire, RegionFacts } from "../../schema/scale.ts";
import type { RegionStatus, RosterVersion, Snapshot, SnapshotChange, ViewUpdate } from "../../schema/snapshot.ts";
import { toBase64 } from "../../schema/seal.ts";
import { toldSchema, type Told } from "../../schema/telemetry.ts";
import { closeQuietly } from "../closeQuietly.ts";
import type { FleetEnv } from "../env.ts";
import { brakeReason, nextLook } from "../scale/brake.ts";
import { regionsOf } from "../regions.ts";
import { Changes } from "./changes.ts";
import { owned } from "./claims.ts";
import type { Clone } from "./clones.ts";
import { Decisions } from "./decisions.ts";
import { Exchange } from "./exchange.ts";
import { enrolledIn, hostsOf } from "./hosts.ts";
import { changesOf, Journal, type After, type JournalEntry } from "./journal.ts";
import { isReadable, Links, readMessage, send, type LinkState } from "./links.ts";
import { fleetMetrics, type RegionFigures } from "./metrics.ts";
import { Placing } from "./placing.ts";
import { checkHello } from "./proof.ts";
import { added, lasting } from "./quarantines.ts";
import { heartbeat, newRow, replanSpacingMs, report, returned, snapshot, status, substance, type HostRow } from "./roster.ts";
import { scaleFacts } from "./scaleFacts.ts";
import { Scaling } from "./scaling.ts";
import { spreadMs } from "./spread.ts";
import { Takeovers } from "./takeovers.ts";
import { Traffic } from "./telemetry.ts";
import { signTicket } from "./ticket.ts";
import { Unchanged } from "./unchanged.ts";

/** Data links that an agent holds: two, so that one may fail, and up to four where it asks for more (facts/failures.md §2). */
const relaysPerHost = 2;
const relaysPerHostMax = 4;

/**
 * One per region: agents' control links, the roster, and the region's snapshot.
 *
 * Storage (synchronous key-value on SQLite): `bundle` the last good one as JSON; `host:<id>` a `HostRow`, written when its
 * substance changes; `epoch:<id>` the last session of a host; `quarantined` the requests that are refused; and what
 * `Placing`, `Scaling` and `Takeovers` keep. When a host was last heard is not kept, so a heartbeat writes nothing: a Hub that
 * wakes counts from its waking for those whose sockets are open.
 */
export class Hub extends DurableObject<FleetEnv> {
  readonly #region: Region;
  readonly #awakeSince = Date.now();
  readonly #rows = new Map<string, HostRow>();
  readonly #links = new Links();
  readonly #placing: Placing;
  readonly #takeovers: Takeovers;
  readonly #scaling: Scaling;
  readonly #unchanged = new Unchanged();
  readonly #changes = new Changes();
  /** Of this waking. */
  readonly #stamp = crypto.randomUUID();
  /** Hosts that were connected when this Hub went to sleep or was lost, and have not come back since. */
  readonly #unheard = new Set<string>();
  #plannedAt = 0;
  #planning: ReturnType<typeof setTimeout> | undefined;
  readonly #exchange: Exchange;
  #bundle: Bundle | undefined;
  #quarantined: Quarantine[] = [];
  /** In memory only: they are told once, cost no write, and a restart may forget them. */
  readonly #decisions = new Decisions();
  readonly #traffic = new Traffic();
  readonly #journal = new Journal();

  constructor(ctx: DurableObjectState, env: FleetEnv) {
    super(ctx, env);
    const name = ctx.id.name ?? "";
    if (!isRegion(name)) throw new Error(`Cannot start a Hub named "${name}": it is no region`);
    this.#region = name;
    this.#exchange = new Exchange({ regions: regionsOf(env).filter((region) => region !== name), ask: (region) => env.HUB.getByName(region).snapshot(), now: Date.now });
    this.#takeovers = new Takeovers(ctx.storage.kv);
    this.#scaling = new Scaling({ kv: ctx.storage.kv, wake: (service) => this.#wakeScaler(service) });
    this.#placing = new Placing({
      region: name, awakeSince: this.#awakeSince, kv: ctx.storage.kv, scaling: this.#scaling,
      onBrake: (brake) => console.warn(JSON.stringify({ message: brake === undefined ? "the brake is off" : "the brake is on", region: name, ...brake })),
    });
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(ping, pong));
    const stored = ctx.storage.kv.get<string>("bundle");
    if (stored !== undefined) this.#bundle = JSON.parse(stored) as Bundle;
    this.#quarantined = ctx.storage.kv.get<Quarantine[]>("quarantined") ?? [];
    for (const [, row] of ctx.storage.kv.list<HostRow>({ prefix: "host:" })) {
      this.#rows.set(row.id, { ...row, linkUp: false, gone: row.linkUp ? { since: this.#awakeSince, relays: row.relays } : row.gone, readings: undefined });
      if (row.linkUp) this.#unheard.add(row.id);
    }
    for (const socket of ctx.getWebSockets()) {
      const { host, epoch } = this.#links.of(socket);
      const row = host === undefined ? undefined : this.#rows.get(host);
      if (row === undefined || row.epoch !== epoch) continue;
      this.#rows.set(row.id, { ...row, linkUp: true, gone: undefined, heardAt: this.#awakeSince });
      this.#links.sessions.set(row.id, socket);
      this.#unheard.delete(row.id);
    }
    this.#placing.press(this.#rows, this.#awakeSince);
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
    this.#scaling.published(bundle);
    this.#dropRevoked();
    this.#replan();
    return { version: bundle.route.version };
  }

  /** What an isolate lacks: the bundle if its own is older than ours, and every region's snapshot. */
  async view(bundleVersion: number, known: Partial<Record<Region, RosterVersion | undefined>> = {}): Promise<ViewUpdate> {
    const route = this.#bundle?.route;
    const asked = this.#exchange.refresh();
    if (asked?.first === true) await asked.work;
    else if (asked !== undefined) this.ctx.waitUntil(asked.work);
    const change = this.#changesSince(known[this.#region]);
    const others = this.#exchange.snapshots;
    return {
      bundleVersion: route?.version ?? 0,
      scales: this.#scaling.scales(),
      ...(route !== undefined && route.version > bundleVersion ? { route } : {}),
      ...(change === undefined ? { snapshots: [this.snapshot(), ...others] } : { snapshots: others, changes: [change] }),
    };
  }

  /** For an isolate that has a version of this waking's; undefined when it needs the whole. */
  #changesSince(known: RosterVersion | undefined): SnapshotChange | undefined {
    if (known?.stamp !== this.#stamp || this.#placing.losses.brake !== undefined) return undefined;
    const change = this.#changes.since(known.number, this.#rows);
    if (change === undefined) return undefined;
    const now = Date.now();
    const quarantined = this.#quarantined.length === 0 ? [] : lasting(this.#quarantined, now);
    return { region: this.#region, takenAt: now, since: known.number, version: { stamp: this.#stamp, number: this.#changes.number }, ...change, ...(quarantined.length === 0 ? {} : { quarantined }) };
  }

  /** This region's roster, dated. */
  snapshot(): Snapshot {
    const now = Date.now();
    const quarantined = this.#quarantined.length === 0 ? [] : lasting(this.#quarantined, now);
    const unheard = now - this.#awakeSince > linkTimes.leaseMs || this.#unheard.size === 0 ? undefined : { hosts: this.#unheard, since: this.#awakeSince };
    // what is told of hosts that were not heard yet, or while the brake is on, ends by time, which is no change of theirs
    const version = unheard === undefined && this.#placing.losses.brake === undefined ? { version: { stamp: this.#stamp, number: this.#changes.number } } : {};
    const known = snapshot(this.#rows.values(), this.#region, now, unheard);
    return { ...this.#placing.losses.table(known, this.#rows, now), ...version, ...(quarantined.length === 0 ? {} : { quarantined }) };
  }

  status(): RegionStatus {
    const generations = new Map<string, number>();
    for (const id of this.#rows.keys()) generations.set(id, this.#placing.assignments.of(id).generation);
    const now = Date.now();
    const seen = status(
      { rows: this.#rows, hosts: this.#bundle?.fleet.hosts ?? [], generations, region: this.#region, bundleVersion: this.#bundle?.route.version ?? 0, unplaced: this.#placing.unplaced, awakeSince: this.#awakeSince, clones: this.#takeovers.clones(this.#bundle === undefined ? undefined : hostsOf(this.#bundle)) },
      now,
    );
    const { brake } = this.#placing.losses;
    return { ...seen, traffic: this.#traffic.rows(now, this.#awakeSince), scales: this.#scaling.status(), refusals: this.#placing.refusals(now), ...(brake === undefined ? {} : { braked: brakeReason(brake) }) };
  }

  /** The whole fleet's metrics, in Prometheus text. A region that does not answer is left out. */
  async metrics(): Promise<{ text: string; contentType: string }> {
    const others = regionsOf(this.env).filter((region) => region !== this.#region);
    const answers = await Promise.allSettled(others.map(async (region) => (await this.env.HUB.getByName(region).figures()) as RegionFigures));
    return fleetMetrics([this.figures(), ...answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []))]);
  }

  /** This region's part of the metrics. */
  figures(): RegionFigures {
    const now = Date.now();
    // rates are from scrape to scrape: a heartbeat costs nothing for them
    for (const { linkUp, replicas } of this.#rows.values()) if (linkUp) for (const { id, service, requests } of replicas) if (requests !== undefined) this.#traffic.asked(id, service, requests, now);
    return { status: this.status(), counted: this.#traffic.counted(now) };
  }

  /**
   * What isolates near here decided, oldest first, and what they counted since they told last.
   *
   * @throws when the counts are not what the schema says; the decisions are kept
   */
  record(batch: readonly DecisionRecord[], told?: Told): void {
    this.#decisions.add(batch);
    if (told === undefined) return;
    const now = Date.now();
    const parsed = toldSchema.parse(told);
    this.#traffic.merge(parsed, now);
    this.#scaling.wakeFor(new Set(parsed.cells.map(({ service }) => service)), this.#bundle, now);
  }

  /**
   * A request near here finds no replica of a service ready; with what its isolate has counted by now.
   *
   * @throws when the counts are not what the schema says
   */
  wanted(service: string, told?: Told): void {
    this.record([], told);
    this.#scaling.wanted(service, this.#bundle);
  }

  /** Requests to a service that this Hub was told of after so many, and what it decided about it; for logs. A new `since` counts from 0. */
  told(kind: "requests" | "journal", service: string, number: number, max: number): (After<DecisionRecord> | After<JournalEntry>) & { since: number } {
    const list = kind === "requests" ? this.#decisions.after(number, service, max) : this.#journal.after(number, service, max);
    return { ...list, since: this.#awakeSince };
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

  // ——— what Scalers ask ———

  /** What is known here of a service. */
  scaleFacts(service: string): RegionFacts {
    const now = Date.now();
    this.#scaling.asked(service, now);
    const bundle = this.#bundle;
    const own = bundle?.route.services.find(({ name }) => name === service)?.replicas.name ?? "";
    return scaleFacts(service, {
      region: this.#region, stamp: this.#stamp, bundle, rows: this.#rows, awakeSince: this.#awakeSince,
      assigned: (host) => this.#placing.assignments.of(host).replicas,
      hosts: this.#placing.hostsFor(service, bundle, this.#rows, now), hasRefused: (host, digest) => this.#placing.hasRefused(host, digest),
      demand: this.#traffic.demand(service, own, now), versions: this.#traffic.versions(service),
      generation: this.#scaling.desires.of(service)?.generation ?? 0, unplaced: this.#placing.unplaced, braked: this.#placing.losses.brake !== undefined,
    }, now);
  }

  #wakeScaler(service: string): void {
    this.ctx.waitUntil(this.env.SCALER.getByName(service).wake().catch((error: unknown) => console.warn(JSON.stringify({ message: "a scaler was not woken", service, error: String(error) }))));
  }

  /** What a Scaler wants now. One that is late or repeated changes nothing. */
  desire(desire: Desire): void {
    const news = this.#scaling.take(desire, this.#bundle);
    if (news === undefined) return;
    // every region hears of a decision: the operator's first one tells it
    for (const { at, action, desired, reason } of regionsOf(this.env)[0] === this.#region ? news : []) {
      this.#journal.add({ at, service: desire.service, action, text: `${desired} replica${desired === 1 ? "" : "s"} wanted: ${reason}` });
      this.#traffic.decided(desire.service, action);
    }
    this.#replan();
  }

  // ——— agents' control links ———

  /** An upgrade that the fleet Worker has let through. */
  override async fetch(): Promise<Response> {
    const { 0: client, 1: server } = new WebSocketPair();
    const challenge: Challenge = { type: "challenge", nonce: toBase64(crypto.getRandomValues(new Uint8Array(32))), protocol, protocolMin, region: this.#region };
    this.ctx.acceptWebSocket(server);
    this.#links.attach(server, { challenge });
    server.send(JSON.stringify(challenge satisfies HubMessage));
    // a socket that does not prove itself in time is closed
    setTimeout(() => {
      if (this.#links.of(server).host === undefined) closeQuietly(server, closeCodes.policy, "no hello in time");
    }, linkTimes.authMs);
    return new Response(null, { status: 101, webSocket: client });
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    const link = this.#links.of(socket);
    if (!isReadable(link, message)) return closeQuietly(socket, closeCodes.policy, "not a text message, or too long");
    if (this.#heardSame(link, message)) return;
    const said = readMessage(link, message);
    if (said === undefined) return;
    if ("refused" in said) return closeQuietly(socket, closeCodes.policy, said.refused);
    if (link.host === undefined) {
      if (said.type !== "hello" || link.challenge === undefined) return closeQuietly(socket, closeCodes.policy, "hello expected");
      return this.#hello(socket, link.challenge, said);
    }
    await this.#heard(socket, link, said, message);
  }

  /** The heartbeat that changed nothing the last time changes nothing now: it was checked then, and its row is as it left it. */
  #heardSame({ host }: LinkState, message: string): boolean {
    const row = host === undefined ? undefined : this.#rows.get(host);
    if (row === undefined || !this.#unchanged.is(message, row)) return false;
    const heard = { ...row, heardAt: Date.now() };
    this.#changes.put(row, heard);
    this.#rows.set(row.id, heard);
    this.#unchanged.took(row.id, message, heard);
    if (this.#placing.losses.sweep(this.#rows, heard.heardAt)) this.#replanSoon();
    return true;
  }

  async #hello(socket: WebSocket, challenge: Challenge, hello: Hello): Promise<void> {
    // a Hub that has been told nothing yet cannot tell a stranger from a friend: come again soon
    if (this.#bundle === undefined) return closeQuietly(socket, closeCodes.tryAgainLater, "no bundle has reached this hub yet");
    const host = hostsOf(this.#bundle).get(hello.host);
    const now = Date.now();
    const verdict = await checkHello(challenge, hello, host, now);
    if (verdict !== "ok") return closeQuietly(socket, verdict.code, verdict.reason);
    const epoch = (this.ctx.storage.kv.get<number>(`epoch:${hello.host}`) ?? 0) + 1;
    this.ctx.storage.kv.put(`epoch:${hello.host}`, epoch);
    const known = this.#rows.get(hello.host);
    const clone = this.#takeOver(hello, epoch, host?.releases ?? 0, now);
    if (clone !== undefined) {
      this.#unheard.delete(hello.host);
      if (known !== undefined) this.#put({ ...known, epoch, linkUp: false, relays: [] });
      await this.#wakeAt((known?.heardAt ?? now) + linkTimes.leaseMs);
      // an agent that does not know the code would be back at once
      return closeQuietly(socket, hello.protocol >= 3 ? closeCodes.quarantined : closeCodes.unauthorized, clone.reason);
    }
    this.#links.attach(socket, { host: hello.host, epoch, ...(hello.instance === undefined ? {} : { instance: hello.instance }) });
    this.#links.sessions.set(hello.host, socket);
    // The roster keeps what was known until the first heartbeat says what is: nothing flaps while an agent reconnects.
    const row = known === undefined ? newRow(hello.host, epoch, now) : { ...returned(known, epoch, now, this.#unheard.delete(known.id)), gone: undefined };
    this.#put({ ...row, agentVersion: hello.agentVersion, protocol: Math.min(protocol, hello.protocol), readings: undefined, relaysWanted: hello.relays });
    const [relays, gateKey] = await Promise.all([this.#tickets(hello.host, epoch, hello.relays), gateKeyOf(this.env.FAIRLEAD_TICKET_KEY, hello.host, epoch)]);
    const current = this.#rows.get(hello.host);
    if (current?.epoch === epoch) this.#put({ ...current, gateKey });
    send(socket, { type: "welcome", protocol: Math.min(protocol, hello.protocol), epoch, heartbeatMs: linkTimes.heartbeatMs, leaseMs: linkTimes.leaseMs, relays, spreadMs: spreadMs(enrolledIn(this.#bundle, this.#region)), gate: { key: gateKey, now: Date.now() } });
    this.#replanSoon();
    send(socket, this.#placing.assignments.message(hello.host, this.#bundle));
  }

  /** Ends a host's other connection. Undefined, or that its identity is in two places: then this one is to go as well. */
  #takeOver({ host, instance }: Hello, epoch: number, releases: number, now: number): Clone | undefined {
    const other = this.#links.sessions.get(host);
    const went = other === undefined ? undefined : this.#links.of(other).instance;
    const took = other === undefined ? undefined : { ...(instance === undefined ? {} : { came: instance }), ...(went === undefined ? {} : { went }) };
    const clone = this.#takeovers.judge(host, releases, took, now);
    if (other !== undefined) {
      this.#links.sessions.delete(host);
      if (clone === undefined) closeQuietly(other, closeCodes.superseded, "a newer connection has taken over");
      else closeQuietly(other, closeCodes.quarantined, clone.reason);
    }
    // the data links of one run go on through a new control link; those of another run do not
    if (clone !== undefined || (other !== undefined && instance !== undefined && instance !== went)) {
      for (let index = 0; index < relaysPerHostMax; index++) this.ctx.waitUntil(this.env.RELAY.getByName(`${host}/${index}`).fence(epoch));
    }
    return clone;
  }

  async #heard(socket: WebSocket, link: LinkState, message: AgentMessage, text: string): Promise<void> {
    const row = link.host === undefined ? undefined : this.#rows.get(link.host);
    // a superseded session has no say; its socket is on its way out
    if (row === undefined || link.epoch !== row.epoch) return closeQuietly(socket, closeCodes.superseded, "a newer connection has taken over");
    if (message.type === "hello" || message.epoch !== row.epoch) return closeQuietly(socket, closeCodes.policy, "wrong epoch or a second hello");
    const now = Date.now();
    switch (message.type) {
      case "heartbeat": {
        const next = heartbeat(row, { ...message, replicas: owned(message.replicas, this.#placing.assignments.of(row.id).replicas) }, now);
        this.#unchanged.took(row.id, text, next);
        if (!this.#put(next)) return this.#placing.losses.sweep(this.#rows, now) ? this.#replanSoon() : undefined;
        // one that missed an assignment is told again
        if (message.generation < this.#placing.assignments.of(row.id).generation) send(socket, this.#placing.assignments.message(row.id, this.#bundle));
        return this.#replanSoon();
      }
      case "report":
        for (const replica of owned([message.replica], this.#placing.assignments.of(row.id).replicas)) if (this.#put(report(row, replica, now))) this.#replanSoon();
        return;
      case "tickets":
        return send(socket, { type: "relays", relays: await this.#tickets(row.id, row.epoch, row.relaysWanted) });
      case "goodbye":
        this.#put({ ...row, heardAt: 0, linkUp: false, gone: undefined, relays: [], replicas: [] });
        closeQuietly(socket, 1000, "goodbye");
        return this.#replanSoon();
    }
  }

  override async webSocketClose(socket: WebSocket, code: number): Promise<void> {
    const { host, epoch } = this.#links.of(socket);
    const row = host === undefined ? undefined : this.#rows.get(host);
    closeQuietly(socket, code, "");
    if (host !== undefined && this.#links.sessions.get(host) === socket) this.#links.sessions.delete(host);
    if (row === undefined || row.epoch !== epoch || !row.linkUp) return;
    // Out of routing at once; its places are kept for it until its lease is over.
    this.#put({ ...row, linkUp: false, relays: [], gone: { since: Date.now(), relays: row.relays } });
    this.#placing.press(this.#rows, Date.now());
    await this.#wakeAt(row.heardAt + linkTimes.leaseMs);
  }

  override async webSocketError(socket: WebSocket): Promise<void> {
    await this.webSocketClose(socket, 1006);
  }

  override async alarm(): Promise<void> {
    this.#replan();
  }

  // ——— placing ———

  /** Placing looks at the whole fleet: where that is large and much happens at once, as when all agents come back, it is done for many changes together. */
  #replanSoon(): void {
    const spacingMs = replanSpacingMs(this.#rows.size);
    const waitMs = this.#plannedAt + spacingMs - Date.now();
    // a clock that was set back is no reason to wait
    if (waitMs <= 0 || waitMs > spacingMs) return this.#replan();
    this.#planning ??= setTimeout(() => this.#replan(), waitMs);
  }

  /** Compare what is assigned with what should be, and tell the hosts for which it differs. */
  #replan(): void {
    if (this.#planning !== undefined) clearTimeout(this.#planning);
    this.#planning = undefined;
    const bundle = this.#bundle;
    if (bundle === undefined) return;
    const now = Date.now();
    this.#plannedAt = now;
    const reassigned = this.#placing.plan(bundle, this.#rows, now);
    const { brake } = this.#placing.losses;
    if (brake !== undefined) this.ctx.waitUntil(this.#wakeAt(nextLook(brake)));
    for (const { againAt } of this.#placing.refusals(now)) this.ctx.waitUntil(this.#wakeAt(againAt));
    for (const service of this.#journal.unplaced(this.#placing.unplaced, now)) this.#traffic.decided(service, "unplaced");
    for (const { host, name, before, after } of reassigned) {
      for (const change of changesOf(before, after, name, now)) {
        this.#journal.add(change);
        this.#traffic.decided(change.service, change.action);
      }
      // what it says of its replicas is held against another list now
      this.#unchanged.forget(host);
      const socket = this.#links.sessions.get(host);
      if (socket !== undefined) send(socket, this.#placing.assignments.message(host, bundle));
    }
  }

  /** A revoked host's links are closed at once, data links too. */
  #dropRevoked(): void {
    const good = new Set(this.#bundle?.fleet.hosts.filter(({ revoked }) => !revoked).map(({ id }) => id));
    for (const socket of this.ctx.getWebSockets()) {
      const { host } = this.#links.of(socket);
      if (host !== undefined && !good.has(host)) closeQuietly(socket, closeCodes.unauthorized, "the host is revoked");
    }
    for (const row of this.#rows.values()) {
      if (good.has(row.id)) continue;
      for (let index = 0; index < relaysPerHostMax; index++) this.ctx.waitUntil(this.env.RELAY.getByName(`${row.id}/${index}`).drop());
      this.#rows.delete(row.id);
      this.#links.sessions.delete(row.id);
      this.#unheard.delete(row.id);
      this.#placing.assignments.forget(row.id);
      this.#takeovers.forget(row.id);
      this.#unchanged.forget(row.id);
      this.#changes.remove(row.id);
      this.ctx.storage.kv.delete(`host:${row.id}`);
    }
  }

  // ——— small parts ———

  /** Put a row in the roster. True when its substance has changed; only then is it written. */
  #put(row: HostRow): boolean {
    const before = this.#rows.get(row.id);
    this.#changes.put(before, row);
    this.#rows.set(row.id, row);
    if (before !== undefined && substance(before) === substance(row)) return false;
    this.ctx.storage.kv.put(`host:${row.id}`, row);
    return true;
  }

  #tickets(host: string, epoch: number, wanted = relaysPerHost): Promise<{ index: number; ticket: string }[]> {
    const now = Date.now();
    return Promise.all(Array.from({ length: Math.min(wanted, relaysPerHostMax) }, async (_, index) => ({ index, ticket: await signTicket(this.env.FAIRLEAD_TICKET_KEY, `${host}/${index}`, epoch, now) })));
  }

  /** One alarm an object: the earlier one stands. A little late, so that the lease is over when it rings. */
  async #wakeAt(at: number): Promise<void> {
    const due = Math.max(at, Date.now()) + 100;
    const set = await this.ctx.storage.getAlarm();
    if (set === null || set > due) await this.ctx.storage.setAlarm(due);
  }
}
