import { attachTarget, type AttemptWay } from "../../schema/frames.ts";
import { linkTimes } from "../../schema/protocol.ts";
import type { RouterEnv } from "../env.ts";
import type { Candidate } from "../route/candidates.ts";
import type { HeaderObject } from "./headers.ts";
import { attemptHeader, carriageHeader, carriageOutcome, type CarriageFailure, type Reply } from "./outcome.ts";
import { Ways, type Asked } from "./reattach.ts";
import { orSilence } from "./silence.ts";

/** What goes to a replica. */
export interface Carrying {
  requestId: string;
  method: string;
  path: string;
  headers: HeaderObject;
  body: ArrayBuffer | Uint8Array | ReadableStream | null;
  upgrade: boolean;
}

export interface CarriageOptions {
  env: RouterEnv;
  /** The agent keeps the answer for the case that a Relay is lost; whoever reads it fills its silences, and words its loss. */
  kept: boolean;
  random: () => number;
}

function askedOf(response: Response): Asked {
  const failure = response.headers.get(carriageHeader) as CarriageFailure | null;
  if (failure === null) return { reply: { kind: "answer", response }, carrier: "good" };
  const carrier = failure === "no_agent" || failure === "no_ack" ? "absent" : failure === "carrier_lost" ? "lost" : "good";
  return { reply: carriageOutcome(failure, response.headers.get("x-fairlead-reason") ?? ""), carrier };
}

/** Through one of its host's Relay objects. One that cannot carry says nothing against the replica behind it: its other one is tried before another replica. */
export async function carry({ env, kept, random }: CarriageOptions, { id, host, relays }: Extract<Candidate, { kind: "replica" }>, { method, path, headers: given, body, requestId, upgrade }: Carrying, signal: AbortSignal | undefined): Promise<Reply> {
  if (relays.length === 0) return { kind: "unsent", why: "its host has no relay" };
  const headers: HeaderObject = { ...given, "x-fairlead-target": id, "x-fairlead-request": requestId };
  if (upgrade) headers["upgrade"] = "websocket";
  const stub = (carrier: number) => env.RELAY.getByName(`${host}/${relays[carrier] ?? 0}`);
  const once = body instanceof ReadableStream;
  const first = relays.length > 1 ? Math.floor(random() * relays.length) : 0;
  const times = { gone: () => signal?.aborted === true, now: Date.now, wait: (ms: number) => scheduler.wait(ms) };
  const ending = signal === undefined ? {} : { signal };
  const init = { method, headers, body, redirect: "manual", ...ending } as const;
  if (!kept || once || upgrade) {
    const ways = new Ways({ ...times, count: once ? 1 : relays.length, first, ask: async (carrier) => askedOf(await stub(carrier).fetch(`http://carry${path}`, init)) });
    return ways.begin();
  }

  const attempt = crypto.randomUUID();
  const ask = async (carrier: number, way: Omit<AttemptWay, "id">): Promise<Asked> => {
    headers[attemptHeader] = JSON.stringify({ id: attempt, ...way } satisfies AttemptWay);
    try {
      if (way.from === undefined) return askedOf(await stub(carrier).fetch(`http://carry${path}`, init));
      headers["x-fairlead-target"] = attachTarget;
      return askedOf(await stub(carrier).fetch("http://carry/", { headers, ...ending }));
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      // it took nothing in, and asking it again would make that worse (failure model, row 21)
      if (error instanceof Error && "overloaded" in error && error.overloaded === true) return { reply: { kind: "unsent", why }, carrier: "absent" };
      // the object was lost with what it carried
      return { reply: { kind: "lost", why }, carrier: "lost" };
    }
  };
  const ways = new Ways({ ...times, count: relays.length, first, ask });
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
