import { linkTimes } from "../../schema/protocol.ts";
import type { Now, Random } from "../../schema/clock.ts";
import type { Routing } from "../../schema/bundle.ts";
import type { Method } from "../../schema/decision.ts";
import type { FairleadError } from "../../schema/errors.ts";
import type { Prefill } from "../provider/vendors.ts";
import type { Candidate } from "../route/candidates.ts";
import type { RequestFacts } from "../route/request.ts";
import { Again } from "./again.ts";
import type { Answer } from "./attempt.ts";
import { attemptsMaxEver, brokeOff, lateMs, type Remembered, type Tried } from "./attempts.ts";
import { retryCost } from "./budget.ts";
import { attemptMs } from "./deadline.ts";
import type { Delivered } from "./delivered.ts";
import type { Flight } from "./flights.ts";
import type { Broken, GoOn } from "./goOn.ts";
import type { Run } from "./hedge.ts";
import { isUnable, type Failure, type Outcome } from "./outcome.ts";
import type { Passage } from "./passage.ts";
import { diedOf } from "./poison.ts";
import { exactLeg, exactRefusal, idsFor, methodsOf, regenerateRefusal, textLeg, textRefusal, type Ask, type Leg } from "./resume.ts";
import { Exact, FromText } from "./splice.ts";
import type { Upstreams } from "./standing.ts";
import type { Source } from "./inflow.ts";

/** All that the legs of one answer depend on after its first; time, chance and the wire are arguments. */
export interface Legs {
  ask: Ask;
  onStreamLoss: Routing["onStreamLoss"];
  /** The client's name for the model. */
  model: string;
  /** As they were when the request came. */
  candidates: readonly Candidate[];
  /** As they are now. */
  again: ((tried: readonly string[]) => Promise<readonly Candidate[]>) | undefined;
  upstreams: Upstreams;
  path: string;
  request?: RequestFacts | undefined;
  /** Of the request: those before its first byte are in it, those of its legs join them. */
  attempts: Tried[];
  attemptsMax: number;
  ttftMs: number;
  idleMs: number;
  startedAt: Now;
  endsAt: Now;
  remembered: Remembered;
  now: () => Now;
  random: Random;
  /** Send a leg; without one the request as it was. */
  send: (candidate: Candidate, leg: Leg | undefined, passage: Passage, limitMs: number) => Run<Outcome<Answer>>;
  /** The text of token ids, by an engine; undefined when it does not tell. */
  detokenize: (candidate: Candidate, ids: readonly number[], limitMs: number) => Promise<string | undefined>;
  prefillOf: (candidate: Candidate) => Prefill;
  /** A replica was lost before its leg began; what the caller is told when the request is to stop because of that. */
  blame: (replica: string) => FairleadError | undefined;
  /** A leg is over; the same of one that broke in the middle. */
  judge: (candidate: Candidate, failure: Failure | undefined) => Promise<FairleadError | undefined> | undefined;
  gone: () => boolean;
  /** The client has gone: end what is under way. */
  leave: () => void;
  /** The answer is over, and was given by more than one. */
  resumed: (last: Candidate) => void;
}

/** How long an engine may take to spell out token ids: it is a look into a table. */
const detokenizeMs = 2_000;

/** Whether the stream was lost, and not refused, ended by its client or out of time. */
export function isLoss(failure: Failure): boolean {
  switch (failure.kind) {
    case "unsent":
    case "lost":
    case "throttled":
    case "credential":
    // only a leg that went on with another answer is given up by us
    case "abandoned":
      return true;
    case "timeout":
      return failure.why !== "total";
    case "unable":
      return isUnable(failure.status);
    case "caller":
    case "context_length":
    case "content_filter":
      return false;
  }
}

/** Whether an upstream said no to a leg's form, and may say yes to another. */
function isRefusal(failure: Failure): boolean {
  switch (failure.kind) {
    case "caller":
    case "context_length":
    case "content_filter":
      return true;
    case "credential":
      return failure.status === 404 || failure.status === 405;
    case "unable":
      return failure.status < 500 && failure.status !== 429;
    case "unsent":
    case "lost":
    case "timeout":
    case "throttled":
    case "abandoned":
      return false;
  }
}

