import { attachTarget, type AttemptWay } from "../../schema/frames.ts";
import { linkTimes } from "../../schema/protocol.ts";
import type { RouterEnv } from "../env.ts";
import type { Candidate } from "../route/candidates.ts";
import type { HeaderObject } from "./headers.ts";
import { attemptHeader, carryOrigin, type Reply, type Waiting } from "./outcome.ts";
import { askGate, askWhether, gateName, gateUsable, type GateOf } from "./direct.ts";
import { Lookout } from "./lookout.ts";
import { Ways, type Asked, type WaysOptions } from "./reattach.ts";
import { askRelay, desertion, heardFrom, isOverloaded, shed, silence, suspects } from "./relays.ts";
import { orSilence } from "./silence.ts";

/** What goes to a replica. */
export interface Carrying {
  requestId: string;
  method: string;
  path: string;
  headers: HeaderObject;
  body: string | ReadableStream | null;
  upgrade: boolean;
}

export interface CarriageOptions {
  env: RouterEnv;
  waitUntil: (work: Promise<unknown>) => void;
  /** The agent keeps the answer for the case that a Relay is lost; whoever reads it fills its silences, and words its loss. */
  kept: boolean;
  /** What may have begun may be asked for again. */
  repeatable: boolean;
  /** Somebody else can be asked: where one way is silent for as long as an agent's sign may take, the others are not waited for. */
  elsewhere: boolean;
  random: () => number;
}

type Replica = Extract<Candidate, { kind: "replica" }>;
type Way = Parameters<WaysOptions["ask"]>[1];

/**
 * Through its host's gate where it has one that can be reached, else through one of its Relay objects. One that cannot carry says nothing
 * against the replica behind it: the others are tried before another replica, but after a silence, which has cost a second already.
 */
export async function carry(options: CarriageOptions, replica: Replica, carrying: Carrying, signal: AbortSignal | undefined, waiting: Waiting = {}): Promise<Reply> {
  const { env, waitUntil, kept, elsewhere } = options;
  const { host, relays, direct } = replica;
  if (relays.length === 0) return { kind: "unsent", why: "its host has no relay" };
  // behind the requests that pass over a relay it is asked whether it is back
  if (!suspects.isEmpty) for (const relay of suspects.silentOf(host, relays)) if (suspects.mayAsk(relay, Date.now())) waitUntil(askRelay(env, relay));
  if (elsewhere && direct === undefined && suspects.hasAll(host, relays, Date.now())) return { kind: "unsent", why: "none of the ways to its host was to be had a moment ago", silent: "host" };
  const carriage = new Carriage(options, replica, carrying, signal, waiting);
  return kept && !carrying.upgrade && !(carrying.body instanceof ReadableStream) ? carriage.keep() : carriage.pass();
}

/** One attempt on its way to a replica, and what it has learned of the carriers: the host's relays by their places, then its gate, so that the relays keep their numbers. */
class Carriage {
  readonly #options: CarriageOptions;
  readonly #replica: Replica;
  readonly #carrying: Carrying;
  readonly #signal: AbortSignal | undefined;
  readonly #headers: HeaderObject;
  readonly #lookout: Lookout;
  readonly #beganAt = Date.now();
  /** A body that is a stream can be sent once only. */
  readonly #once: boolean;
  /** What a carrier said before: when it could not carry, another one that is suspect is not waited for, so that a host that is silent costs its first callers a second. */
  #before: Asked | undefined;
  /** Carriers that were lost, a bit each. */
  #gone = 0;

