import { errorResponse, FairleadError } from "../../schema/errors.ts";
import { authenticate, mayCall } from "../auth/auth.ts";
import { noteDecision, weighed } from "../decisions.ts";
import { Client } from "../forward/attempt.ts";
import { forward, type Decided, type Forwarded, type Unforwarded } from "../forward/forward.ts";
import { serviceAnswerHeaders, serviceRequestHeaders } from "../forward/headers.ts";
import { countedBy, journey } from "../telemetry/telemetry.ts";
import { newsFor, viewAfterFailure, type View } from "../view.ts";
import { sendOrHold } from "./hold.ts";
import { decide, decideBy, redecide, seenLack, upstreamsOf, versionsOf } from "./decide.ts";
import { requestIdOf, servedBy, viewOf, type RouterRequest } from "./context.ts";
import { nameIn, shownName } from "./names.ts";

/** Methods that may be sent twice (RFC 9110 §9.2.2). */
const idempotent = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);

/** The Fetch standard sends no body with these. */
const bodiless = new Set(["GET", "HEAD"]);

/** `/s/NAME/…`: a service that is no LLM. Any method, any path, WebSockets; bodies are streams and pass untouched. */
export async function service(c: RouterRequest): Promise<Response> {
  const request = c.req.raw;
  const startedAt = Date.now();
  const url = new URL(request.url);
  const [, , name = ""] = url.pathname.split("/");
  const path = url.pathname.slice(`/s/${name}`.length);
  let view = await viewOf(c);
  const key = await authenticate(c.env, request, view, "inference");
  const named = nameIn(name);
  let found = view.routes.byName.get(named);
  if (found === undefined) {
    view = await newsFor(c.env, request, view);
    found = view.routes.byName.get(named);
  }
  const notFound = (): FairleadError => new FairleadError("service_not_found", `Cannot reach service "${shownName(named)}": there is no such service, or this key may not use it`);
  if (found === undefined || !mayCall(key, found)) throw notFound();
  // relative links of a page work only below its folder
  if (path === "") return new Response(null, { status: 308, headers: { location: `${url.pathname}/${url.search}`, "x-request-id": requestIdOf(c) } });
  if (Number(request.headers.get("content-length") ?? 0) > found.bodyBytesMax) throw new FairleadError("body_too_large", `Cannot accept the request: its body is larger than the ${found.bodyBytesMax} bytes that "${found.name}" takes`);

  if (request.body !== null && bodiless.has(request.method)) throw new FairleadError("invalid_request", `Cannot pass on a ${request.method} with a body: send it without, or by another method`);

  const headers = serviceRequestHeaders(request.headers);
  // by what address it is known: its own Host is one on its host's loopback
  headers["x-forwarded-proto"] = url.protocol.slice(0, -1);
  headers["x-forwarded-host"] = url.host;
  headers["x-forwarded-prefix"] = `/s/${name}`;
  const upgrade = request.headers.get("upgrade")?.toLowerCase() === "websocket";
  const routed = found;
  const seen = journey(routed, startedAt, versionsOf(view, routed));
  let decision = replicasOf(await decide(c, view, routed));
  let held: { heldMs: number } | undefined;
  const waitUntil = (work: Promise<unknown>): void => c.executionCtx.waitUntil(work);
  const send = (decided: Decided, by: View): Promise<Forwarded | Unforwarded> => forward(
    {
      env: c.env,
      request,
      waitUntil,
      service: routed,
      upstreams: upstreamsOf(by, routed),
      inference: false,
      repeatable: idempotent.has(request.method) && request.body === null,
      random: Math.random,
      again: async (tried) => replicasOf(await redecide(c, by, routed, undefined, tried)),
    },
    seenLack(c, routed, (decision = decided), seen, startedAt),
    {
      requestId: requestIdOf(c),
      method: request.method,
      path: path + url.search,
      headers,
      body: request.body,
      parsed: undefined,
      facts: undefined,
      stream: false,
      upgrade,
      startedAt,
      client: new Client(),
    },
  );
  // a body that has not been read comes when somebody is there to take it
  const forwarded = await sendOrHold(c, { decision, view, service: routed, startedAt, bytes: 0, covered: false, whole: request.body === null, gone: () => request.signal.aborted, route: (news) => replicasOf(decideBy(c, news, routed)), send, waited: (heldMs, by) => (seen.held(countedBy(versionsOf(by, routed))), (held = { heldMs })) });
  const now = Date.now();
  if ("error" in forwarded) seen.refused(forwarded.attempts, forwarded.error.status, false, now, forwarded.error.code);
  else seen.began({ attempts: forwarded.attempts, by: forwarded.candidate, status: forwarded.answer.response.status, fallback: forwarded.candidate.fallback }, decision, false, now);
  // its body is a stream that passes untouched: its end is nobody's to see here
  seen.close();
  noteDecision(c.env, request, waitUntil, now, () => {
    const reached = "error" in forwarded ? { status: forwarded.error.status, reason: forwarded.error.message } : { status: forwarded.answer.response.status, upstream: forwarded.candidate.id };
    return { requestId: requestIdOf(c), at: startedAt, service: routed.name, model: named, account: key.account, ...weighed(decision), attempts: forwarded.attempts, ms: now - startedAt, ...held, ...reached };
  });
  if ("error" in forwarded) {
    if (forwarded.error.status >= 500 && !(await viewAfterFailure(c.env, request, view, startedAt)).routes.byName.has(named)) throw notFound();
    return errorResponse(forwarded.error, { "x-request-id": requestIdOf(c), "x-fairlead-attempts": String(forwarded.attempts.length) });
  }
  const { answer, candidate, attempts, over } = forwarded;
  void over();
  const { response } = answer;
  const answered = serviceAnswerHeaders(response.headers);
  const notes: Record<string, string> = {};
  servedBy(notes, requestIdOf(c), "replica", attempts.length, candidate.fallback);
  for (const [note, value] of Object.entries(notes)) answered.set(note, value);
  const length = response.headers.get("content-length");
  if (request.method === "HEAD") {
    // what a GET would have
    if (length !== null) answered.set("content-length", length);
    return new Response(null, { status: response.status, headers: answered });
  }
  if (response.webSocket) return new Response(null, { status: 101, webSocket: response.webSocket, headers: answered });
  if (length !== null && response.body !== null && !response.headers.has("content-encoding")) return new Response((response.body as ReadableStream<Uint8Array>).pipeThrough(new FixedLengthStream(Number(length))), { status: response.status, headers: answered });
  // encoded as its header says: the platform passes on what it was given so, and undoes an encoding only for who reads it here
  return new Response(response.body, { status: response.status, headers: answered });
}

/** A provider speaks OpenAI's API only. */
function replicasOf(decision: Decided): Decided {
  return { ...decision, candidates: decision.candidates.filter(({ kind }) => kind === "replica") };
}
