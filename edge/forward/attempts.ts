import type { Method } from "../../schema/decision.ts";
import type { FairleadError } from "../../schema/errors.ts";
import type { Now, Random } from "../../schema/clock.ts";
import type { Candidate } from "../route/candidates.ts";
import type { Observed } from "../route/observed.ts";
import type { RequestFacts } from "../route/request.ts";
import { retryCost, type RetryBudget } from "./budget.ts";
import { attemptMs } from "./deadline.ts";
import type { Flight, Flights } from "./flights.ts";
import { firstGood, type Run } from "./hedge.ts";
import { diedOf } from "./poison.ts";
import { isPassing, mayGoElsewhere, type Failure, type Outcome } from "./outcome.ts";
import { waitMsMax } from "./retryAfter.ts";
import type { Standings, Upstreams } from "./standing.ts";

/** Upstream attempts of one request at most, whatever people set (facts/openai-wire.md §12). */
export const attemptsMaxEver = 6;
/** Before the same upstream is asked again after a passing failure: up to this long, at random (facts/failures.md §2). */
const passingMsMax = 50;
/**
 * Before a replica whose host was silent is asked again, where nobody else is left: an agent's first reconnection takes up to half a second
 * (facts/failures.md §2). Then twice as long.
 */
const silentMs = 500;

/** How late after its request's end an attempt may be said to have ended: timers and the last write take their time. */
export const lateMs = 1_000;

/** One attempt, for whoever asks why. */
export interface Tried {
  id: string;
  outcome: Outcome<unknown>["kind"];
  ms: number;
  /** It had begun to answer. */
  midway?: boolean;
  /** How it was to go on with an answer that another had begun. */
  method?: Method;
  /** It was begun because another one was silent. */
  hedge?: boolean;
  /** A relay of its host did not answer, and it went by another one. */
  detour?: boolean;
}

/** What answered is lost in the middle. */
export function brokeOff(attempts: readonly Tried[], id: string, { kind }: Failure): void {
  const entry = attempts.findLast((tried) => tried.id === id && tried.outcome === "answer");
  if (entry === undefined) return;
  entry.outcome = kind;
  entry.midway = true;
}

/** What one isolate remembers of a service. */
export interface Remembered {
  budget: RetryBudget;
  standings: Standings;
  observed: Observed;
  /** What of it is in flight. */
  flights: Flights;
}

/** All that the attempts of one request depend on; time, chance and the wire are arguments. */
export interface Course<Answer> {
  candidates: readonly Candidate[];
  /** Candidates by the latest news, when the last of the first could not be reached or was lost; `tried` has failed the request. */
  again?: ((tried: readonly string[]) => Promise<readonly Candidate[]>) | undefined;
  upstreams: Upstreams;
  path: string;
  /** What may have begun may be repeated. */
  repeatable: boolean;
  stream: boolean;
  /** What routing weighs of it: remembered with the upstream that gets it. */
  request?: RequestFacts | undefined;
  attemptsMax: number;
  ttftMs: number;
  endsAt: Now;
  hedgeAfterMs: number | undefined;
  /** What is too long for one upstream may go to one whose context window is known to be larger. */
  largerContext: boolean;
  remembered: Remembered;
  now: () => Now;
  random: Random;
  wait: (ms: number) => Promise<void>;
  /** Begin an attempt that may go so long without its first byte. `last`: when it is silent for so long, nothing is tried after it. `others`: there is somebody else to try. */
  send: (candidate: Candidate, limitMs: number, last: boolean, others: boolean) => Run<Outcome<Answer>>;
  /** A replica was lost while it had the request; what its caller is told when it is to stop because of that. */
  blame?: ((replica: string) => FairleadError | undefined) | undefined;
  /** Nobody waits for the answer any more. */
  gone: () => boolean;
}

export interface Answered<Answer> {
  answer: Answer;
  candidate: Candidate;
  attempts: Tried[];
  /** To be ended when the answer is over. */
  flight: Flight;
}

export interface Unanswered {
  /** Undefined when nothing was tried. */
  failure: Failure | undefined;
  attempts: Tried[];
}

interface Begun<Answer> extends Run<Outcome<Answer>> {
  run: Run<Outcome<Answer>>;
  candidate: Candidate;
  at: Now;
  flight: Flight;
  hedge?: boolean;
}

function costOf(failure: Failure): number {
  return failure.kind === "throttled" ? retryCost.throttling : retryCost.transient;
}

