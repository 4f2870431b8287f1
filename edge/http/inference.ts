import { errorResponse, FairleadError } from "../../schema/errors.ts";
import type { RouteKey, RouteService } from "../../schema/bundle.ts";
import type { DecisionRecord } from "../../schema/decision.ts";
import { authenticate, mayCall } from "../auth/auth.ts";
import { noteDecision, tellSoon, tellWanted, weighed } from "../decisions.ts";
import { Client, discard, type Begun } from "../forward/attempt.ts";
import { lateMs, type Tried } from "../forward/attempts.ts";
import { endOf } from "../forward/deadline.ts";
import { forward, type Decided, type Forwarded, type Unforwarded } from "../forward/forward.ts";
import { handThrough } from "../forward/handThrough.ts";
import { inferenceRequestHeaders } from "../forward/headers.ts";
import { remembered } from "../forward/memory.ts";
import { waitMsMax } from "../forward/retryAfter.ts";
import { orSilence } from "../forward/silence.ts";
import type { Survey, Upstreams } from "../forward/standing.ts";
import { beginEarly, events, type Source } from "../forward/stream.ts";
import { isPoison } from "../quarantine.ts";
import { readInference, requestFacts, type InferenceRequest, type RequestFacts } from "../route/request.ts";
import type { ReplicaRow } from "../route/candidates.ts";
import { poolOf } from "../route/pool.ts";
import { route, type Candidate, type Decision, type RouteFacts } from "../route/route.ts";
import { isMixed, versionsIn } from "../route/shares.ts";
import { spills } from "../route/spill.ts";
import type { Journey } from "../telemetry/journey.ts";
import { countedBy, gapsOf, journey } from "../telemetry/telemetry.ts";
import { newsFor, viewAfterFailure, type View } from "../view.ts";
import { answerHeaders } from "./answerHeaders.ts";
import { readBody } from "./body.ts";
import { sendOrHold } from "./hold.ts";
import { requestIdOf, viewOf, type RouterRequest } from "./context.ts";
import { shownName } from "./names.ts";

/** The largest body before the service is known (facts/failures.md §2: 20 MiB multimodal). */
const bodyBytesMax = 20 * 1024 * 1024;

/** A request that was read: what of it stays the same whoever serves it. */
interface Asked {
  requestId: string;
  startedAt: number;
  key: RouteKey;
  bytes: ArrayBuffer;
  model: string;
  stream: boolean;
  body: Record<string, unknown>;
}

/** Chat, completions and embeddings: authenticate, read, route, forward. */
export async function inference(c: RouterRequest): Promise<Response> {
  const request = c.req.raw;
  const startedAt = Date.now();
  const requestId = requestIdOf(c);

  // nothing is waited for that is here: a turn of the event loop costs more than what is done in it
  const here = viewOf(c);
  let view = here instanceof Promise ? await here : here;
  const known = authenticate(c.env, request, view, "inference");
  const key = known instanceof Promise ? await known : known;
  const { model, stream, body, bytes } = asked(request, await readBody(request, bodyBytesMax));
  const question: Asked = { requestId, startedAt, key, bytes, model, stream, body };

  let service = view.routes.byModel.get(model);
  if (service === undefined) {
    view = await newsFor(c.env, request, view);
    service = view.routes.byModel.get(model);
  }
  const answer = await serve(c, question, view, service);
  if (answer instanceof Response) return answer;
  // where its service is no more: whoever has the model now, and nobody after that
  const news = await viewAfterFailure(c.env, request, view, startedAt);
  if (news.routes.byName.has(answer.service)) return answer.respond();
  const second = await serve(c, question, news, news.routes.byModel.get(model));
  return second instanceof Response ? second : second.respond();
}

/** What a body asks for. @throws FairleadError that says why it cannot be read, where more of that is known than its bytes tell */
function asked(request: Request, bytes: ArrayBuffer): InferenceRequest {
  try {
    return readInference(bytes);
  } catch (error) {
    const encoding = request.headers.get("content-encoding");
    if (bytes.byteLength === 0) throw new FairleadError("invalid_json", "Cannot read the request body: it is empty");
    if (encoding !== null && encoding !== "identity") throw new FairleadError("invalid_json", `Cannot read the request body: it is encoded as ${shownName(encoding)}; send JSON as it is`);
    throw error;
  }
}

/** Nobody of a service could answer: what its caller is told, unless somebody else has the model now. */
interface Unserved {
  service: string;
  respond: () => Response;
}

