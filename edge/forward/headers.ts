import { holdsKey } from "../auth/shown.ts";

/**
 * Header allow-lists, both ways (facts/openai-wire.md §9). What is not named here does not cross: credentials, cookies, proxies'
 * notes and our own control headers stay on their side.
 *
 * The inference list is asked for by name instead of walking all headers: every header that crosses between the runtime and JavaScript is
 * paid for on every request.
 */

/** Hop-by-hop (RFC 9110 §7.6.1) and what a proxy adds; never crosses, in either direction. */
const hopByHop = new Set([
  "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "host", "content-length",
]);

/** Kept from a service that is no LLM: the edge's own notes, and the platform's. */
const edgeOnly = /^(cf-|x-fairlead-|x-forwarded-|cdn-loop$|x-real-ip$)/;

/** Test simulators read this; it passes in a world on one machine only. */
const simulatorHeader = "x-sim-fail";

export type HeaderObject = Record<string, string>;

/** Most clients send nothing more: one object, which whoever works on it may remember. The body has been read as JSON, whatever its sender called it. */
const plain: HeaderObject = Object.freeze({ "content-type": "application/json", "user-agent": "fairlead" });

/** @param local a world on one machine: what a test tells the engine simulator passes */
export function inferenceRequestHeaders(from: Headers, local: boolean): HeaderObject {
  const beta = from.get("openai-beta");
  const key = from.get("idempotency-key");
  const trace = from.get("traceparent");
  const order = local ? from.get(simulatorHeader) : null;
  if (beta === null && key === null && trace === null && order === null) return plain;
  const headers = { ...plain };
  if (beta !== null) headers["openai-beta"] = beta;
  if (key !== null) headers["idempotency-key"] = key;
  if (trace !== null) {
    headers["traceparent"] = trace;
    // says nothing without the other (W3C Trace Context §3.3)
    const state = from.get("tracestate");
    if (state !== null) headers["tracestate"] = state;
  }
  if (order !== null) headers[simulatorHeader] = order;
  return headers;
}

/** Those that RFC 9110's Connection header names, too. */
function ofConnection(from: Headers): Set<string> {
  return new Set((from.get("connection") ?? "").split(",").map((name) => name.trim().toLowerCase()));
}

/**
 * Of the answer that an engine of ours gives to it, what the router looks at: a Relay gives no others, for each is paid for on its way.
 * What asks for another one of such an answer names it here.
 */
export const inferenceAnswerHeaders: ReadonlySet<string> = new Set(["content-type", "content-length", "content-encoding", "retry-after", "retry-after-ms"]);

/** For a service that is no LLM: everything but what must not cross, whichever of its callers' headers a key of ours is in. */
export function serviceRequestHeaders(from: Headers): HeaderObject {
  const headers: HeaderObject = {};
  const connection = ofConnection(from);
  for (const [name, value] of from) {
    if (hopByHop.has(name) || connection.has(name) || edgeOnly.test(name) || holdsKey(name, value)) continue;
    headers[name] = value;
  }
  return headers;
}

/** As a `Headers`, which keeps several cookies apart. */
export function serviceAnswerHeaders(from: Headers): Headers {
  const headers = new Headers();
  const connection = ofConnection(from);
  for (const [name, value] of from) {
    if (hopByHop.has(name) || connection.has(name) || name.startsWith("x-fairlead-")) continue;
    headers.append(name, value);
  }
  return headers;
}
