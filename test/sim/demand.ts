import type { Random } from "../../schema/clock.ts";
import { gamma, lognormal } from "./draw.ts";

/** One request to come. */
export interface Asked {
  /** ms after the beginning. */
  at: number;
  promptTokens: number;
  outputTokens: number;
  /** Chained hashes of the prompt's blocks that others may share; empty: it shares nothing. */
  chain: readonly number[];
}

export type Demand = Iterable<Asked>;

/** Requests/s at a time, in ms after the beginning. */
export type Rate = (atMs: number) => number;

export const steady = (perS: number): Rate => () => perS;

/** Least at midnight, most at noon: the mean less or more this share of it. */
export const day = (meanPerS: number, swing = 0.8, lengthMs = 86_400_000): Rate => (at) => meanPerS * (1 - swing * Math.cos((2 * Math.PI * at) / lengthMs));

/** So many times as much between two times. */
export const flash = (perS: number, factor: number, fromMs: number, untilMs: number): Rate => (at) => (at >= fromMs && at < untilMs ? perS * factor : perS);

/** Piece by piece: rates from these times on, in ms. */
export const stairs = (...steps: readonly (readonly [fromMs: number, perS: number])[]): Rate => (at) => {
  let rate = 0;
  for (const [from, perS] of steps) if (at >= from) rate = perS;
  return rate;
};

/** Tokens in and out, both lognormal. The means are Azure's conversations' (facts/routing-and-scaling.md §9); the spread of their logarithm is ours. */
export const conversation = { promptTokens: 1155, promptSigma: 0.9, outputTokens: 211, outputSigma: 0.7, tokensMax: 8_192 } as const;

/** Where nothing is asked, the next look is so much later. */
const idleMs = 1_000;

/**
 * Requests whose intervals are gamma distributed with this coefficient of variation, at a rate that changes: intervals are of "work to
 * come", which passes as fast as the rate says. CV 1 is Poisson's process; vLLM's burstiness is 1/CV² (facts/routing-and-scaling.md §9).
 */
export function* arrivals({ rate, cv, untilMs, random, sizes = conversation }: { rate: Rate; cv: number; untilMs: number; random: Random; sizes?: typeof conversation }): Generator<Asked> {
  const shape = 1 / (cv * cv);
  let at = 0;
  const size = (mean: number, sigma: number): number => Math.min(sizes.tokensMax, Math.max(1, Math.round(lognormal(random, mean, sigma))));
  for (;;) {
    // in mean intervals
    let left = gamma(random, shape) / shape;
    while (left > 0 && at < untilMs) {
      const perMs = rate(at) / 1000;
      // the rate is looked at anew each second at least
      const passes = Math.min(idleMs, perMs > 0 ? left / perMs : idleMs);
      at += passes;
      left -= perMs > 0 && passes * perMs < left ? passes * perMs : perMs > 0 ? left : 0;
    }
    if (at >= untilMs) return;
    yield { at, promptTokens: size(sizes.promptTokens, sizes.promptSigma), outputTokens: size(sizes.outputTokens, sizes.outputSigma), chain: [] };
  }
}