/**
 * The attempts of one request, one after the other: each failure is classified, and what may go elsewhere does, while attempts,
 * budget and time last. The same replica is not asked twice, but for one whose host was silent, where nobody else is left; a provider,
 * being a single endpoint, is asked again once after a passing failure and once after a short Retry-After.
 */
export async function attemptInTurn<Answer>(course: Course<Answer>): Promise<Answered<Answer> | Unanswered> {
  const turn = new Turn(course);
  for (let next = turn.pick(); next !== undefined; next = await turn.next()) {
    const answered = await turn.attempt(next);
    if (answered !== undefined) return answered;
  }
  return { failure: turn.failure, attempts: turn.attempts };
}

class Turn<Answer> {
  readonly #course: Course<Answer>;
  readonly #used: string[] = [];
  readonly attempts: Tried[] = [];
  #candidates: readonly Candidate[];
  #last: Candidate | undefined;
  #begun = 0;
  #waitMsLeft = waitMsMax;
  #repeatedPassing = false;
  #repeatedThrottled = false;
  #askedAgain = false;
  #silences = 0;
  failure: Failure | undefined;
  /** The largest context window that was too small, in tokens. */
  #windowOver = 0;

  constructor(course: Course<Answer>) {
    this.#course = course;
    this.#candidates = course.candidates;
  }

