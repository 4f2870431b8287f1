import type { Now } from "../../schema/clock.ts";
import type { RouteService } from "../../schema/bundle.ts";

/** How long a stream's first event is waited for while something else could be asked (facts/failures.md §3). */
const firstByteMsMin = 10_000;

/** One end for all attempts of a request and for its answer. */
export function endOf(startedAt: Now, { totalMs }: RouteService["timeouts"]): Now {
  return startedAt + totalMs;
}

export interface AttemptLimit {
  now: Now;
  /** The request's end. */
  endsAt: Now;
  ttftMs: number;
  /** Whether another upstream could still be asked. */
  others: boolean;
  stream: boolean;
  /** What this upstream's first byte took of late. */
  observedMs: number | undefined;
}

/**
 * How long one attempt may go without its first byte. Only a stream's first event tells a silent upstream from one that works:
 * an answer that is not streamed says nothing until it is whole, and gets all the time that people set.
 */
export function attemptMs({ now, endsAt, ttftMs, others, stream, observedMs }: AttemptLimit): number {
  const patience = others && stream ? Math.min(ttftMs, Math.max(firstByteMsMin, 3 * (observedMs ?? 0))) : ttftMs;
  return Math.max(0, Math.min(patience, endsAt - now));
}
