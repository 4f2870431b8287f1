import type { Provider, RouteService } from "../../schema/bundle.ts";
import { FairleadError } from "../../schema/errors.ts";
import { decrypt, sharedKey } from "../../schema/seal.ts";
import type { RouterEnv } from "../env.ts";
import { prefillOf, providerRequest } from "../provider/provider.ts";
import type { Candidate } from "../route/candidates.ts";
import type { RequestFacts } from "../route/request.ts";
import type { Decision } from "../route/route.ts";
import { attempt, type Answer, type Client } from "./attempt.ts";
import { attemptInTurn, type Tried, type Unanswered } from "./attempts.ts";
import { endOf } from "./deadline.ts";
import { Delivered } from "./delivered.ts";
import type { GoOn } from "./goOn.ts";
import type { HeaderObject } from "./headers.ts";
import { goingOn } from "./legs.ts";
import { remembered } from "./memory.ts";
import type { Run } from "./hedge.ts";
import { carriageHeader, carriageOutcome, finalCode, type CarriageFailure, type Failure, type Outcome, type Reply } from "./outcome.ts";
import { FirstLeg } from "./passage.ts";
import { askOf, wantsIds, withIds, type Ask } from "./resume.ts";
import { parkMsMax } from "./retryAfter.ts";
import type { Pool } from "./standing.ts";
import type { Source } from "./stream.ts";
import { Watch } from "./watch.ts";

/** A request as it goes to any upstream. */
export interface Sending {
  requestId: string;
  method: string;
  /** Path and query from the service's root, e.g. `/v1/chat/completions`. */
  path: string;
  headers: HeaderObject;
  body: ArrayBuffer | Uint8Array | ReadableStream | null;
  /** The body as an object, where it was read. */
  parsed: Record<string, unknown> | undefined;
  /** What routing weighs of it. */
  facts: RequestFacts | undefined;
  /** Events are asked for. */
  stream: boolean;
  /** A WebSocket is asked for. */
  upgrade: boolean;
  /** When the request came: its one deadline counts from here. */
  startedAt: number;
  client: Client;
}

export interface ForwardOptions {
  env: RouterEnv;
  service: RouteService;
  /** All upstreams of the service, also those that are not candidates now. */
  pool: Pool;
  /** OpenAI's API: answers are looked at, and an attempt may be anywhere. Else the answer's status decides. */
  inference: boolean;
  /** Whether an attempt that may have begun may be repeated elsewhere. */
  repeatable: boolean;
  random: () => number;
  /** Candidates by news, when nothing of the first decision could be reached. */
  again?: () => Promise<Decision>;
  /** The answer is over, and more than one upstream gave it. */
  resumed?: (attempts: readonly Tried[], last: Candidate) => void;
}

export interface Forwarded {
  answer: Answer;
  candidate: Candidate;
  /** Every attempt in the order of their ends, the one that answered last. */
  attempts: Tried[];
  /** The one deadline, ms since the epoch. */
  endsAt: number;
  /** To be called when the answer has been given, once; with what went wrong in the middle of it. */
  over: (failure?: Failure) => void;
  /** How a stream goes on that is lost after this. */
  goOn?: GoOn<Source> | undefined;
}

/** Nothing answered. */
export interface Unforwarded {
  /** What the caller is to be told. */
  error: FairleadError;
  attempts: Tried[];
}

const detokenizePath = "/detokenize";

let shared: { text: string; key: CryptoKey } | undefined;

/** A provider with what was sealed opened. */
interface Opened {
  provider: Provider;
  apiKey: string | undefined;
}

/** Opened once per bundle: each bundle has provider objects of its own. */
const opened = new WeakMap<Provider, Opened>();

async function open({ env, service }: ForwardOptions, sealed: Provider): Promise<Opened> {
  const { name, sealedApiKey, sealedHeaders, headers } = sealed;
  if (shared?.text !== env.FAIRLEAD_SHARED_KEY) shared = { text: env.FAIRLEAD_SHARED_KEY, key: await sharedKey(env.FAIRLEAD_SHARED_KEY) };
  const apiKey = sealedApiKey === undefined ? undefined : await decrypt(shared.key, `provider:${service.name}:${name}`, sealedApiKey);
  const more = sealedHeaders === undefined ? undefined : (JSON.parse(await decrypt(shared.key, `provider-headers:${service.name}:${name}`, sealedHeaders)) as Record<string, string>);
  const result = { provider: more === undefined ? sealed : { ...sealed, headers: { ...headers, ...more } }, apiKey };
  opened.set(sealed, result);
  return result;
}