  constructor(options: CarriageOptions, replica: Replica, carrying: Carrying, signal: AbortSignal | undefined, waiting: Waiting) {
    const { env, waitUntil, repeatable, elsewhere } = options;
    const { id, host, relays, direct } = replica;
    this.#options = options;
    this.#replica = replica;
    this.#carrying = carrying;
    this.#signal = signal;
    this.#once = carrying.body instanceof ReadableStream;
    this.#headers = { ...carrying.headers, "x-fairlead-target": id, "x-fairlead-request": carrying.requestId };
    if (carrying.upgrade) this.#headers["upgrade"] = "websocket";
    const ask = (carrier: string): void => waitUntil(direct !== undefined && carrier === gateName(host) ? askWhether({ host, ...direct }) : askRelay(env, carrier));
    this.#lookout = new Lookout({ suspects, relays: relays.length, nameOf: this.#nameOf, repeatable: repeatable && !this.#once, elsewhere, ask, now: Date.now, waiting });
  }

  /** Once through each relay that is there, until one carries it: the agent does not keep its answer. */
  pass(): Promise<Reply> {
    const { relays } = this.#replica;
    return this.#ways(this.#once ? 1 : relays.length, this.#first, async (carrier) => {
      if (this.#before !== undefined && this.#isSilent(carrier)) return this.#before;
      if (this.#lookout.isOut(carrier, false)) return silence;
      try {
        const heard = await this.#lookout.head(carrier, this.#before === undefined ? this.#beganAt : Date.now(), this.#send(carrier));
        if (typeof heard === "string") return heard === "silent" ? silence : desertion;
        this.#before = this.#told(heard, carrier);
      } catch (error) {
        this.#before = isOverloaded(error) ? shed(this.#nameOf(carrier)) : this.#lost(carrier, error);
        if (this.#before.carrier === "lost" && !this.#options.repeatable) throw error;
      }
      return this.#before;
    }).begin();
  }

  /** By the gate first, then through the relays: the agent keeps the answer, so that what was begun goes on through another one. */
  async keep(): Promise<Reply> {
    const { id, host, relays, direct } = this.#replica;
    const gate = direct !== undefined && gateUsable(this.#options.env, { host, ...direct }, Date.now()) ? { host, ...direct } : undefined;
    const attempt = crypto.randomUUID();
    const ways = this.#ways(gate === undefined ? relays.length : relays.length + 1, gate === undefined ? this.#first : relays.length, async (carrier, way) => {
      this.#headers[attemptHeader] = JSON.stringify({ id: attempt, ...way } satisfies AttemptWay);
      if (way.from !== undefined) this.#headers["x-fairlead-target"] = attachTarget;
      try {
        return await (gate !== undefined && carrier === relays.length ? this.#askGate(gate, way) : this.#askRelay(carrier, way));
      } catch (error) {
        if (!isOverloaded(error)) return this.#lost(carrier, error);
        this.#before = shed(this.#nameOf(carrier));
        return this.#before;
      }
    });
    const reply = await ways.begin();
    // what is decoded on its way here is not counted as the agent counts
    if (reply.kind === "answer" && !reply.response.headers.has("content-encoding")) {
      reply.reattach = async (receivedBytes) => {
        const lostAt = Date.now();
        const rest = await ways.reattach(receivedBytes);
        console.warn(JSON.stringify({ message: rest === undefined ? "an answer was lost with its relay" : "an answer goes on through another relay", requestId: this.#carrying.requestId, replica: id, receivedBytes, ms: Date.now() - lostAt }));
        return rest;
      };
    }
    return reply;
  }

  get #first(): number {
    const { host, relays } = this.#replica;
    return suspects.first(host, relays, this.#options.random, Date.now);
  }

  #ways(count: number, first: number, ask: WaysOptions["ask"]): Ways {
    return new Ways({ count, first, ask, gone: () => this.#signal?.aborted === true, now: Date.now, wait: (ms) => scheduler.wait(ms) });
  }

  /** What is remembered of a carrier is kept by its name, which a relay's object has too. */
  readonly #nameOf = (carrier: number): string => {
    const { host, relays } = this.#replica;
    const relay = relays[carrier];
    return relay === undefined ? gateName(host) : `${host}/${relay}`;
  };

  /** The request, through a relay. */
  #send(carrier: number): Promise<Response> {
    const { method, path, body } = this.#carrying;
    return this.#options.env.RELAY.getByName(this.#nameOf(carrier)).fetch(`${carryOrigin}${path}`, { method, headers: this.#headers, body, redirect: "manual", ...this.#ending });
  }

  get #ending(): { signal?: AbortSignal } {
    return this.#signal === undefined ? {} : { signal: this.#signal };
  }

  async #askGate(gate: GateOf, { from }: Way): Promise<Asked> {
    const { method, path, body } = this.#carrying;
    this.#lookout.rest();
    const asked = await askGate(gate, from === undefined && !(body instanceof ReadableStream) ? { method, path, headers: this.#headers, body } : { method: "GET", path: "/", headers: this.#headers, body: null }, this.#signal);
    if (asked.reply.kind === "answer") this.#lookout.begun(this.#replica.relays.length);
    return asked;
  }

  /** To begin the answer; or to go on with it. */
  async #askRelay(carrier: number, { from, turn }: Way): Promise<Asked> {
    const begins = from === undefined;
    if (begins && this.#before !== undefined && this.#isSilent(carrier)) return this.#before;
    if (this.#lookout.isOut(carrier, !begins)) return silence;
    const relay = this.#nameOf(carrier);
    const asked = begins ? this.#send(carrier) : this.#options.env.RELAY.getByName(relay).fetch(`${carryOrigin}/`, { headers: this.#headers, ...this.#ending });
    const heard = await this.#lookout.head(carrier, turn === 0 ? this.#beganAt : Date.now(), asked);
    if (typeof heard === "string") return heard === "silent" ? silence : desertion;
    if (!begins) return heardFrom(heard, relay);
    this.#before = this.#told(heard, carrier);
    return this.#before;
  }

  /** What a relay says at the beginning of an answer, and what that means for its host. */
  #told(response: Response, carrier: number): Asked {
    const { host, relays } = this.#replica;
    const { elsewhere } = this.#options;
    const asked = heardFrom(response, this.#nameOf(carrier));
    const { reply } = asked;
    const now = Date.now();
    if (reply.kind === "answer") suspects.heard(host, now);
    if (reply.kind !== "unsent" || reply.silent === undefined) return asked;
    // by no way was anything heard of it in that time: it is the host that is silent, as far as anybody can tell
    if (elsewhere && !suspects.heardSince(host, this.#beganAt)) for (const relay of relays) suspects.add(`${host}/${relay}`, now);
    if (!suspects.hasAll(host, relays, now)) reply.silent = "relay";
    return elsewhere ? { reply, carrier: "good" } : asked;
  }

  /** One that does not answer is the last to have it where there is nobody else: it may be back before anybody is. */
  #isSilent(carrier: number): boolean {
    const relay = this.#nameOf(carrier);
    return this.#before?.carrier === "absent" && (this.#gone & (1 << carrier)) === 0 && suspects.has(relay, Date.now()) && (this.#options.elsewhere || !suspects.isSilent(relay));
  }

  /** The object was lost with what it carried, or could not be reached: other requests pass it over until it had time to be elsewhere, and this one looks for it again. */
  #lost(carrier: number, error: unknown): Asked {
    this.#gone |= 1 << carrier;
    if (carrier < this.#replica.relays.length && !this.#once && this.#signal?.aborted !== true) suspects.add(this.#nameOf(carrier), Date.now());
    return { reply: { kind: "lost", why: error instanceof Error ? error.message : String(error) }, carrier: "lost" };
  }
}

/** Whether a replica was lost in the middle of its answer, by its agent's word; a carrier that is gone or silent says nothing against it. */
export async function diedMidway(env: RouterEnv, { host, relays }: Replica, requestId: string): Promise<boolean> {
  const asked = Promise.allSettled(relays.map((relay) => env.RELAY.getByName(`${host}/${relay}`).whyBroken(requestId)));
  const heard = await orSilence(asked, linkTimes.dispatchAckMs);
  return heard !== "silent" && heard.value.some((answer) => answer.status === "fulfilled" && answer.value === "upstream_lost");
}
