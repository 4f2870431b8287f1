import { backoffMs, type Random } from "../schema/clock.ts";

/** A connection that was open for so long was a good one: the next failure is a first one again. */
export const stableMs = 10_000;
/** After a refusal that trying again at once cannot mend (facts/failures.md §2). */
const refusedMs = 60_000;
/** A Hub asks for no more than this: a host's replicas are given to others when its lease is over (15 s). */
const spreadMsMax = 10_000;
/** The first ceiling of full jitter (facts/failures.md §2). */
const firstMs = 500;

/**
 * How long to wait before connecting again: full jitter from 0.5 to 30 s, and 60 to 90 s after a refusal.
 *
 * @param attempt failures in a row, 0 for the first
 * @param spreadMs jitter over at least so long, where many would come at once
 * @returns milliseconds
 */
export function reconnectMs(attempt: number, refused: boolean, random: Random, spreadMs = 0): number {
  if (refused) return refusedMs + Math.round(random() * 30_000);
  return backoffMs(attempt, random, { baseMs: Math.max(firstMs, Math.min(spreadMs, spreadMsMax) / 2 ** Math.min(attempt, 30)) });
}