/** What one answer has tried to go on with. */
class Course {
  readonly #legs: Legs;
  /** Who gave the answer's beginning. */
  readonly #origin: Candidate;
  /** How often each upstream was asked. */
  readonly #asked = new Map<string, number>();
  /** Single endpoints that were lost in the middle of an answer: they may have more machines behind them. */
  readonly #lost = new Set<string>();
  /** Another model has gone on: nobody gives that answer again. */
  #mixed = false;
  #news: readonly Candidate[] | undefined;

  constructor(legs: Legs, origin: Candidate) {
    this.#legs = legs;
    this.#origin = origin;
    for (const { id } of legs.attempts) this.#asked.set(id, (this.#asked.get(id) ?? 0) + 1);
  }

  get #spent(): boolean {
    const { attempts, attemptsMax, gone, now, endsAt } = this.#legs;
    return attempts.length >= Math.min(attemptsMax, attemptsMaxEver) || gone() || now() >= endsAt;
  }

  get #tried(): string[] {
    return [...this.#asked.keys()];
  }

  #modelOf(candidate: Candidate): string {
    return candidate.kind === "provider" ? (candidate.provider.model ?? this.#legs.model) : this.#legs.model;
  }

  #isSameModel(candidate: Candidate): boolean {
    if (candidate.kind === "replica" && this.#origin.kind === "replica") return candidate.version === this.#origin.version;
    return this.#modelOf(candidate) === this.#modelOf(this.#origin);
  }

  #mayAsk({ id, kind }: Candidate): boolean {
    const asked = this.#asked.get(id) ?? 0;
    return asked === 0 || (kind === "provider" && asked === 1 && this.#lost.has(id));
  }

  /** Those that may be asked: by rank, then those that are asked when nothing else is left. */
  #ranked(candidates: readonly Candidate[]): Candidate[] {
    const { remembered, upstreams, path, now } = this.#legs;
    const survey = remembered.standings.survey(upstreams, path, now(), this.#tried);
    const usable = candidates.filter((candidate) => this.#mayAsk(candidate) && survey?.blocked.has(candidate.id) !== true);
    const last = (candidate: Candidate): number => (this.#lost.has(candidate.id) ? 2 : 0) + (survey?.lastResort(candidate.id) === true ? 1 : 0);
    return usable.toSorted((a, b) => last(a) - last(b));
  }

  #fits(method: Method, candidate: Candidate, delivered: Delivered): boolean {
    const { ask } = this.#legs;
    switch (method) {
      case "exact":
        return candidate.continuation === "tokens" && !this.#mixed && this.#isSameModel(candidate) && exactRefusal(ask, delivered) === undefined;
      case "text":
        return candidate.continuation !== "none" && textRefusal(ask, delivered) === undefined;
      case "regenerate":
        return !this.#mixed && this.#isSameModel(candidate) && regenerateRefusal(delivered) === undefined;
    }
  }

  /** @returns undefined when the method does not do with this upstream after all */
  async #leg(method: Method, candidate: Candidate, delivered: Delivered): Promise<{ leg: Leg | undefined; passage: Passage } | undefined> {
    const { ask, detokenize, prefillOf } = this.#legs;
    switch (method) {
      case "exact": {
        if (ask.stops.length === 0) return { leg: exactLeg(ask, delivered), passage: new Exact(ask, delivered, "") };
        // an engine that looks for stop strings holds text back: it has generated more than it has given
        const text = await detokenize(candidate, idsFor(ask, delivered), detokenizeMs);
        const had = delivered.textOf(0);
        if (text === undefined || !text.startsWith(had)) return undefined;
        return { leg: exactLeg(ask, delivered), passage: new Exact(ask, delivered, text.slice(had.length).replace(/\uFFFD+$/, "")) };
      }
      case "text":
        return { leg: textLeg(ask, delivered, prefillOf(candidate)), passage: new FromText(ask, delivered, this.#isSameModel(candidate)) };
      case "regenerate":
        return { leg: undefined, passage: new Again(ask, delivered) };
    }
  }

  async next({ failure, watch }: Broken, lost: Candidate): Promise<Source | undefined> {
    const { attempts, onStreamLoss, now, startedAt, again } = this.#legs;
    const delivered = watch.passage?.delivered;
    brokeOff(attempts, lost.id, failure);
    if (delivered === undefined || !isLoss(failure)) return undefined;
    if (lost.kind === "provider" && failure.kind !== "abandoned") this.#lost.add(lost.id);
    // an old decision names replicas that have gone since
    if (now() - startedAt > linkTimes.leaseMs) await this.#ask(again);
    for (;;) {
      for (const method of delivered.some ? methodsOf(onStreamLoss) : (["regenerate"] as const)) {
        const source = await this.#by(method, delivered);
        if (source !== undefined) return source;
      }
      if (this.#spent || this.#news !== undefined) return undefined;
      await this.#ask(again);
      if (this.#news === undefined) return undefined;
    }
  }

  async #ask(again: Legs["again"]): Promise<void> {
    try {
      this.#news = await again?.(this.#tried);
    } catch {
      // nobody knows better than the decision that the request began with
    }
  }

  async #by(method: Method, delivered: Delivered): Promise<Source | undefined> {
    const { budget } = this.#legs.remembered;
    const refused = new Set<string>();
    for (;;) {
      const candidates = this.#ranked(this.#news ?? this.#legs.candidates);
      const candidate = candidates.find((one) => !refused.has(one.id) && this.#fits(method, one, delivered));
      if (candidate === undefined || this.#spent) return undefined;
      refused.add(candidate.id);
      const leg = await this.#leg(method, candidate, delivered);
      if (leg === undefined) continue;
      if (this.#spent || !budget.take(retryCost.transient)) return undefined;
      const answer = await this.#attempt(candidate, method, leg, candidates.length > 1);
      if (answer === undefined) continue;
      if (method === "text" && !this.#isSameModel(candidate)) this.#mixed = true;
      return this.#source(candidate, answer.answer, answer.flight);
    }
  }

  /** @throws FairleadError when replicas die of the request */
  async #attempt(candidate: Candidate, method: Method, { leg, passage }: { leg: Leg | undefined; passage: Passage }, others: boolean): Promise<{ answer: Answer; flight: Flight } | undefined> {
    const { remembered, attempts, now, random, endsAt, ttftMs, request, path, send } = this.#legs;
    const { budget, standings, observed, flights } = remembered;
    const { id } = candidate;
    const at = now();
    const flight = flights.begin(id, at, endsAt + lateMs, request);
    standings.began(id, at);
    this.#asked.set(id, (this.#asked.get(id) ?? 0) + 1);
    const { result } = send(candidate, leg, passage, attemptMs({ now: at, endsAt, ttftMs, others, stream: true, observedMs: others ? observed.ttftMs(id, at) : undefined }));
    const outcome = await result;
    const settledAt = now();
    attempts.push({ id, outcome: outcome.kind, ms: settledAt - at, method });
    if (outcome.kind === "answer" && outcome.answer.events !== undefined) {
      budget.succeeded();
      standings.answered(id, settledAt, at);
      observed.firstByte(id, settledAt - at, settledAt);
      return { answer: outcome.answer, flight };
    }
    flights.end(flight, settledAt);
    if (outcome.kind === "answer") {
      outcome.answer.abandon();
      standings.answered(id, settledAt, at);
      return undefined;
    }
    standings.failed(id, leg?.path ?? path, outcome, settledAt, at, random);
    const stop = candidate.kind === "replica" && diedOf(outcome) ? this.#legs.blame(id) : undefined;
    if (stop !== undefined) throw stop;
    if (isRefusal(outcome)) this.#asked.set(id, (this.#asked.get(id) ?? 1) - 1);
    return undefined;
  }

  #source(candidate: Candidate, { events, abandon }: Answer, flight: Flight): Source | undefined {
    if (events === undefined) return undefined;
    const { remembered, path, now, random, idleMs, endsAt, resumed, judge } = this.#legs;
    const over: Source["over"] = (failure) => {
      const at = now();
      remembered.flights.end(flight, at);
      if (failure !== undefined) remembered.standings.failed(candidate.id, path, failure, at, at, random);
      resumed(candidate);
      return judge(candidate, failure);
    };
    return { events, abandon, over, idleMs, endsAt, goOn: this.goOn(candidate) };
  }

  goOn(lost: Candidate): GoOn<Source> {
    return (broken) => ({ result: this.next(broken, lost), abandon: this.#legs.leave });
  }
}

/**
 * What goes on with a begun stream that is lost: by the best method, on the first upstream that takes it up, while attempts, retry
 * budget and time last.
 */
export function goingOn(legs: Legs, first: Candidate): GoOn<Source> {
  // most streams are not lost
  let course: Course | undefined;
  return (broken) => (course ??= new Course(legs, first)).goOn(first)(broken);
}
