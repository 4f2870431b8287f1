import { backoffMs, type Random } from "../schema/clock.ts";

/** A connection that was open for so long was a good one: the next failure is a first one again. */
export const stableMs = 10_000;
/** After a refusal that trying again at once cannot mend (facts/failures.md §2). */
const refusedMs = 60_000;

/**
 * How long to wait before connecting again: full jitter from 0.5 to 30 s, and 60 to 90 s after a refusal.
 *
 * @param attempt failures in a row, 0 for the first
 * @returns milliseconds
 */
export function reconnectMs(attempt: number, refused: boolean, random: Random): number {
  return refused ? refusedMs + Math.round(random() * 30_000) : backoffMs(attempt, random);
}
