import { FairleadError } from "../../schema/errors.ts";
import type { RouteService } from "../../schema/bundle.ts";
import { authenticate, mayCall } from "../auth/auth.ts";
import type { Sending } from "../forward/attempt.ts";
import { forward, type Answered } from "../forward/forward.ts";
import { inferenceAnswerHeaders, inferenceRequestHeaders } from "../forward/headers.ts";
import { isEventStream, orSilence } from "../forward/silence.ts";
import { beginEarly, events, type Source } from "../forward/stream.ts";
import { readInference } from "../route/request.ts";
import { route, type Decision } from "../route/route.ts";
import { newsFor, type View } from "../view.ts";
import { readBody } from "./body.ts";
import { requestIdOf, servedBy, viewOf, type RouterRequest } from "./context.ts";

/** The largest body before the service is known (facts/failures.md §2: 20 MiB multimodal). */
const bodyBytesMax = 20 * 1024 * 1024;

/** Chat, completions and embeddings: authenticate, read, route, forward. */
export async function inference(c: RouterRequest): Promise<Response> {
  const request = c.req.raw;
  const requestId = requestIdOf(c);
  const waitUntil = (work: Promise<unknown>): void => c.executionCtx.waitUntil(work);

  let view = await viewOf(c);
  const key = await authenticate(c.env, request, view, "inference");
  const bytes = await readBody(request, bodyBytesMax);
  const { model, stream, body } = readInference(bytes);

  let service = view.routes.byModel.get(model);
  if (service === undefined) {
    view = await newsFor(c.env, request, view);
    service = view.routes.byModel.get(model);
  }
  // a model that the key may not call looks like one that is not there
  if (service === undefined || !mayCall(key, service)) throw new FairleadError("model_not_found", `Cannot route model "${model}": there is no such model, or this key may not use it`, { param: "model" });
  if (bytes.byteLength > service.bodyBytesMax) throw new FairleadError("body_too_large", `Cannot accept the request: its body is ${bytes.byteLength} bytes, "${service.name}" takes ${service.bodyBytesMax}`);

  const decision = await decide(c, view, service);
  const again = (): Promise<Decision> => redecide(c, view, service);
  const sending: Sending = {
    requestId,
    method: "POST",
    path: c.req.path,
    headers: inferenceRequestHeaders(request.headers, c.env.FAIRLEAD_LOCAL === "1"),
    body: bytes,
    abort: new AbortController(),
    ttftMs: service.timeouts.ttftMs,
    upgrade: false,
  };
  const gone = (): void => sending.abort.abort();
  const answered = forward({ env: c.env, routes: view.routes, service, repeatable: true, random: Math.random, again }, decision, sending, body);
  const finish = ({ response, candidate, attempts }: Answered): Response => {
    const headers = inferenceAnswerHeaders(response);
    const fallback = candidate.kind === "provider" && service.selfHosted;
    const answeredModel = candidate.kind === "provider" ? (candidate.provider.model ?? model) : model;
    servedBy(headers, requestId, candidate.kind === "replica" ? "replica" : candidate.id, answeredModel, attempts, fallback);
    if (!isEventStream(headers["content-type"])) return new Response(response.body, { status: response.status, headers });
    headers["cache-control"] = "no-cache";
    return new Response(events({ body: response.body, filled: candidate.kind === "replica" }, gone, waitUntil), { status: response.status, headers });
  };
  if (!stream) return finish(await answered);
  const heard = await orSilence(answered);
  if (heard !== "silent") return finish(heard.value);
  // Silence before the headers: begin the answer, so that a client that goes away is noticed.
  const early = beginEarly(answered.then(eventsOnly), gone, waitUntil);
  return new Response(early, { headers: { "content-type": "text/event-stream", "cache-control": "no-cache", "x-request-id": requestId } });
}

/** Once the answer has begun as a stream of events, anything else is an error in the stream. */
async function eventsOnly({ response, candidate }: Answered): Promise<Source> {
  if (response.ok && isEventStream(response.headers.get("content-type"))) return { body: response.body, filled: candidate.kind === "replica" };
  await response.body?.cancel();
  throw new FairleadError(response.status < 500 ? "invalid_request" : "provider_error", `Cannot go on with the answer: the upstream answered with status ${response.status}`);
}

/** The candidates, after one look for news when the view has none. */
export async function decide(c: RouterRequest, view: View, service: RouteService): Promise<Decision> {
  const decision = route({ service, replicas: view.replicas.get(service.name) ?? [] }, Math.random);
  if (decision.candidates.length > 0) return decision;
  const again = await redecide(c, view, service);
  if (again.candidates.length > 0) return again;
  const known = Object.keys(again.filtered).length;
  throw new FairleadError("no_replica", `Cannot serve "${service.name}": ${known === 0 ? "no replica exists" : "no replica is ready"}`, { retryAfterMs: 2_000 });
}

/** The candidates by the latest news. */
export async function redecide(c: RouterRequest, view: View, service: RouteService): Promise<Decision> {
  const news = await newsFor(c.env, c.req.raw, view);
  return route({ service, replicas: news.replicas.get(service.name) ?? [] }, Math.random);
}