  /** The first candidate that was not tried and is not blocked; those whose breakers are not believed come last. */
  pick(): Candidate | undefined {
    const { remembered: { standings }, upstreams, path, now } = this.#course;
    const survey = standings.untroubled ? undefined : standings.survey(upstreams, path, now(), this.#used);
    let last: Candidate | undefined;
    for (const candidate of this.#candidates) {
      if (this.#used.includes(candidate.id) || (this.#windowOver > 0 && (candidate.contextWindow ?? 0) <= this.#windowOver)) continue;
      if (survey === undefined) return candidate;
      if (survey.blocked.has(candidate.id)) continue;
      if (!survey.lastResort(candidate.id)) return candidate;
      last ??= candidate;
    }
    return last;
  }

  get #spent(): boolean {
    const { attemptsMax, gone, now, endsAt } = this.#course;
    return this.#begun >= Math.min(attemptsMax, attemptsMaxEver) || gone() || now() >= endsAt;
  }

  /** What to try after a failure; undefined when the failure stands. */
  async next(): Promise<Candidate | undefined> {
    const { failure } = this;
    const { repeatable, remembered, wait, again } = this.#course;
    if (failure === undefined || this.#spent) return undefined;
    // the upstream did its work: a larger one is asked at no cost to the budget
    if (failure.kind === "context_length") return this.#larger();
    if (!mayGoElsewhere(failure, repeatable)) return undefined;
    const sameInMs = this.#sameInMs(failure);
    if (sameInMs !== undefined) {
      if (!remembered.budget.take(costOf(failure))) return undefined;
      await wait(sameInMs);
      return this.#spent ? undefined : this.#last;
    }
    let next = this.pick();
    if (next === undefined && again !== undefined && !this.#askedAgain && this.#mayHaveGone(failure)) {
      // What was known has gone; what took its place, or is back, may be known by now.
      this.#askedAgain = true;
      this.#candidates = await again(this.#used);
      next = this.pick();
    }
    next ??= await this.#afterSilence(failure);
    return next !== undefined && remembered.budget.take(costOf(failure)) ? next : undefined;
  }

  /** Nobody else is left, and the last one's host said nothing, so nothing has begun there: it may have stalled for a moment. By the news it is asked again. */
  async #afterSilence(failure: Failure): Promise<Candidate | undefined> {
    const { again, wait, now, endsAt } = this.#course;
    const silent = this.#last;
    const pauseMs = silentMs * 2 ** this.#silences++;
    if (failure.kind !== "unsent" || failure.silent === undefined || silent === undefined || again === undefined || now() + pauseMs >= endsAt) return undefined;
    await wait(pauseMs);
    if (this.#spent) return undefined;
    this.#candidates = await again(this.#used);
    return this.pick() ?? this.#candidates.find(({ id }) => id === silent.id);
  }

  /** Who may have room for what is too long for the last one. */
  #larger(): Candidate | undefined {
    const { largerContext, repeatable } = this.#course;
    const window = this.#last?.contextWindow;
    if (!largerContext || !repeatable || window === undefined) return undefined;
    this.#windowOver = Math.max(this.#windowOver, window);
    return this.pick();
  }

  /** Whether a failure says that what was known of the replicas is out of date. */
  #mayHaveGone({ kind }: Failure): boolean {
    return kind === "unsent" || (kind === "lost" && this.#course.upstreams.replicas.length > 0);
  }

  /** How long to wait before the same upstream is asked again; undefined when another one is to be asked. */
  #sameInMs(failure: Failure): number | undefined {
    const { now, endsAt, random } = this.#course;
    if (this.#last?.kind !== "provider") return undefined;
    if (isPassing(failure) && !this.#repeatedPassing) {
      this.#repeatedPassing = true;
      return random() * passingMsMax;
    }
    if (failure.kind !== "throttled" || failure.retryAfterMs === undefined || this.#repeatedThrottled) return undefined;
    if (failure.retryAfterMs > this.#waitMsLeft || now() + failure.retryAfterMs >= endsAt) return undefined;
    // one of the same rank that can be asked now is better than waiting
    const other = this.pick();
    if (other !== undefined && other.fallback === this.#last.fallback) return undefined;
    this.#repeatedThrottled = true;
    this.#waitMsLeft -= failure.retryAfterMs;
    return failure.retryAfterMs;
  }

  #begin(candidate: Candidate): Begun<Answer> {
    const { remembered, now, endsAt, ttftMs, stream, request, hedgeAfterMs, send } = this.#course;
    const at = now();
    this.#begun++;
    this.#used.push(candidate.id);
    const flight = remembered.flights.begin(candidate.id, at, endsAt + lateMs, request);
    remembered.standings.began(candidate.id, at);
    const others = this.#candidates.length > this.#used.length && this.pick() !== undefined;
    const run = send(candidate, attemptMs({ now: at, endsAt, ttftMs, others, stream, observedMs: others && stream ? remembered.observed.ttftMs(candidate.id, at) : undefined }), !others && hedgeAfterMs === undefined, others);
    return { run, candidate, at, flight, result: run.result, abandon: run.abandon };
  }

  #settle({ run, candidate, at, flight, hedge }: Begun<Answer>, outcome: Outcome<Answer>): Answered<Answer> | undefined {
    const { remembered, path, now, random, stream, blame } = this.#course;
    const { budget, standings, observed, flights } = remembered;
    const settledAt = now();
    const entry: Tried = { id: candidate.id, outcome: outcome.kind, ms: settledAt - at };
    if (hedge === true) entry.hedge = true;
    if (run.noted?.detour === true) entry.detour = true;
    this.attempts.push(entry);
    if (outcome.kind === "answer") {
      budget.succeeded();
      standings.answered(candidate.id, settledAt, at);
      if (stream) observed.firstByte(candidate.id, settledAt - at, settledAt);
      else observed.answered(candidate.id, settledAt);
      return { answer: outcome.answer, candidate, attempts: this.attempts, flight };
    }
    flights.end(flight, settledAt);
    standings.failed(candidate.id, path, outcome, settledAt, at, random);
    this.#last = candidate;
    const stop = candidate.kind === "replica" && diedOf(outcome) ? blame?.(candidate.id) : undefined;
    this.failure = stop === undefined ? outcome : { kind: "caller", error: stop };
    return undefined;
  }

  /** One attempt, or two at once when the first is silent for too long. */
  async attempt(candidate: Candidate): Promise<Answered<Answer> | undefined> {
    const { hedgeAfterMs, repeatable } = this.#course;
    const begun = this.#begin(candidate);
    if (hedgeAfterMs === undefined || !repeatable || this.#spent) return this.#settle(begun, await begun.result);
    return this.#hedged(begun, hedgeAfterMs);
  }

  async #hedged(begun: Begun<Answer>, afterMs: number): Promise<Answered<Answer> | undefined> {
    const { wait, remembered } = this.#course;
    const early = await Promise.race([begun.result, wait(afterMs).then(() => undefined)]);
    if (early !== undefined) return this.#settle(begun, early);
    const other = this.#spent ? undefined : this.pick();
    if (other === undefined || !remembered.budget.take(retryCost.transient)) return this.#settle(begun, await begun.result);
    const runs = [begun, { ...this.#begin(other), hedge: true }] as const;
    const [one, two] = runs;
    const { result, index } = await firstGood<Outcome<Answer>>(
      runs,
      ({ kind }) => kind === "answer",
      (first) => this.#settle(first.index === 0 ? one : two, first.result),
    );
    const [winner, loser] = index === 0 ? [one, two] : [two, one];
    if (result.kind === "answer" && this.attempts.length < this.#begun - 1) this.#settle(loser, { kind: "abandoned" });
    return this.#settle(winner, result);
  }
}
