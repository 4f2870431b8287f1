import type { Provider, RouteService } from "../../schema/bundle.ts";
import { FairleadError } from "../../schema/errors.ts";
import { decrypt, sharedKey } from "../../schema/seal.ts";
import { linkTimes } from "../../schema/protocol.ts";
import type { RouterEnv } from "../env.ts";
import { prefillOf, providerRequest } from "../provider/provider.ts";
import { blame, forgive } from "../quarantine.ts";
import type { Candidate } from "../route/candidates.ts";
import type { RequestFacts } from "../route/request.ts";
import type { Decision } from "../route/route.ts";
import { attempt, type Answer, type Client } from "./attempt.ts";
import { attemptInTurn, brokeOff, type Tried, type Unanswered } from "./attempts.ts";
import { carry } from "./carriage.ts";
import { endOf } from "./deadline.ts";
import { Delivered } from "./delivered.ts";
import type { GoOn } from "./goOn.ts";
import type { HeaderObject } from "./headers.ts";
import { goingOn } from "./legs.ts";
import { remembered } from "./memory.ts";
import type { Run } from "./hedge.ts";
import { finalCode, type Failure, type Outcome, type Reply } from "./outcome.ts";
import { FirstLeg } from "./passage.ts";
import { askOf, wantsIds, withIds, type Ask } from "./resume.ts";
import { parkMsMax } from "./retryAfter.ts";
import { orSilence } from "./silence.ts";
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
  /** As it came, and what goes on after its answer. */
  request: Request;
  waitUntil: (work: Promise<unknown>) => void;
  service: RouteService;
  /** All upstreams of the service, also those that are not candidates now. */
  pool: Pool;
  /** OpenAI's API: answers are looked at, and an attempt may be anywhere. Else the answer's status decides. */
  inference: boolean;
  /** Whether an attempt that may have begun may be repeated elsewhere. */
  repeatable: boolean;
  random: () => number;
  /** Told of what became of the request when that turns out after its answer has begun. */
  note?: (unforwarded: Unforwarded) => void;
  /** Candidates by news, when the last of the first decision could not be reached or was lost. */
  again?: () => Promise<Decision>;
  /** The answer is over, and more than one upstream gave it. */
  resumed?: (attempts: readonly Tried[], last: Candidate) => void;
}

/** Where a request may go; or why nowhere. */
export type Decided = Decision & { refused?: FairleadError };

export interface Forwarded {
  answer: Answer;
  candidate: Candidate;
  /** Every attempt in the order of their ends, the one that answered last. */
  attempts: Tried[];
  /** The one deadline, ms since the epoch. */
  endsAt: number;
  /**
   * To be called when the answer has been given, once; with what went wrong in the middle of it.
   *
   * @returns what the caller is told when the request is to stop because replicas die of it: nothing goes on with the answer then
   */
  over: (failure?: Failure) => Promise<FairleadError | undefined> | undefined;
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

async function sendToProvider(options: ForwardOptions, candidate: Extract<Candidate, { kind: "provider" }>, sending: Sending, signal: AbortSignal | undefined): Promise<Reply> {
  const { provider, apiKey } = opened.get(candidate.provider) ?? (await open(options, candidate.provider));
  const { url: called, headers, body } = providerRequest(provider, apiKey, sending);
  const url = sending.path === detokenizePath ? called.replace(/(\/v1)?\/detokenize(?=\?|$)/, detokenizePath) : called;
  return { kind: "answer", response: await fetch(url, { method: sending.method, headers, body, redirect: "manual", ...(signal === undefined ? {} : { signal }) }) };
}

/** A body that is here. */
type Whole = ArrayBuffer | Uint8Array;

/** Whether a replica was lost in the middle of its answer, by its agent's word; a carrier that is gone or silent says nothing against it. */
async function diedMidway({ env }: ForwardOptions, { host, relays }: Extract<Candidate, { kind: "replica" }>, requestId: string): Promise<boolean> {
  const asked = Promise.allSettled(relays.map((relay) => env.RELAY.getByName(`${host}/${relay}`).whyBroken(requestId)));
  const heard = await orSilence(asked, linkTimes.dispatchAckMs);
  return heard !== "silent" && heard.value.some((answer) => answer.status === "fulfilled" && answer.value === "upstream_lost");
}

/**
 * Send a request to the first upstream that answers.
 *
 * Before the first byte of the answer — of a stream: before its first event — failures move on to the next candidate, while
 * attempts, retry budget and time last. A body that is a stream can be sent once only.
 */
export async function forward(options: ForwardOptions, decision: Decided, sending: Sending): Promise<Forwarded | Unforwarded> {
  if (decision.refused !== undefined) return { error: decision.refused, attempts: [] };
  const { service, pool, inference, random, again } = options;
  const { client, stream, startedAt } = sending;
  const once = sending.body instanceof ReadableStream;
  const memory = remembered(service);
  const endsAt = endOf(startedAt, service.timeouts);
  // of a body that is a stream nothing is known
  const account = once || sending.body === null ? undefined : sending.facts?.account;
  const accuse = (replica: string): FairleadError | undefined =>
    account === undefined ? undefined : blame({ service, account, body: sending.body as Whole, env: options.env, request: options.request, waitUntil: options.waitUntil, requestId: sending.requestId, startedAt, replica });
  const first = inference && stream ? firstLegOf(options, sending) : undefined;
  const sendTo = (candidate: Candidate, what: Sending, limitMs: number, watch: (() => Watch) | undefined, last = false): Run<Outcome<Answer>> =>
    attempt({ client, limitMs, inference, stream: what.stream, watch, last: last && candidate.kind === "provider" && inference && !stream }, (signal) => (candidate.kind === "provider" ? sendToProvider(options, candidate, what, signal) : carry({ env: options.env, kept: inference, random }, candidate, what, signal)));
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
    largerContext: !once && service.routing.contextWindowFallback,
    remembered: memory,
    now: Date.now,
    random,
    wait: (ms) => scheduler.wait(ms),
    send: (candidate, limitMs, last) => sendTo(candidate, first?.sending(candidate) ?? sending, limitMs, first?.watch(candidate), last),
    blame: accuse,
    gone: () => client.gone,
  });
  if (!("answer" in result)) return { error: failureOf(service.name, result, client.gone), attempts: result.attempts };
  const { answer, candidate, attempts, flight } = result;
  /** What the end of a replica's part says of the request. */
  const judge = (by: Candidate, failure: Failure | undefined): Promise<FairleadError | undefined> | undefined => {
    if (account === undefined || by.kind !== "replica") return undefined;
    if (failure === undefined) forgive(service, account, sending.body as Whole);
    if (failure?.kind !== "lost" && failure?.kind !== "unable") return undefined;
    return diedMidway(options, by, sending.requestId).then((died) => {
      const error = died ? accuse(by.id) : undefined;
      const last = attempts.findLastIndex(({ id }) => id === by.id);
      if (error !== undefined) options.note?.({ error, attempts: attempts.map((tried, i) => (i === last ? { ...tried, outcome: failure.kind } : tried)) });
      return error;
    });
  };
  const over: Forwarded["over"] = (failure) => {
    const now = Date.now();
    memory.flights.end(flight, now);
    if (failure !== undefined) memory.standings.failed(candidate.id, sending.path, failure, now, now, random);
    if (failure !== undefined && failure.kind !== "abandoned") brokeOff(attempts, candidate.id, failure);
    return judge(candidate, failure);
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
      blame: (replica) => accuse(replica),
      judge,
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
