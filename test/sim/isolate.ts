import { Observed } from "../../edge/route/observed.ts";
import type { ReplicaRow } from "../../edge/route/candidates.ts";
import type { RequestFacts } from "../../edge/route/request.ts";
import { poolOf } from "../../edge/route/pool.ts";
import { route, type RouteFacts } from "../../edge/route/route.ts";
import { spills } from "../../edge/route/spill.ts";
import type { Region } from "../../schema/region.ts";
import type { Snapshot } from "../../schema/snapshot.ts";
import { lognormalBetween } from "./draw.ts";
import type { Asked } from "./demand.ts";
import { Told } from "./sums.ts";
import { hopMs, type HubPart, type SimService, type World } from "./world.ts";

/** As `edge/view.ts`: older than this, a view is refreshed behind the request; one that misses something may ask for news when it is so old. */
const freshMs = 1_000;
const newsMsMin = 250;
/** What isolates counted is told once a second. */
const tellMs = 1_000;
/** A dispatch that nobody answers is given up after so long (`linkTimes.dispatchAckMs`). */
const ackMs = 1_000;

/** A request on its way. */
interface Flight {
  service: SimService;
  asked: Asked;
  cameAt: number;
  attempts: number;
  tried: Map<string, string>;
  /** Tokens that its client has. */
  written: number;
  /** It was lost after its first token, and news of where it may go on was asked for. */
  asksNews: boolean;
  ttftMs: number | undefined;
  heldSince: number | undefined;
  /** It had to wait for a first replica: its time says nothing of how replicas do. */
  wasHeld: boolean;
}

/** An isolate of the router: its own view and memory, the real `route()`, attempts until one answers. */
export class Isolate {
  readonly #world: World;
  readonly #region: Region;
  readonly #hub: HubPart;
  readonly #name: string;
  /** By service, as `edge/forward/memory.ts`. */
  readonly #observed = new Map<string, Observed>();
  #snapshots = new Map<Region, Snapshot>();
  #rows = new Map<string, readonly ReplicaRow[]>();
  #shares = new Map<string, Readonly<Record<string, number>>>();
  #fetchedAt = Number.NEGATIVE_INFINITY;
  #refreshing = false;
  readonly #told = new Map<string, Told>();
  #telling = false;
  /** Requests that wait for a first replica, or for news. */
  #waiting: Flight[] = [];
  #looking = false;
  #wantedAt = Number.NEGATIVE_INFINITY;

  constructor(world: World, region: Region, hub: HubPart, name: string) {
    this.#world = world;
    this.#region = region;
    this.#hub = hub;
    this.#name = name;
  }

  // ——— view ———

  #refresh(): void {
    if (this.#refreshing) return;
    this.#refreshing = true;
    const { agenda, channel } = this.#world;
    let over = false;
    channel.call(() => {
      // each Hub's copy, as the near one has them; of one that is down, the last
      const snapshots = this.#hub.up ? this.#world.hubs.filter(({ up }) => up).map((hub) => hub.snapshot()) : undefined;
      const scales = this.#hub.scales();
      channel.call((now) => {
        if (over) return;
        over = true;
        this.#refreshing = false;
        if (snapshots === undefined) return;
        this.#shares = new Map(scales.flatMap(({ service, shares }) => (shares === undefined ? [] : [[service, shares] as const])));
        this.#take(snapshots, now);
      });
    });
    agenda.after(2 * freshMs, () => {
      if (over) return;
      over = true;
      this.#refreshing = false;
    });
  }

