import type { Candidate } from "../route/route.ts";
import type { RouterEnv } from "../env.ts";
import type { HeaderObject } from "./headers.ts";
import { carriageHeader, carriageOutcome, isUnable, type CarriageFailure, type Outcome } from "./outcome.ts";

/** A request as it goes to any upstream. */
export interface Sending {
  requestId: string;
  method: string;
  /** Path and query from the service's root, e.g. `/v1/chat/completions`. */
  path: string;
  headers: HeaderObject;
  body: ArrayBuffer | Uint8Array | ReadableStream | null;
  /** Ends the attempt that is going on. The platform ends it by itself when the client goes before the answer begins. */
  abort: AbortController;
  /** Until response headers, ms. */
  ttftMs: number;
  /** A WebSocket is asked for. */
  upgrade: boolean;
}

function classify(response: Response): Outcome {
  const failure = response.headers.get(carriageHeader);
  if (failure !== null) return carriageOutcome(failure as CarriageFailure, response.headers.get("x-fairlead-reason") ?? "");
  return isUnable(response.status) ? { kind: "unable", response } : { kind: "answer", response };
}

/** One fetch with an end to its waiting for headers; the answer's body is not bounded by it. */
async function bounded(sending: Sending, send: (signal: AbortSignal) => Promise<Response>): Promise<Outcome> {
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    sending.abort.abort();
  }, sending.ttftMs);
  try {
    return classify(await send(sending.abort.signal));
  } catch (error) {
    if (!late) return { kind: "lost", why: error instanceof Error ? error.message : String(error) };
    // the next attempt starts with a signal of its own
    sending.abort = new AbortController();
    return { kind: "timeout", why: `no answer within ${sending.ttftMs} ms` };
  } finally {
    clearTimeout(timer);
  }
}

/** One attempt on one replica, through one of its host's Relay objects. */
export function attemptReplica(env: RouterEnv, candidate: Extract<Candidate, { kind: "replica" }>, relay: number, sending: Sending): Promise<Outcome> {
  const headers: HeaderObject = { ...sending.headers, "x-fairlead-target": candidate.id, "x-fairlead-request": sending.requestId };
  if (sending.upgrade) headers["upgrade"] = "websocket";
  const stub = env.RELAY.getByName(`${candidate.host}/${relay}`);
  return bounded(sending, (signal) => stub.fetch(`http://carry${sending.path}`, { method: sending.method, headers, body: sending.body, signal, redirect: "manual" }));
}

/** One attempt on a provider. `path` begins with `/v1`, which a provider's endpoint already ends with. */
export function attemptProvider(candidate: Extract<Candidate, { kind: "provider" }>, apiKey: string | undefined, sending: Sending): Promise<Outcome> {
  const headers: HeaderObject = apiKey === undefined ? sending.headers : { ...sending.headers, authorization: `Bearer ${apiKey}` };
  const url = candidate.provider.endpoint.replace(/\/+$/, "") + sending.path.slice("/v1".length);
  return bounded(sending, (signal) => fetch(url, { method: sending.method, headers, body: sending.body, signal, redirect: "manual" }));
}