/** The answer of one service. */
async function serve(c: RouterRequest, { requestId, startedAt, key, bytes, model, stream, body }: Asked, view: View, service: RouteService | undefined): Promise<Response | Unserved> {
  const request = c.req.raw;
  const waitUntil = (work: Promise<unknown>): void => c.executionCtx.waitUntil(work);
  // a model that the key may not call looks like one that is not there
  if (service === undefined || !mayCall(key, service)) throw new FairleadError("model_not_found", `Cannot route model "${shownName(model)}": there is no such model, or this key may not use it`, { param: "model" });
  if (bytes.byteLength > service.bodyBytesMax) throw new FairleadError("body_too_large", `Cannot accept the request: its body is ${bytes.byteLength} bytes, "${service.name}" takes ${service.bodyBytesMax}`);

  const chosen = service;
  const seen = journey(chosen, startedAt, versionsOf(view, chosen));
  const facts = requestFacts(body, bytes.byteLength, key.account, service.selfHosted ? (request.headers.get("x-session-id") ?? undefined) : undefined);
  const poison = isPoison(view, service, key.account, bytes);
  let decision = poison === undefined ? await decide(c, view, service, facts) : nowhere(service, poison);
  const client = new Client();
  let held: { heldMs: number } | undefined;
  const recordOf = (attempts: Tried[], now: number, end: Pick<DecisionRecord, "status" | "upstream" | "reason">): DecisionRecord => ({ requestId, at: startedAt, service: chosen.name, model, account: key.account, ...weighed(decision), attempts, ms: now - startedAt, ...held, ...end });
  const note = (forwarded: Forwarded | Unforwarded): void => {
    const { attempts } = forwarded;
    const status = "error" in forwarded ? forwarded.error.status : forwarded.answer.response.status;
    const now = Date.now();
    noteDecision(c.env, request, waitUntil, now, () => recordOf(attempts, now, { status, ...("error" in forwarded ? { reason: forwarded.error.message } : { upstream: forwarded.candidate.id }) }));
    if ("error" in forwarded) seen.refused(attempts, status, client.gone, now, forwarded.error.code);
    else seen.began({ attempts, by: forwarded.candidate, status, fallback: isFallback(chosen, decision, forwarded.candidate) }, decision, forwarded.answer.events !== undefined, now);
  };
  const send = (decided: Decided, by: View): Promise<Forwarded | Unforwarded> => forward(
    { env: c.env, request, waitUntil, service: chosen, upstreams: upstreamsOf(by, chosen), inference: true, repeatable: true, random: Math.random, note, again: (tried) => redecide(c, by, chosen, facts, tried), resumed: (attempts, last) => (seen.resumed(last, Date.now()), noteEnd(attempts, { upstream: last.id })) },
    seenLack(c, chosen, (decision = decided), seen, startedAt),
    {
      requestId,
      method: "POST",
      path: c.req.path,
      headers: inferenceRequestHeaders(request.headers, c.env.FAIRLEAD_LOCAL === "1"),
      body: bytes,
      parsed: body,
      facts,
      stream,
      upgrade: false,
      startedAt,
      client,
    },
  );
  const answered = chosen.fromZero === undefined
    ? send(decision, view)
    : sendOrHold(c, { decision, view, service: chosen, startedAt, bytes: bytes.byteLength, covered: chosen.providers.length > 0, whole: true, gone: () => client.gone, route: (news) => decideBy(c, news, chosen, facts), send, waited: (heldMs, by) => (seen.held(countedBy(versionsOf(by, chosen))), (held = { heldMs })) });
  // what became of it is known anew: the later record is the one that is kept
  const noteEnd = (attempts: readonly Tried[], end: { upstream: string } | { reason: string }): void =>
    noteDecision(c.env, request, waitUntil, Date.now(), () => recordOf([...attempts], Date.now(), { status: 200, ...end }));
  let streaming: Begun | undefined;
  /** The end of a stream is known when nothing of its work is left. */
  const untilOver = (work: Promise<unknown>): void =>
    waitUntil(work.finally(() => {
      seen.close({ usage: streaming?.watch.usage ?? undefined, reattached: streaming?.reattached ?? 0 });
      tellSoon(c.env, request, waitUntil, Date.now());
    }));
  const sourceOf = ({ answer: { abandon }, candidate, attempts, endsAt, over, goOn }: Forwarded, begun: Begun): Source => ({
    events: (streaming = begun), abandon, idleMs: chosen.timeouts.idleMs, endsAt, goOn, gaps: gapsOf(chosen, candidate.upstream, Date.now()),
    over: (failure) => (seen.over(failure, Date.now()), over(failure)),
    failed: ({ message }) => (seen.failed(Date.now()), noteEnd(attempts, { reason: message })),
  });
  const bodyOf = (forwarded: Forwarded): ReadableStream | ArrayBuffer | Uint8Array | null => {
    const { answer, endsAt, over } = forwarded;
    const { events: begun, whole, native = null } = answer;
    if (begun !== undefined) return events(sourceOf(forwarded, begun), untilOver);
    if (whole === undefined && native !== null) return handThrough(native, { answer, endsAt, over: (failure) => (seen.over(failure, Date.now()), seen.close(), over(failure)), waitUntil });
    void over();
    seen.close({ whole });
    return whole ?? null;
  };
  const finish = (forwarded: Forwarded | Unforwarded): Response | Unserved => {
    note(forwarded);
    if ("error" in forwarded) {
      const { error, attempts } = forwarded;
      const respond = (): Response => errorResponse(error, { "x-request-id": requestId, "x-fairlead-attempts": String(attempts.length) });
      return error.status < 500 || client.gone ? respond() : { service: chosen.name, respond };
    }
    const { answer: { response: from, events: begun }, candidate, attempts } = forwarded;
    return new Response(bodyOf(forwarded), {
      status: from.status,
      headers: answerHeaders({
        requestId, type: from.headers.get("content-type"), streamed: begun !== undefined, attempts: attempts.length, fallback: isFallback(chosen, decision, candidate),
        upstream: candidate.kind === "replica" ? "replica" : candidate.id, model: candidate.kind === "provider" ? (candidate.provider.model ?? model) : model,
      }),
    });
  };
  if (!stream) return finish(await answered);
  const heard = await orSilence(answered);
  if (heard !== "silent") return finish(heard.value);
  // Silence before the first event: begin the answer, so that a client that goes away is noticed.
  const early = beginEarly(answered.then((forwarded) => (note(forwarded), eventsOnly(forwarded, sourceOf, seen))), () => client.leave(), untilOver);
  return new Response(early, { headers: { "content-type": "text/event-stream", "cache-control": "no-cache", "x-request-id": requestId } });
}

