/** Milliseconds since the Unix epoch, as an argument: pure code never reads a clock of its own. */
export type Now = number;

/** A source of time. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): Now;
}

/** A source of chance: uniform in [0, 1), as `Math.random`. */
export type Random = () => number;

export const systemClock: Clock = { now: () => Date.now() };

/**
 * A seeded source of chance (mulberry32, Tommy Ettinger, public domain): the same seed gives the same numbers,
 * so that a failing test or simulation can be replayed.
 *
 * @example const random = seeded(42); random(); // 0.6011037519201636
 */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/**
 * Full-jitter exponential delay (AWS Architecture Blog, "Exponential Backoff And Jitter"): uniform in
 * [0, min(cap, base × 2^attempt)], never below `floorMs`.
 *
 * @param attempt 0 for the first retry
 * @returns milliseconds
 */
export function backoffMs(attempt: number, random: Random, { baseMs = 500, capMs = 30_000, floorMs = 50 } = {}): number {
  const ceiling = Math.min(capMs, baseMs * 2 ** Math.min(attempt, 30));
  return Math.max(floorMs, Math.round(random() * ceiling));
}
