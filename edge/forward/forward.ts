import type { RouteService } from "../../schema/bundle.ts";
import type { FairleadError } from "../../schema/errors.ts";
import type { RouterEnv } from "../env.ts";
import { prefillOf } from "../provider/provider.ts";
import { blame, forgive } from "../quarantine.ts";
import type { Candidate } from "../route/candidates.ts";
import type { Decision } from "../route/route.ts";
import { attempt, type Answer } from "./attempt.ts";
import { attemptInTurn, brokeOff, type Tried } from "./attempts.ts";
import { carry, diedMidway } from "./carriage.ts";
import { endOf } from "./deadline.ts";
import { detokenize } from "./detokenize.ts";
import { firstLegOf } from "./firstLeg.ts";
import type { GoOn } from "./goOn.ts";
import type { Run } from "./hedge.ts";
import { goingOn } from "./legs.ts";
import { remembered } from "./memory.ts";
import type { Failure, Outcome } from "./outcome.ts";
import type { Sending } from "./sending.ts";
import { sendToProvider } from "./sendToProvider.ts";
import type { Upstreams } from "./standing.ts";
import type { Source } from "./inflow.ts";
import { unanswered } from "./unanswered.ts";
import { Watch } from "./watch.ts";

export interface ForwardOptions {
  env: RouterEnv;
  /** As it came, and what goes on after its answer. */
  request: Request;
  waitUntil: (work: Promise<unknown>) => void;
  service: RouteService;
  /** All upstreams of the service, also those that are not candidates now. */
  upstreams: Upstreams;
  /** OpenAI's API: answers are looked at, and an attempt may be anywhere. Else the answer's status decides. */
  inference: boolean;
  /** Whether an attempt that may have begun may be repeated elsewhere. */
  repeatable: boolean;
  random: () => number;
  /** Told of what became of the request when that turns out after its answer has begun. */
  note?: (unforwarded: Unforwarded) => void;
  /** Candidates by news, when the last of the first decision could not be reached or was lost; `tried` has failed the request. */
  again?: (tried: readonly string[]) => Promise<Decision>;
  /** The answer is over, and more than one upstream gave it. */
  resumed?: (attempts: readonly Tried[], last: Candidate) => void;
}

/** Where a request may go; or why nowhere. */
export type Decided = Decision & { refused?: FairleadError; /** None of the service's own replicas is ready. */ lacking?: boolean };

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

/**
 * Send a request to the first upstream that answers.
 *
 * Before the first byte of the answer — of a stream: before its first event — failures move on to the next candidate, while
 * attempts, retry budget and time last. A body that is a stream can be sent once only.
 */
export async function forward(options: ForwardOptions, decision: Decided, sending: Sending): Promise<Forwarded | Unforwarded> {
  if (decision.refused !== undefined) return { error: decision.refused, attempts: [] };
  const { service, upstreams, inference, random, again } = options;
  const { client, stream, startedAt } = sending;
  const { body } = sending;
  const once = body instanceof ReadableStream;
  const memory = remembered(service);
  const endsAt = endOf(startedAt, service.timeouts);
  // of a body that is a stream nothing is known
  const account = typeof body === "string" ? sending.facts?.account : undefined;
  const accuse = (replica: string): FairleadError | undefined =>
    account === undefined || typeof body !== "string" ? undefined : blame({ service, account, body, env: options.env, request: options.request, waitUntil: options.waitUntil, requestId: sending.requestId, startedAt, replica });
  const first = inference && stream ? firstLegOf(service.routing.onStreamLoss, sending) : undefined;
  const sendTo = (candidate: Candidate, what: Sending, limitMs: number, watch: (() => Watch) | undefined, last = false, others = false): Run<Outcome<Answer>> =>
    attempt({ client, limitMs, inference, stream: what.stream, watch, last: last && candidate.kind === "provider" && inference && !stream }, (signal, waiting) => (candidate.kind === "provider" ? sendToProvider(options, candidate, what, signal) : carry({ env: options.env, waitUntil: options.waitUntil, kept: inference, repeatable: options.repeatable, elsewhere: others, random }, candidate, what, signal, waiting)));
  const result = await attemptInTurn<Answer>({
    candidates: decision.candidates,
    again: again === undefined ? undefined : async (tried: readonly string[]) => (await again(tried)).candidates,
    upstreams,
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
    send: (candidate, limitMs, last, others) => sendTo(candidate, first?.sending(candidate) ?? sending, limitMs, first?.watch(candidate), last, others),
    blame: accuse,
    gone: () => client.gone,
  });
  if (!("answer" in result)) {
    const { failure, attempts } = result;
    // the reason is ours or the platform's, never an upstream's text; it is logged, not sent
    if (failure !== undefined && "why" in failure && !client.gone) console.warn(JSON.stringify({ message: "no upstream answered", service: service.name, outcome: failure.kind, why: failure.why, attempts: attempts.length }));
    return { error: unanswered(service.name, failure, client.gone), attempts };
  }
  const { answer, candidate, attempts, flight } = result;
  /** What the end of a replica's part says of the request. */
  const judge = (by: Candidate, failure: Failure | undefined): Promise<FairleadError | undefined> | undefined => {
    if (account === undefined || typeof body !== "string" || by.kind !== "replica") return undefined;
    if (failure === undefined) forgive(service, account, body);
    if (failure?.kind !== "lost" && failure?.kind !== "unable") return undefined;
    return diedMidway(options.env, by, sending.requestId).then((died) => {
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
      again: again === undefined ? undefined : async (tried: readonly string[]) => (await again(tried)).candidates,
      upstreams,
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
      blame: accuse,
      judge,
      gone: () => client.gone,
      leave: () => client.leave(),
      resumed: (last) => options.resumed?.(attempts, last),
    },
    candidate,
  );
  return { answer, candidate, attempts, endsAt, over, goOn };
}
