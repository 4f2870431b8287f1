/**
 * Header allow-lists, both ways (facts/openai-wire.md §9). What is not named here does not cross: credentials, cookies, proxies'
 * notes and our own control headers stay on their side.
 */
const inferenceRequest = new Set(["content-type", "accept", "openai-beta", "anthropic-version", "anthropic-beta", "idempotency-key", "traceparent", "tracestate"]);
const inferenceAnswer = new Set(["content-type", "retry-after", "retry-after-ms"]);

/** Hop-by-hop (RFC 9110 §7.6.1) and what a proxy adds; never crosses, in either direction. */
const hopByHop = new Set([
  "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "host", "content-length",
]);

/** Kept from a service that is no LLM: the edge's own notes, and the platform's. */
const edgeOnly = /^(cf-|x-fairlead-|x-forwarded-|cdn-loop$|x-real-ip$)/;

/** Test simulators read these; they pass in a world on one machine only. */
const simulatorPrefix = "x-sim-";

export function inferenceRequestHeaders(from: Headers, local: boolean): Headers {
  const headers = new Headers();
  for (const [name, value] of from) if (inferenceRequest.has(name) || (local && name.startsWith(simulatorPrefix))) headers.set(name, value);
  headers.set("user-agent", "fairlead");
  return headers;
}

export function inferenceAnswerHeaders(from: Headers): Headers {
  const headers = new Headers();
  for (const name of inferenceAnswer) {
    const value = from.get(name);
    if (value !== null) headers.set(name, value);
  }
  return headers;
}

/** Those that RFC 9110's Connection header names, too. */
function named(from: Headers): Set<string> {
  return new Set((from.get("connection") ?? "").split(",").map((name) => name.trim().toLowerCase()));
}

/** For a service that is no LLM: everything but what must not cross. `credential` is the header our key came in. */
export function serviceRequestHeaders(from: Headers, credential: "authorization" | "x-api-key" | "api-key"): Headers {
  const headers = new Headers();
  const connection = named(from);
  for (const [name, value] of from) {
    if (hopByHop.has(name) || connection.has(name) || edgeOnly.test(name) || name === credential) continue;
    headers.append(name, value);
  }
  return headers;
}

export function serviceAnswerHeaders(from: Headers): Headers {
  const headers = new Headers();
  const connection = named(from);
  for (const [name, value] of from) {
    if (hopByHop.has(name) || connection.has(name) || name.startsWith("x-fairlead-")) continue;
    headers.append(name, value);
  }
  return headers;
}