/** Once the answer has begun as a stream of events, anything else is an error in the stream. */
function eventsOnly(forwarded: Forwarded | Unforwarded, sourceOf: (forwarded: Forwarded, begun: Begun) => Source, seen: Journey): Source {
  if ("error" in forwarded) throw forwarded.error;
  const { answer, over } = forwarded;
  if (answer.events !== undefined) return sourceOf(forwarded, answer.events);
  discard(answer);
  void over();
  seen.failed(Date.now());
  throw new FairleadError("provider_error", "Cannot go on with the answer: the upstream answered with something that is no stream");
}

/** Whether another kind of upstream answered than the one that was to. */
function isFallback({ routing, replicas, selfHosted, providers }: RouteService, decision: Decision, { upstream, fallback }: Candidate): boolean {
  if (fallback || upstream !== decision.candidates[0]?.upstream) return true;
  // where the order is fixed, what was left out before the first attempt counts too
  return routing.strategy === "availability_first" && upstream !== (routing.fallbackChain[0] ?? (selfHosted ? replicas.name : providers[0]?.name));
}

/** One list for all services that have none: what is worked out of a list is kept with it. */
const noReplicas: readonly ReplicaRow[] = [];

function replicasOf(view: View, { name }: RouteService): readonly ReplicaRow[] {
  return view.replicas.get(name) ?? noReplicas;
}

/** All upstreams of a service, as the view lists them. */
export function upstreamsOf(view: View, service: RouteService): Upstreams {
  return { replicas: replicasOf(view, service), providers: service.providers };
}

/** The versions of a service's replicas; undefined while there is one only, and no other is on its way. */
export function versionsOf(view: View, service: RouteService): ReadonlyMap<string, number> | undefined {
  const rows = replicasOf(view, service);
  return view.shares.has(service.name) || isMixed(rows) ? versionsIn(rows) : undefined;
}