async function sendToProvider(options: ForwardOptions, candidate: Extract<Candidate, { kind: "provider" }>, sending: Sending, signal: AbortSignal): Promise<Reply> {
  const { provider, apiKey } = opened.get(candidate.provider) ?? (await open(options, candidate.provider));
  const { url: called, headers, body } = providerRequest(provider, apiKey, sending);
  const url = sending.path === detokenizePath ? called.replace(/(\/v1)?\/detokenize(?=\?|$)/, detokenizePath) : called;
  return { kind: "answer", response: await fetch(url, { method: sending.method, headers, body, signal, redirect: "manual" }) };
}

function replyOf(response: Response): Reply {
  const failure = response.headers.get(carriageHeader);
  return failure === null ? { kind: "answer", response } : carriageOutcome(failure as CarriageFailure, response.headers.get("x-fairlead-reason") ?? "");
}

/** Through one of its host's Relay objects. One that cannot carry says nothing against the replica behind it: its other one is tried before another replica. */
async function sendToReplica({ env, random }: ForwardOptions, { id, host, relays }: Extract<Candidate, { kind: "replica" }>, sending: Sending, signal: AbortSignal): Promise<Reply> {
  const { method, path, body, requestId, upgrade } = sending;
  const headers: HeaderObject = { ...sending.headers, "x-fairlead-target": id, "x-fairlead-request": requestId };
  if (upgrade) headers["upgrade"] = "websocket";
  const start = relays.length > 1 ? Math.floor(random() * relays.length) : 0;
  let reply: Reply = { kind: "unsent", why: "its host has no relay" };
  for (let i = 0; i < relays.length; i++) {
    const stub = env.RELAY.getByName(`${host}/${relays[(start + i) % relays.length] ?? 0}`);
    reply = replyOf(await stub.fetch(`http://carry${path}`, { method, headers, body, signal, redirect: "manual" }));
    const carrier = reply.kind === "unsent" && reply.why.startsWith("no_a");
    if (!carrier || body instanceof ReadableStream) break;
  }
  return reply;
}

/**
 * Send a request to the first upstream that answers.
 *
 * Before the first byte of the answer — of a stream: before its first event — failures move on to the next candidate, while
 * attempts, retry budget and time last. A body that is a stream can be sent once only.
 */
export async function forward(options: ForwardOptions, decision: Decision, sending: Sending): Promise<Forwarded | Unforwarded> {
  const { service, pool, inference, random, again } = options;
  const { client, stream, startedAt } = sending;
  const once = sending.body instanceof ReadableStream;
  const memory = remembered(service);
  const endsAt = endOf(startedAt, service.timeouts);
  const first = inference && stream ? firstLegOf(options, sending) : undefined;
  const sendTo = (candidate: Candidate, what: Sending, limitMs: number, watch: (() => Watch) | undefined): Run<Outcome<Answer>> =>
    attempt({ client, limitMs, inference, stream: what.stream, watch }, (signal) => (candidate.kind === "provider" ? sendToProvider(options, candidate, what, signal) : sendToReplica(options, candidate, what, signal)));
  const result = await attemptInTurn<Answer>({
    candidates: decision.candidates,
    again: again === undefined ? undefined : async () => (await again()).candidates,
    pool,
    path: inference ? sending.path : "",
    repeatable: options.repeatable,
    stream,
    request: sending.facts,
    attemptsMax: once ? 1 : service.routing.attempts,
    ttftMs: service.timeouts.ttftMs,
    endsAt,
    hedgeAfterMs: once ? undefined : service.routing.hedgeAfterMs,
    remembered: memory,
    now: Date.now,
    random,
    wait: (ms) => scheduler.wait(ms),
    send: (candidate, limitMs) => sendTo(candidate, first?.sending(candidate) ?? sending, limitMs, first?.watch(candidate)),
    gone: () => client.gone,
  });
  if (!("answer" in result)) return { error: failureOf(service.name, result, client.gone), attempts: result.attempts };
  const { answer, candidate, attempts } = result;
  const over = (failure?: Failure): void => {
    const now = Date.now();
    memory.observed.ended(candidate.id, now);
    if (failure !== undefined) memory.standings.failed(candidate.id, sending.path, failure, now, now, random);
  };
  if (first === undefined || answer.events === undefined) return { answer, candidate, attempts, endsAt, over };
  const { ask } = first;
  const goOn = goingOn(
    {
      ask,
      onStreamLoss: service.routing.onStreamLoss,
      model: String(sending.parsed?.["model"]),
      candidates: decision.candidates,
      again: again === undefined ? undefined : async () => (await again()).candidates,
      pool,
      path: sending.path,
      request: sending.facts,
      attempts,
      attemptsMax: service.routing.attempts,
      ttftMs: service.timeouts.ttftMs,
      idleMs: service.timeouts.idleMs,
      startedAt,
      endsAt,
      remembered: memory,
      now: Date.now,
      random,
      send: (to, leg, passage, limitMs) => sendTo(to, leg === undefined ? first.sending(to) : { ...sending, ...leg }, limitMs, () => new Watch(passage)),
      detokenize: (by, ids, limitMs) => detokenize(sending, ids, (what) => sendTo(by, what, limitMs, undefined)),
      prefillOf: (by) => (by.kind === "provider" ? prefillOf(by.provider) : "continue_final_message"),
      gone: () => client.gone,
      leave: () => client.leave(),
      resumed: (last) => options.resumed?.(attempts, last),
    },
    candidate,
  );
  return { answer, candidate, attempts, endsAt, over, goOn };
}

