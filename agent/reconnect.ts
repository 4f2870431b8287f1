import { backoffMs, type Random } from "../schema/clock.ts";

/** A connection that was open for so long was a good one: the next failure is a first one again. */
export const stableMs = 10_000;
/** The first backoff spreads as much by itself. */
const spreadMsMin = 500;
/** After a refusal that trying again at once cannot mend (facts/failures.md §2). */
const refusedMs = 60_000;
/**
 * No wait is longer, asked for by a Hub or not: a host's replicas are given to others when its lease is over, which begins anew with
 * its Hub's waking (`linkTimes.leaseMs`, 15 s), however long that was away; the rest is for the handshake.
 */
const waitMsMax = 10_000;

/**
 * How long to wait before connecting again: full jitter from 0.5 to 10 s, and 60 to 90 s after a refusal.
 *
 * In a large fleet a loss is most often everybody's, and nobody can tell: each agent takes a moment of its own within the time that
 * its hub said, and comes again a whole such time later, so that as many come each second, whenever the hub is back.
 *
 * @param attempt failures in a row, 0 for the first
 * @param spreadMs over how long all agents together had better come back
 * @returns milliseconds
 */
export function reconnectMs(attempt: number, refused: boolean, random: Random, spreadMs = 0): number {
  if (refused) return refusedMs + Math.round(random() * 30_000);
  const backoff = backoffMs(attempt, random, { capMs: waitMsMax });
  if (spreadMs <= spreadMsMin) return backoff;
  const spread = Math.min(spreadMs, waitMsMax);
  return attempt === 0 ? Math.round(random() * spread) : Math.max(Math.round(spread * (0.9 + random() * 0.2)), backoff);
}