function routed(c: RouterRequest, view: View, service: RouteService, request: RequestFacts | undefined, tried?: readonly string[]): { decision: Decision; survey: Survey | undefined } {
  const now = Date.now();
  const { standings, observed } = remembered(service);
  const upstreams = upstreamsOf(view, service);
  const survey = standings.untroubled ? undefined : standings.survey(upstreams, request === undefined ? "" : c.req.path, now, tried);
  const facts: RouteFacts = { service, replicas: upstreams.replicas, observed, shares: view.shares.get(service.name) };
  if (service.selfHosted && service.providers.length > 0) {
    const full = observed.ramps.full(poolOf(upstreams.replicas), observed.inFlight, now);
    if (full !== undefined) facts.full = full;
  }
  if (request !== undefined) facts.request = request;
  if (survey !== undefined) {
    facts.blocked = survey.blocked;
    facts.pressure = survey.pressure;
  }
  return { decision: route(facts, Math.random, now), survey };
}

function nowhere({ routing }: RouteService, refused: FairleadError): Decided {
  return { strategy: routing.strategy, saturated: false, candidates: [], filtered: {}, scores: [], refused };
}

/** The candidates, after one look for news when the view has none; with the reason when there is none then either. */
export async function decide(c: RouterRequest, view: View, service: RouteService, request?: RequestFacts): Promise<Decided> {
  const first = routed(c, view, service, request);
  if (first.decision.candidates.length > 0) return withLack(first.decision, view, service);
  // what is at its limit for a moment is waited for; what is broken is not
  if (first.survey?.throttledOnly === true && first.survey.freeInMs <= waitMsMax) {
    await scheduler.wait(first.survey.freeInMs);
    const later = routed(c, view, service, request).decision;
    if (later.candidates.length > 0) return withLack(later, view, service);
  }
  const news = await newsFor(c.env, c.req.raw, view);
  const again = routed(c, news, service, request);
  if (again.decision.candidates.length > 0) return withLack(again.decision, news, service);
  return { ...withLack(again.decision, news, service), refused: nothingLeft(service, again.decision, again.survey) };
}

/** The decision, and whether no replica is ready where one could be. */
function withLack(decision: Decision, view: View, service: RouteService): Decided {
  if (!service.selfHosted || decision.candidates[0]?.kind === "replica" || poolOf(replicasOf(view, service)).rows.length > 0) return decision;
  return { ...decision, lacking: true };
}

/** The decision; where no replica takes a request to a service that may have some, it counts as one more that is wanted. */
export function seenLack(c: RouterRequest, service: RouteService, decision: Decided, seen: Journey, startedAt: number): Decided {
  if (!service.selfHosted || decision.candidates[0]?.kind === "replica") return decision;
  if (spills(service, decision, Math.random)) {
    const { spilled } = remembered(service);
    const stay = spilled.enter(endOf(startedAt, service.timeouts) + lateMs);
    seen.spilled(() => spilled.leave(stay));
  }
  if (decision.lacking === true) tellWanted(c.env, c.req.raw, (work) => c.executionCtx.waitUntil(work), service.name, Date.now());
  return decision;
}

function nothingLeft({ name }: RouteService, { filtered, saturated }: Decision, survey: Survey | undefined): FairleadError {
  if (survey !== undefined && Number.isFinite(survey.freeInMs)) {
    const retryAfterMs = Math.max(1_000, survey.freeInMs);
    if (survey.throttledOnly) return new FairleadError("saturated", `Cannot serve "${name}": its upstreams are at their limit`, { retryAfterMs });
    return new FairleadError("provider_unreachable", `Cannot serve "${name}": none of its upstreams answers`, { retryAfterMs });
  }
  if (saturated) return new FairleadError("saturated", `Cannot serve "${name}": every replica is at its limit`, { retryAfterMs: 1_000 });
  return new FairleadError("no_replica", `Cannot serve "${name}": ${Object.keys(filtered).length === 0 ? "no replica exists" : "no replica is ready"}`, { retryAfterMs: 2_000 });
}

/** The candidates by a view as it is. */
export function decideBy(c: RouterRequest, view: View, service: RouteService, request?: RequestFacts): Decided {
  return withLack(routed(c, view, service, request).decision, view, service);
}

/** The candidates by the latest news, for a request that `tried` has failed, if any. */
export async function redecide(c: RouterRequest, view: View, service: RouteService, request?: RequestFacts, tried?: readonly string[]): Promise<Decision> {
  return routed(c, await newsFor(c.env, c.req.raw, view), service, request, tried).decision;
}