/** How a request is sent at first so that its stream may go on elsewhere. */
interface FirstLegs {
  ask: Ask;
  sending: (candidate: Candidate) => Sending;
  watch: (candidate: Candidate) => () => Watch;
}

function firstLegOf({ service }: ForwardOptions, sending: Sending): FirstLegs | undefined {
  const { parsed, body, path } = sending;
  if (service.routing.onStreamLoss === "error" || parsed === undefined || body === null || body instanceof ReadableStream) return undefined;
  const ask = askOf(path, parsed, body);
  if (ask === undefined) return undefined;
  // asked for once, however many upstreams are
  let asking: Sending | undefined;
  const byIds = (candidate: Candidate): boolean => candidate.continuation === "tokens" && wantsIds(ask);
  const strip = ask.ids && ask.usage ? undefined : { ids: !ask.ids, usage: !ask.usage };
  return {
    ask,
    sending: (candidate) => (byIds(candidate) ? (asking ??= { ...sending, ...withIds(ask, body) }) : sending),
    watch: (candidate) => () => new Watch(new FirstLeg(ask, new Delivered(), byIds(candidate) ? strip : undefined)),
  };
}

/** The text of token ids: vLLM's `/detokenize`, which stands beside `/v1`. */
async function detokenize(sending: Sending, ids: readonly number[], send: (what: Sending) => Run<Outcome<Answer>>): Promise<string | undefined> {
  const parsed = { model: sending.parsed?.["model"], tokens: ids };
  const outcome = await send({ ...sending, path: detokenizePath, body: new TextEncoder().encode(JSON.stringify(parsed)), parsed, stream: false }).result;
  if (outcome.kind !== "answer" || outcome.answer.whole === undefined) return undefined;
  try {
    const { prompt } = JSON.parse(new TextDecoder().decode(outcome.answer.whole)) as { prompt?: unknown };
    return typeof prompt === "string" ? prompt : undefined;
  } catch {
    return undefined;
  }
}

function failureOf(service: string, { failure, attempts }: Unanswered, gone: boolean): FairleadError {
  if (failure === undefined) return new FairleadError("provider_unreachable", `Cannot serve "${service}": nothing can take the request`, { retryAfterMs: 1_000 });
  // nobody is there to be told; the outcome of an abandoned attempt says nothing of its upstream
  if (gone) return new FairleadError("provider_unreachable", "Cannot go on: the client has gone");
  switch (failure.kind) {
    case "caller":
    case "context_length":
    case "content_filter":
      return failure.error;
    case "throttled":
      return withRetryAfter(failure.error, failure.retryAfterMs ?? failure.error.retryAfterMs ?? 1_000);
    case "unable":
    case "credential":
      return withRetryAfter(failure.error, failure.error.retryAfterMs ?? 1_000);
    case "unsent":
    case "lost":
    case "timeout":
      // The reason is ours or the platform's, never an upstream's text; it is logged, not sent.
      console.warn(JSON.stringify({ message: "no upstream answered", service, outcome: failure.kind, why: failure.why, attempts: attempts.length }));
      return new FairleadError(finalCode(failure), failure.kind === "timeout" ? `Cannot serve "${service}": no upstream answered in time` : `Cannot serve "${service}": the upstream was lost before it answered`, { retryAfterMs: 1_000 });
    case "abandoned":
      return new FairleadError(finalCode(failure), `Cannot serve "${service}": the attempt was given up`, { retryAfterMs: 1_000 });
  }
}

/** The same error with when to come back: at least a second, so that nobody comes back at once. */
function withRetryAfter({ code, message, param, cause }: FairleadError, ms: number): FairleadError {
  return new FairleadError(code, message, { param, retryAfterMs: Math.min(parkMsMax, Math.max(1_000, ms)), cause });
}
