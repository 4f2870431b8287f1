/**
 * Header allow-lists, both ways (facts/openai-wire.md §9). What is not named here does not cross: credentials, cookies, proxies'
 * notes and our own control headers stay on their side.
 *
 * The inference lists ask for names instead of walking all headers, and answer with plain objects: every header that crosses
 * between the runtime and JavaScript is paid for on every request.
 */
const inferenceRequest = ["openai-beta", "idempotency-key", "traceparent", "tracestate"];
const refusedAnswer = ["retry-after", "retry-after-ms"];

/** Hop-by-hop (RFC 9110 §7.6.1) and what a proxy adds; never crosses, in either direction. */
const hopByHop = new Set([
  "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "host", "content-length",
]);

/** Kept from a service that is no LLM: the edge's own notes, and the platform's. */
const edgeOnly = /^(cf-|x-fairlead-|x-forwarded-|cdn-loop$|x-real-ip$)/;

/** Test simulators read this; it passes in a world on one machine only. */
const simulatorHeader = "x-sim-fail";

export type HeaderObject = Record<string, string>;

function named(from: Headers, names: readonly string[]): HeaderObject {
  const headers: HeaderObject = {};
  for (const name of names) {
    const value = from.get(name);
    if (value !== null) headers[name] = value;
  }
  return headers;
}

export function inferenceRequestHeaders(from: Headers, local: boolean): HeaderObject {
  const headers = named(from, inferenceRequest);
  if (local) {
    const order = from.get(simulatorHeader);
    if (order !== null) headers[simulatorHeader] = order;
  }
  // the body has been read as JSON, whatever its sender called it
  headers["content-type"] = "application/json";
  headers["user-agent"] = "fairlead";
  return headers;
}

export function inferenceAnswerHeaders({ headers: from, status }: Pick<Response, "headers" | "status">): HeaderObject {
  const headers = status < 400 ? {} : named(from, refusedAnswer);
  const type = from.get("content-type");
  if (type !== null) headers["content-type"] = type;
  return headers;
}

/** Those that RFC 9110's Connection header names, too. */
function ofConnection(from: Headers): Set<string> {
  return new Set((from.get("connection") ?? "").split(",").map((name) => name.trim().toLowerCase()));
}

/** For a service that is no LLM: everything but what must not cross. `credential` is the header our key came in. */
export function serviceRequestHeaders(from: Headers, credential: "authorization" | "x-api-key" | "api-key"): HeaderObject {
  const headers: HeaderObject = {};
  const connection = ofConnection(from);
  for (const [name, value] of from) {
    if (hopByHop.has(name) || connection.has(name) || edgeOnly.test(name) || name === credential) continue;
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
