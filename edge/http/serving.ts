import type { RouteService } from "../../schema/bundle.ts";
import type { DecisionRecord } from "../../schema/decision.ts";
import { errorResponse, FairleadError } from "../../schema/errors.ts";
import { noteDecision, tellSoon, weighed } from "../decisions.ts";
import { Client, discard, type Begun, type Whole } from "../forward/attempt.ts";
import type { Tried } from "../forward/attempts.ts";
import { forward, type Decided, type Forwarded, type Unforwarded } from "../forward/forward.ts";
import { handThrough } from "../forward/handThrough.ts";
import { inferenceRequestHeaders } from "../forward/headers.ts";
import { orSilence } from "../forward/silence.ts";
import type { Source } from "../forward/inflow.ts";
import { beginEarly, events } from "../forward/stream.ts";
import type { RequestFacts } from "../route/request.ts";
import type { Candidate, Decision } from "../route/route.ts";
import type { Journey } from "../telemetry/journey.ts";
import { countedBy, gapsOf } from "../telemetry/telemetry.ts";
import type { View } from "../view.ts";
import { answerHeaders } from "./answerHeaders.ts";
import type { RouterRequest } from "./context.ts";
import { decideBy, redecide, seenLack, upstreamsOf, versionsOf } from "./decide.ts";
import { sendOrHold } from "./hold.ts";

/** A request that was read: what of it stays the same whoever serves it. */
export interface Asked {
  requestId: string;
  startedAt: number;
  /** The account that its key belongs to. */
  account: string;
  text: string;
  byteLength: number;
  model: string;
  stream: boolean;
  body: Record<string, unknown>;
}

/** Nobody of a service could answer: what its caller is told, unless somebody else has the model now. */
export interface Unserved {
  service: string;
  respond: () => Response;
}

/** What one service makes of a request. */
export interface ServingOptions {
  c: RouterRequest;
  asked: Asked;
  service: RouteService;
  facts: RequestFacts;
  seen: Journey;
}

type End = { upstream: string } | { reason: string };

/** One request on its way through one service: sent, answered, counted, and noted for whoever asks what became of it. */
export class Serving {
  readonly #options: ServingOptions;
  readonly #client = new Client();
  /** The latest. */
  #decision: Decided;
  #held: { heldMs: number } | undefined;
  #streaming: Begun | undefined;

  constructor(options: ServingOptions, decision: Decided) {
    this.#options = options;
    this.#decision = decision;
  }