  #take(snapshots: readonly Snapshot[], now: number): void {
    for (const snapshot of snapshots) this.#snapshots.set(snapshot.region, snapshot);
    const rows = new Map<string, ReplicaRow[]>();
    for (const { hosts, replicas, takenAt } of this.#snapshots.values()) {
      const byId = new Map(hosts.map((host) => [host.id, host]));
      for (const replica of replicas) {
        const host = byId.get(replica.host);
        if (host === undefined) continue;
        const list = rows.get(replica.service);
        if (list === undefined) rows.set(replica.service, [{ replica, host, takenAt }]);
        else list.push({ replica, host, takenAt });
      }
    }
    this.#rows = rows;
    this.#fetchedAt = now;
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const flight of waiting) this.#attempt(flight, now);
  }

  // ——— requests ———

  #observedOf(service: string): Observed {
    let observed = this.#observed.get(service);
    if (observed === undefined) this.#observed.set(service, (observed = new Observed()));
    return observed;
  }

  take(service: SimService, asked: Asked, now: number): void {
    this.#toldOf(service.name).arrivals++;
    this.#world.tally.of(service.name).asked++;
    this.#attempt({ service, asked, cameAt: now, attempts: 0, tried: new Map(), written: 0, asksNews: false, ttftMs: undefined, heldSince: undefined, wasHeld: false }, now);
  }

  #attempt(flight: Flight, now: number): void {
    const { service, asked, tried } = flight;
    if (now - this.#fetchedAt > freshMs) this.#refresh();
    if (flight.attempts >= service.route.routing.attempts) return this.#end(flight, "failed");
    const replicas = this.#rows.get(service.name) ?? none;
    const request = factsOf(asked, flight.written);
    const observed = this.#observedOf(service.name);
    const facts: RouteFacts = { service: service.route, replicas, request, observed, shares: this.#shares.get(service.name), ...(tried.size === 0 ? {} : { blocked: tried }) };
    const pool = poolOf(replicas);
    if (service.route.providers.length > 0) {
      const full = observed.ramps.full(pool, observed.inFlight, now);
      if (full !== undefined) facts.full = full;
    }
    const decision = route(facts, this.#world.random, now);
    const candidate = decision.candidates[0];
    if (candidate?.kind !== "replica" && pool.rows.length === 0) this.#want(service.name, now);
    if (candidate === undefined) return flight.written > 0 ? this.#goOnByNews(flight, now) : this.#wait(flight, now);
    if (flight.written > 0) this.#world.tally.say(now, `an answer goes on at ${candidate.id}: ${asked.promptTokens + flight.written} tokens to read, ${asked.outputTokens - flight.written} to write`);
    flight.attempts++;
    if (flight.heldSince !== undefined) {
      flight.heldSince = undefined;
      this.#toldOf(service.name).held--;
    }
    // an isolate's clock has whole milliseconds
    const sentAt = Math.floor(now);
    observed.started(candidate.id, sentAt, request);
    if (candidate.kind === "provider") this.#provide(flight, candidate.id, spills(service.route, decision, this.#world.random), sentAt);
    else this.#dispatch(flight, candidate.id, candidate.host, candidate.version, sentAt);
  }

  /** A begun answer that nobody known can go on with: news is asked for once, as `edge/forward/legs.ts` does; it is not held. */
  #goOnByNews(flight: Flight, now: number): void {
    if (flight.asksNews) return this.#end(flight, "failed");
    flight.asksNews = true;
    if (now - this.#fetchedAt > newsMsMin) this.#refresh();
    this.#world.agenda.after(newsMsMin, (at) => this.#attempt(flight, at));
  }

  /** There is nobody: news are asked for once; then the request waits for a first replica, where its service says so. */
  #wait(flight: Flight, now: number): void {
    const { service } = flight;
    const { holdMs = 0 } = service.route.fromZero ?? {};
    if (flight.heldSince === undefined) {
      flight.heldSince = now;
      flight.wasHeld = true;
      this.#toldOf(service.name).held++;
    } else if (now - flight.heldSince >= holdMs && now - flight.cameAt > newsMsMin) {
      this.#toldOf(service.name).held--;
      return this.#end(flight, "refused");
    }
    this.#waiting.push(flight);
    if (this.#looking) return;
    this.#looking = true;
    this.#world.agenda.every(newsMsMin, (at) => {
      if (this.#waiting.length === 0) return (this.#looking = false);
      if (this.#hub.up) this.#refresh();
      // without a Hub nothing comes: those whose time is over are refused all the same
      const over = this.#waiting.filter(({ heldSince, service: { route: { fromZero } } }) => at - (heldSince ?? at) >= (fromZero?.holdMs ?? 0) + 2 * freshMs);
      this.#waiting = this.#waiting.filter((one) => !over.includes(one));
      for (const one of over) {
        this.#toldOf(one.service.name).held--;
        this.#end(one, "refused");
      }
    });
  }

  /** Its Hub is told at once that no replica takes it, so often at most. */
  #want(service: string, now: number): void {
    if (now - this.#wantedAt < newsMsMin) return;
    this.#wantedAt = now;
    this.#world.channel.call(() => this.#hub.wanted(service));
  }

  #dispatch(flight: Flight, id: string, host: string, version: number, sentAt: number): void {
    const { service, asked } = flight;
    const agent = this.#world.agent(host);
    const hop = hopMs(this.#region, agent.host.region);
    const observed = this.#observedOf(service.name);
    const over = (now: number): void => observed.ended(id, now);
    const again = (now: number, why: string): void => {
      over(now);
      flight.tried.set(id, why);
      this.#attempt(flight, now);
    };
    const fails = (service.versions?.[version]?.failures ?? 0) > this.#world.random();
    this.#world.agenda.after(hop, (at) => {
      const taken = agent.carry(id, {
        promptTokens: asked.promptTokens + flight.written,
        outputTokens: Math.max(1, asked.outputTokens - flight.written),
        chain: asked.chain,
        begins: (now) => {
          const ttftMs = now + hop - flight.cameAt;
          const heardAt = Math.floor(now + hop);
          observed.firstByte(id, heardAt - sentAt, heardAt);
          if (fails) return;
          this.#first(flight, ttftMs, false);
        },
        ends: (now, itlMs) => {
          if (fails) {
            this.#toldOf(service.name).answered(version, undefined);
            return again(now, "it failed");
          }
          over(now);
          this.#toldOf(service.name).answered(version, flight.ttftMs);
          if (asked.outputTokens > 1) this.#toldOf(service.name).gap(itlMs);
          this.#end(flight, "answered");
        },
        cut: (now, written) => {
          flight.written += written;
          const outcomes = this.#world.tally.of(service.name);
          flight.asksNews = false;
          const why = agent.whyCut(id, now);
          if (why === "stopped") outcomes.cutByStop++;
          else outcomes.resumed++;
          if (why === "drained") outcomes.drained++;
          if (why !== "lost") this.#world.tally.say(now, `${id} cut a request${why === "drained" ? ", its time to drain being over" : ""}: ${written} tokens were written`);
          this.#toldOf(service.name).answered(version, undefined);
          if (flight.written >= asked.outputTokens) {
            over(now);
            return this.#end(flight, "answered");
          }
          again(now, "it was lost");
        },
      }, at);
      // a machine that is gone says nothing; a replica that is not there is refused at once
      if (!taken) this.#world.agenda.after(agent.up ? hop : ackMs, (now) => again(now, "it took no request"));
    });
  }

  #provide(flight: Flight, id: string, spilled: boolean, sentAt: number): void {
    const { service, asked } = flight;
    const { provider } = service;
    if (provider === undefined) throw new Error(`Cannot send to provider "${id}": the world does not say what it is like`);
    if (spilled) {
      const told = this.#toldOf(service.name);
      told.spilled++;
      told.spilledInFlight++;
    }
    const observed = this.#observedOf(service.name);
    const { random, agenda } = this.#world;
    const ttftMs = Math.round(lognormalBetween(random, provider.ttftMs.p50, provider.ttftMs.p95));
    agenda.add(sentAt + ttftMs, (now) => {
      observed.firstByte(id, ttftMs, sentAt + ttftMs);
      this.#first(flight, now - flight.cameAt, true);
    });
    agenda.add(sentAt + ttftMs + provider.tpotMs * (asked.outputTokens - 1), (now) => {
      observed.ended(id, now);
      if (spilled) this.#toldOf(service.name).spilledInFlight--;
      this.#world.tally.of(service.name).byProvider++;
      this.#end(flight, "answered");
    });
  }

  #first(flight: Flight, ttftMs: number, provided: boolean): void {
    if (flight.ttftMs !== undefined) return;
    flight.ttftMs = ttftMs;
    if (!provided && !flight.wasHeld) this.#toldOf(flight.service.name).first(ttftMs);
    this.#world.tally.of(flight.service.name).first(flight.cameAt, ttftMs, provided);
  }

  #end(flight: Flight, how: "answered" | "refused" | "failed"): void {
    const outcomes = this.#world.tally.of(flight.service.name);
    outcomes[how]++;
    if (how === "refused") this.#toldOf(flight.service.name).refused++;
    if (how === "failed") this.#world.tally.say(this.#world.agenda.now, `a request failed: ${[...flight.tried].map(([id, why]) => `${id}: ${why}`).join("; ")}`);
    if (flight.ttftMs === undefined) outcomes.first(flight.cameAt, Number.POSITIVE_INFINITY, false);
  }

  // ——— what is told ———

  #toldOf(service: string): Told {
    this.#tellSoon();
    let told = this.#told.get(service);
    if (told === undefined) this.#told.set(service, (told = new Told()));
    return told;
  }

  #tellSoon(): void {
    if (this.#telling) return;
    this.#telling = true;
    this.#world.agenda.after(tellMs, () => {
      this.#telling = false;
      const told = new Map(this.#told);
      for (const [service, { held, spilledInFlight }] of told) {
        const next = new Told();
        next.held = held;
        next.spilledInFlight = spilledInFlight;
        this.#told.set(service, next);
      }
      this.#world.channel.call((now) => this.#hub.record(this.#name, told, now));
    });
  }
}

const none: readonly ReplicaRow[] = [];

/** What routing weighs of it. */
function factsOf({ promptTokens, outputTokens, chain }: Asked, written: number): RequestFacts {
  return { account: "sim", promptTokens: promptTokens + written, maxTokens: outputTokens, stream: true, prefix: chain, conversation: chain[0] ?? 0, continues: false, hashed: chain.length > 0, session: undefined };
}
