import type { RouteService } from "../../schema/bundle.ts";
import type { ErrorCode } from "../../schema/errors.ts";
import type { Whole } from "../forward/attempt.ts";
import type { Tried } from "../forward/attempts.ts";
import type { Failure } from "../forward/outcome.ts";
import type { Decision } from "../route/route.ts";
import { endedAt, endingOf, type Counts, type Tally } from "./tally.ts";
import { countUsage, countUsageAtEnd, type UsageCounts } from "./usage.ts";
import type { VersionCounts } from "./versions.ts";

/** The versions of a service's replicas, while there are several, and where their attempts are counted. */
export interface Versions {
  of: ReadonlyMap<string, number>;
  counts: VersionCounts;
}

/** Who answered. */
interface Answerer {
  id: string;
  upstream: string;
}

/** What began, as far as it is counted. */
export interface Began {
  attempts: readonly Tried[];
  by: Answerer;
  status: number;
  /** Another kind of upstream answered than the one that was to. */
  fallback: boolean;
}

/**
 * One request, from its arrival to the end of its answer, in counts: it holds what is needed to count once, at the end. Time comes from
 * whoever reads a clock anyway.
 */
export class Journey {
  readonly #tally: Tally;
  readonly #service: RouteService;
  readonly #startedAt: number;
  #began: Began | undefined;
  #by = "";
  #place = 0;
  #endedAt = 0;
  #closed = false;
  /** Of `#upstream`, as long as they were not told. */
  #counts: Counts | undefined;
  #upstream = "";
  #generation = -1;
  #leave: (() => void) | undefined;
  #held = false;
  #versions: Versions | undefined;

  constructor(tally: Tally, service: RouteService, startedAt: number, versions?: Versions) {
    this.#versions = versions;
    this.#tally = tally;
    this.#service = service;
    this.#startedAt = startedAt;
    tally.of(service.name, "").add("arrivals", 1);
  }

  #of(upstream: string): Counts {
    if (this.#counts !== undefined && this.#upstream === upstream && this.#generation === this.#tally.generation) return this.#counts;
    this.#upstream = upstream;
    this.#generation = this.#tally.generation;
    return (this.#counts = this.#tally.of(this.#service.name, upstream));
  }

  /** No replica can take it, and it goes to a provider instead. @param leave called once when it has left there */
  spilled(leave: () => void): void {
    this.#leave = leave;
  }

  /** It has waited for a first replica. @param versions of the replicas that it found then: those that were there when it came may be none of them */
  held(versions: Versions | undefined): void {
    this.#held = true;
    this.#versions = versions;
  }

  /** Nobody answered, or the answer was stopped for the request's sake; what was tried is counted all the same. */
  refused(attempts: readonly Tried[], status: number, left: boolean, now: number, code?: ErrorCode): void {
    if (this.#closed) return;
    this.#leave?.();
    const counts = this.#tally.of(this.#service.name, "");
    counts.ended(left ? endedAt.left : endingOf(status));
    if (!left && this.#service.selfHosted && (code === "no_replica" || code === "saturated")) counts.lack("refused");
    counts.took("latency", now - this.#startedAt);
    this.#attempts(attempts);
    this.#closed = true;
  }

  /** An answer has begun. @param streamed it is a stream of events, whose first is here now */
  began(began: Began, decision: Decision, streamed: boolean, now: number): void {
    const { by, fallback, status } = began;
    this.#began = began;
    this.#by = by.upstream;
    this.#place = endingOf(status);
    this.#endedAt = now;
    const counts = this.#of(by.upstream);
    if (streamed) counts.took("ttft", now - this.#startedAt);
    if (streamed && this.#held) counts.tookHeld(now - this.#startedAt);
    if (fallback) counts.add("fallbacks", 1);
    if (by.upstream === this.#service.replicas.name) this.#leave?.();
    else if (this.#leave !== undefined || this.#wasFull(began.attempts)) counts.lack("spilled");
    const [first] = decision.scores;
    // the best of the scores is the pick, but for a tie: then it is looked for
    const score = first?.id === by.id ? first : decision.scores.find(({ id }) => id === by.id);
    if ((score?.parts["prefix"] ?? 0) > 0) counts.add("prefixHits", 1);
  }

  /** One that gave the answer is through with it. */
  over(failure: Failure | undefined, now: number): void {
    if (failure !== undefined) this.#place = failure.kind === "abandoned" ? endedAt.left : endedAt.broken;
    this.#endedAt = now;
  }

  /** Another one has gone on with it, and is through too. */
  resumed(by: Answerer, now: number): void {
    this.#by = by.upstream;
    this.#place = endingOf(this.#began?.status ?? 200);
    this.#endedAt = now;
  }

  /** The answer ended with an error event. */
  failed(now: number): void {
    this.#place = endedAt.broken;
    this.#endedAt = now;
  }

  /** The answer is over: count it, once. @param whole its body, where that is here */
  close({ usage, whole, reattached = 0 }: { usage?: UsageCounts | undefined; whole?: Whole | undefined; reattached?: number } = {}): void {
    if (this.#closed || this.#began === undefined) return;
    this.#closed = true;
    this.#leave?.();
    const counts = this.#of(this.#by);
    counts.ended(this.#place);
    counts.took("latency", this.#endedAt - this.#startedAt);
    if (usage !== undefined) countUsage(counts, usage);
    else if (typeof whole === "string") countUsageAtEnd(counts, whole);
    counts.resume("reattach", reattached);
    this.#attempts(this.#began.attempts);
  }

  #attempts(attempts: readonly Tried[]): void {
    for (let i = 0; i < attempts.length; i++) {
      const { id, outcome, method, hedge, ms } = attempts[i] as Tried;
      const version = this.#versions?.of.get(id);
      if (version !== undefined) this.#versions?.counts.tried(this.#service.name, version, outcome, ms, this.#began?.by.id === id ? this.#began.status : 200);
      const counts = this.#of(this.#upstreamOf(id));
      counts.attempt(outcome);
      if (hedge === true) counts.add("hedges", 1);
      // one that broke off in the middle had gone on with it all the same
      if (method !== undefined && (outcome === "answer" || outcome === "lost")) counts.resume(method);
    }
  }

  /** A replica refused it because it was at its limit. */
  #wasFull(attempts: readonly Tried[]): boolean {
    if (attempts.length < 2 || !this.#service.selfHosted) return false;
    return attempts.some(({ id, outcome }) => outcome === "throttled" && this.#upstreamOf(id) === this.#service.replicas.name);
  }

  #upstreamOf(id: string): string {
    const { by } = this.#began ?? {};
    if (by?.id === id) return by.upstream;
    for (const { name } of this.#service.providers) if (name === id) return name;
    return this.#service.replicas.name;
  }
}
