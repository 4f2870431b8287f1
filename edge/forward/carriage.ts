import { FairleadError } from "../../schema/errors.ts";
import { attachTarget, type AttemptWay } from "../../schema/frames.ts";
import { linkTimes } from "../../schema/protocol.ts";
import type { RouterEnv } from "../env.ts";
import type { Candidate } from "../route/candidates.ts";
import type { HeaderObject } from "./headers.ts";
import { attemptHeader, carriageHeader, carriageOutcome, type CarriageFailure, type Reply, type Waiting } from "./outcome.ts";
import { askGate, gateUsable } from "./direct.ts";
import { Lookout } from "./lookout.ts";
import { Ways, type Asked } from "./reattach.ts";
import { orSilence } from "./silence.ts";
import { Suspects } from "./suspects.ts";
import { questionMs } from "./vigil.ts";

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

const suspects = new Suspects();

function askedOf(response: Response, relay: string): Asked {
  const failure = response.headers.get(carriageHeader) as CarriageFailure | null;
  if (suspects.isSilent(relay)) answersAgain(relay, suspects.unsilence(relay, Date.now()));
  if (failure === null) return { reply: { kind: "answer", response }, carrier: "good" };
  if (failure === "overloaded") return shed(relay);
  if (failure === "no_ack") suspects.add(relay, Date.now());
  const carrier = failure === "no_agent" || failure === "no_ack" ? "absent" : failure === "carrier_lost" ? "lost" : "good";
  return { reply: carriageOutcome(failure, response.headers.get("x-fairlead-reason") ?? ""), carrier };
}

/** The platform's word for an object that has more to do than it can (facts/cloudflare.md §2). */
const isOverloaded = (error: unknown): boolean => error instanceof Error && "overloaded" in error && error.overloaded === true;
/** An object's queue is worked off within about that time, or not at all. */
const shedMs = 1_000;

/**
 * It took nothing in, and asking it again would make that worse (failure model, row 21): another relay is asked; where none is left the
 * replica is left alone for a moment, and a request for which nothing else is there is refused with 429.
 */
function shed(relay: string): Asked {
  suspects.add(relay, Date.now());
  const error = new FairleadError("saturated", "Cannot serve the request: the way to the replica is overloaded", { retryAfterMs: shedMs });
  return { reply: { kind: "throttled", retryAfterMs: shedMs, error }, carrier: "absent" };
}

/** An isolate that was held up itself has its answers so much later. */
const lateMs = 50;

/** @param silentMs undefined for a relay that was not silent */
function answersAgain(relay: string, silentMs: number | undefined): void {
  if (silentMs !== undefined) console.warn(JSON.stringify({ message: "a relay answers again", relay, silentMs }));
}

/** Asks a relay whether it is there. One that does not say so in time, or cannot be reached, is passed over until it is heard. */
async function askRelay(env: RouterEnv, relay: string): Promise<void> {
  const asked = env.RELAY.getByName(relay).isLinked().then(
    (linked) => (answersAgain(relay, suspects.answered(relay, linked, Date.now())), true),
    // one of a fleet that is older than this router does not know the question (a TypeError of the platform's), which is a sign of life
    (error: unknown) => isOverloaded(error) || error instanceof TypeError,
  );
  let heard = await orSilence(asked, questionMs);
  if (heard === "silent") heard = await orSilence(asked, lateMs);
  if (heard !== "silent" && heard.value) return;
  if (suspects.silence(relay, Date.now())) console.warn(JSON.stringify({ message: "a relay does not answer: requests go by its host's others until it does", relay }));
}

const silence: Asked = { reply: { kind: "lost", why: "silent: its relay does not answer" }, carrier: "lost" };
const desertion: Asked = { reply: { kind: "lost", why: "silent: none of its host's relays answers" }, carrier: "good" };

/**
 * Through its host's gate where it has one that can be reached, else through one of its Relay objects. One that cannot carry says nothing
 * against the replica behind it: the others are tried before another replica, but after a silence, which has cost a second already.
 */