  /** @param view by which it was decided */
  async answer(view: View): Promise<Response | Unserved> {
    const { requestId, stream } = this.#options.asked;
    const answered = this.#options.service.fromZero === undefined ? this.#send(this.#decision, view) : this.#sendOrHold(view);
    if (!stream) return this.#finish(await answered);
    const heard = await orSilence(answered);
    if (heard !== "silent") return this.#finish(heard.value);
    // Silence before the first event: begin the answer, so that a client that goes away is noticed.
    const early = beginEarly(answered.then((forwarded) => (this.#note(forwarded), this.#eventsOnly(forwarded))), () => this.#client.leave(), this.#untilOver);
    return new Response(early, { headers: { "content-type": "text/event-stream", "cache-control": "no-cache", "x-request-id": requestId } });
  }

  #send(decided: Decided, by: View): Promise<Forwarded | Unforwarded> {
    const { c, asked: { requestId, startedAt, text, body, stream }, service, facts, seen } = this.#options;
    const request = c.req.raw;
    this.#decision = decided;
    return forward(
      {
        env: c.env, request, waitUntil: this.#waitUntil, service, upstreams: upstreamsOf(by, service), inference: true, repeatable: true, random: Math.random,
        note: (unforwarded) => this.#note(unforwarded), again: (tried) => redecide(c, by, service, facts, tried), resumed: (attempts, last) => (seen.resumed(last, Date.now()), this.#noteEnd(attempts, { upstream: last.id })),
      },
      seenLack(c, service, decided, seen, startedAt),
      { requestId, method: "POST", path: c.req.path, headers: inferenceRequestHeaders(request.headers, c.env.FAIRLEAD_LOCAL === "1"), body: text, parsed: body, facts, stream, upgrade: false, startedAt, client: this.#client },
    );
  }

  /** Where nothing of the service may be running. */
  #sendOrHold(view: View): Promise<Forwarded | Unforwarded> {
    const { c, asked: { startedAt, byteLength }, service, facts, seen } = this.#options;
    return sendOrHold(c, {
      decision: this.#decision, view, service, startedAt, bytes: byteLength, covered: service.providers.length > 0, whole: true,
      gone: () => this.#client.gone, route: (news) => decideBy(c, news, service, facts), send: (decided, by) => this.#send(decided, by),
      waited: (heldMs, by) => (seen.held(countedBy(versionsOf(by, service))), (this.#held = { heldMs })),
    });
  }

  #finish(forwarded: Forwarded | Unforwarded): Response | Unserved {
    const { asked: { requestId, model }, service } = this.#options;
    this.#note(forwarded);
    if ("error" in forwarded) {
      const { error, attempts } = forwarded;
      const respond = (): Response => errorResponse(error, { "x-request-id": requestId, "x-fairlead-attempts": String(attempts.length) });
      return error.status < 500 || this.#client.gone ? respond() : { service: service.name, respond };
    }
    const { answer: { response: from, events: begun, type = from.headers.get("content-type") }, candidate, attempts } = forwarded;
    return new Response(this.#bodyOf(forwarded), {
      status: from.status,
      headers: answerHeaders({
        requestId, type, streamed: begun !== undefined, attempts: attempts.length, fallback: isFallback(service, this.#decision, candidate),
        upstream: candidate.kind === "replica" ? "replica" : candidate.id, model: candidate.kind === "provider" ? (candidate.provider.model ?? model) : model,
      }),
    });
  }

  #bodyOf(forwarded: Forwarded): ReadableStream | Whole | null {
    const { seen } = this.#options;
    const { answer, endsAt, over } = forwarded;
    const { events: begun, whole, native = null } = answer;
    if (begun !== undefined) return events(this.#sourceOf(forwarded, begun), this.#untilOver);
    if (whole === undefined && native !== null) return handThrough(native, { answer, endsAt, over: (failure) => (seen.over(failure, Date.now()), seen.close(), over(failure)), waitUntil: this.#waitUntil });
    void over();
    seen.close({ whole });
    return whole ?? null;
  }

  #sourceOf({ answer: { abandon }, candidate, attempts, endsAt, over, goOn }: Forwarded, begun: Begun): Source {
    const { service, seen } = this.#options;
    this.#streaming = begun;
    return {
      events: begun, abandon, idleMs: service.timeouts.idleMs, endsAt, goOn, gaps: gapsOf(service, candidate.upstream, Date.now()),
      over: (failure) => (seen.over(failure, Date.now()), over(failure)),
      failed: ({ message }) => (seen.failed(Date.now()), this.#noteEnd(attempts, { reason: message })),
    };
  }

  /** Once the answer has begun as a stream of events, anything else is an error in the stream. */
  #eventsOnly(forwarded: Forwarded | Unforwarded): Source {
    if ("error" in forwarded) throw forwarded.error;
    const { answer, over } = forwarded;
    if (answer.events !== undefined) return this.#sourceOf(forwarded, answer.events);
    discard(answer);
    void over();
    this.#options.seen.failed(Date.now());
    throw new FairleadError("provider_error", "Cannot go on with the answer: the upstream answered with something that is no stream");
  }

  /** What became of the request, as far as it is known now. */
  #note(forwarded: Forwarded | Unforwarded): void {
    const { c, service, seen } = this.#options;
    const { attempts } = forwarded;
    const now = Date.now();
    const status = "error" in forwarded ? forwarded.error.status : forwarded.answer.response.status;
    noteDecision(c.env, c.req.raw, this.#waitUntil, now, () => this.#recordOf(attempts, now, { status, ...("error" in forwarded ? { reason: forwarded.error.message } : { upstream: forwarded.candidate.id }) }));
    if ("error" in forwarded) seen.refused(attempts, status, this.#client.gone, now, forwarded.error.code);
    else seen.began({ attempts, by: forwarded.candidate, status, fallback: isFallback(service, this.#decision, forwarded.candidate) }, this.#decision, forwarded.answer.events !== undefined, now);
  }

  /** What became of it is known anew: the later record is the one that is kept. */
  #noteEnd(attempts: readonly Tried[], end: End): void {
    const { c } = this.#options;
    noteDecision(c.env, c.req.raw, this.#waitUntil, Date.now(), () => this.#recordOf([...attempts], Date.now(), { status: 200, ...end }));
  }

  #recordOf(attempts: Tried[], now: number, end: Pick<DecisionRecord, "status" | "upstream" | "reason">): DecisionRecord {
    const { asked: { requestId, startedAt, model, account }, service } = this.#options;
    return { requestId, at: startedAt, service: service.name, model, account, ...weighed(this.#decision), attempts, ms: now - startedAt, ...this.#held, ...end };
  }

  readonly #waitUntil = (work: Promise<unknown>): void => this.#options.c.executionCtx.waitUntil(work);

  /** The end of a stream is known when nothing of its work is left. */
  readonly #untilOver = (work: Promise<unknown>): void => {
    const { c, seen } = this.#options;
    this.#waitUntil(work.finally(() => {
      seen.close({ usage: this.#streaming?.watch.usage ?? undefined, reattached: this.#streaming?.reattached ?? 0 });
      tellSoon(c.env, c.req.raw, this.#waitUntil, Date.now());
    }));
  };
}

/** Whether another kind of upstream answered than the one that was to. */
function isFallback({ routing, replicas, selfHosted, providers }: RouteService, decision: Decision, { upstream, fallback }: Candidate): boolean {
  if (fallback || upstream !== decision.candidates[0]?.upstream) return true;
  // where the order is fixed, what was left out before the first attempt counts too
  return routing.strategy === "availability_first" && upstream !== (routing.fallbackChain[0] ?? (selfHosted ? replicas.name : providers[0]?.name));
}