export async function carry({ env, waitUntil, kept, repeatable, elsewhere, random }: CarriageOptions, { id, host, relays, direct }: Extract<Candidate, { kind: "replica" }>, { method, path, headers: given, body, requestId, upgrade }: Carrying, signal: AbortSignal | undefined, waiting: Waiting = {}): Promise<Reply> {
  if (relays.length === 0) return { kind: "unsent", why: "its host has no relay" };
  const askThere = (relay: string): void => waitUntil(askRelay(env, relay));
  // behind the requests that pass over a relay it is asked whether it is back
  if (!suspects.isEmpty) suspects.silentOf(host, relays).filter((relay) => suspects.mayAsk(relay, Date.now())).forEach(askThere);
  if (elsewhere && direct === undefined && suspects.hasAll(host, relays, Date.now())) return { kind: "unsent", why: "none of the ways to its host was to be had a moment ago", silent: "host" };
  const headers: HeaderObject = { ...given, "x-fairlead-target": id, "x-fairlead-request": requestId };
  if (upgrade) headers["upgrade"] = "websocket";
  const relayOf = (carrier: number): string => `${host}/${relays[carrier] ?? 0}`;
  const once = body instanceof ReadableStream;
  const first = suspects.first(host, relays, random, Date.now);
  const times = { gone: () => signal?.aborted === true, now: Date.now, wait: (ms: number) => scheduler.wait(ms) };
  const ending = signal === undefined ? {} : { signal };
  const init = { method, headers, body, redirect: "manual", ...ending } as const;
  /** What a carrier said before: when it could not carry, another one that is suspect is not waited for, so that a host that is silent costs its first callers a second. */
  let before: Asked | undefined;
  /** Carriers that were lost, a bit each. */
  let gone = 0;
  const beganAt = Date.now();
  const told = (response: Response, carrier: number): Asked => {
    const asked = askedOf(response, relayOf(carrier));
    const { reply } = asked;
    const now = Date.now();
    if (reply.kind === "answer") suspects.heard(host, now);
    if (reply.kind !== "unsent" || reply.silent === undefined) return asked;
    // by no way was anything heard of it in that time: it is the host that is silent, as far as anybody can tell
    if (elsewhere && !suspects.heardSince(host, beganAt)) for (const relay of relays) suspects.add(`${host}/${relay}`, now);
    if (!suspects.hasAll(host, relays, now)) reply.silent = "relay";
    return elsewhere ? { reply, carrier: "good" } : asked;
  };
  const lookout = new Lookout({ suspects, host, relays, repeatable: repeatable && !once, elsewhere, ask: askThere, now: Date.now, waiting });
  /** One that does not answer is the last to have it where there is nobody else: it may be back before anybody is. */
  const isSilent = (carrier: number): boolean => before?.carrier === "absent" && (gone & (1 << carrier)) === 0 && suspects.has(relayOf(carrier), Date.now()) && (elsewhere || !suspects.isSilent(relayOf(carrier)));
  /** The object was lost with what it carried, or could not be reached: other requests pass it over until it had time to be elsewhere, and this one looks for it again. */
  const lost = (carrier: number, error: unknown): Asked => {
    gone |= 1 << carrier;
    if (carrier < relays.length && !once && signal?.aborted !== true) suspects.add(relayOf(carrier), Date.now());
    return { reply: { kind: "lost", why: error instanceof Error ? error.message : String(error) }, carrier: "lost" };
  };
  if (!kept || once || upgrade) {
    const ask = async (carrier: number): Promise<Asked> => {
      if (before !== undefined && isSilent(carrier)) return before;
      if (lookout.isOut(carrier, false)) return silence;
      try {
        const heard = await lookout.head(carrier, before === undefined ? beganAt : Date.now(), env.RELAY.getByName(relayOf(carrier)).fetch(`http://carry${path}`, init));
        if (typeof heard === "string") return heard === "silent" ? silence : desertion;
        before = told(heard, carrier);
      } catch (error) {
        before = isOverloaded(error) ? shed(relayOf(carrier)) : lost(carrier, error);
        if (before.carrier === "lost" && !repeatable) throw error;
      }
      return before;
    };
    return new Ways({ ...times, count: once ? 1 : relays.length, first, ask }).begin();
  }

  // the gate stands behind the relays in the circle of carriers, so that theirs keep their numbers
  const gate = direct !== undefined && gateUsable(env, { host, ...direct }, Date.now()) ? { host, ...direct } : undefined;

  const attempt = crypto.randomUUID();
  const ask = async (carrier: number, way: Omit<AttemptWay, "id">): Promise<Asked> => {
    headers[attemptHeader] = JSON.stringify({ id: attempt, ...way } satisfies AttemptWay);
    try {
      if (way.from !== undefined) headers["x-fairlead-target"] = attachTarget;
      if (gate !== undefined && carrier === relays.length) {
        lookout.rest();
        return await askGate(gate, way.from === undefined ? { method, path, headers, body } : { method: "GET", path: "/", headers, body: null }, signal);
      }
      if (way.from === undefined && before !== undefined && isSilent(carrier)) return before;
      if (lookout.isOut(carrier, way.from !== undefined)) return silence;
      const stub = env.RELAY.getByName(relayOf(carrier));
      const heard = await lookout.head(carrier, way.turn === 0 ? beganAt : Date.now(), way.from === undefined ? stub.fetch(`http://carry${path}`, init) : stub.fetch("http://carry/", { headers, ...ending }));
      if (typeof heard === "string") return heard === "silent" ? silence : desertion;
      if (way.from !== undefined) return askedOf(heard, relayOf(carrier));
      before = told(heard, carrier);
      return before;
    } catch (error) {
      if (isOverloaded(error)) {
        before = shed(relayOf(carrier));
        return before;
      }
      return lost(carrier, error);
    }
  };
  const ways = new Ways(gate === undefined ? { ...times, count: relays.length, first, ask } : { ...times, count: relays.length + 1, first: relays.length, ask });
  const reply = await ways.begin();
  // what is decoded on its way here is not counted as the agent counts
  if (reply.kind === "answer" && !reply.response.headers.has("content-encoding")) {
    reply.reattach = async (receivedBytes) => {
      const lostAt = Date.now();
      const rest = await ways.reattach(receivedBytes);
      console.warn(JSON.stringify({ message: rest === undefined ? "an answer was lost with its relay" : "an answer goes on through another relay", requestId, replica: id, receivedBytes, ms: Date.now() - lostAt }));
      return rest;
    };
  }
  return reply;
}

/** Whether a replica was lost in the middle of its answer, by its agent's word; a carrier that is gone or silent says nothing against it. */
export async function diedMidway(env: RouterEnv, { host, relays }: Extract<Candidate, { kind: "replica" }>, requestId: string): Promise<boolean> {
  const asked = Promise.allSettled(relays.map((relay) => env.RELAY.getByName(`${host}/${relay}`).whyBroken(requestId)));
  const heard = await orSilence(asked, linkTimes.dispatchAckMs);
  return heard !== "silent" && heard.value.some((answer) => answer.status === "fulfilled" && answer.value === "upstream_lost");
}
