import type { Random } from "../../schema/clock.ts";

/** Distributions, from a seeded source. */

export function normal(random: Random): number {
  // Box and Muller's transform; 1 − u keeps the logarithm from 0
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** With a mean and the standard deviation of its logarithm. */
export function lognormal(random: Random, mean: number, sigma: number): number {
  return mean * Math.exp(sigma * normal(random) - (sigma * sigma) / 2);
}

/** With a median and a 95th percentile. */
export function lognormalBetween(random: Random, p50: number, p95: number): number {
  return p50 * Math.exp((Math.log(p95 / p50) / 1.645) * normal(random));
}

export function exponential(random: Random, mean: number): number {
  return -mean * Math.log(1 - random());
}

/** Gamma by shape, with mean `shape` (Marsaglia and Tsang, "A simple method for generating gamma variables"; below 1 by their boost). */
export function gamma(random: Random, shape: number): number {
  if (shape < 1) return gamma(random, shape + 1) * (1 - random()) ** (1 / shape);
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = normal(random);
    const v = (1 + c * x) ** 3;
    if (v > 0 && Math.log(1 - random()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return d * v;
  }
}

export function between(random: Random, low: number, high: number): number {
  return low + (high - low) * random();
}

/** A whole number, both ends included. */
export function whole(random: Random, low: number, high: number): number {
  return low + Math.floor(random() * (high - low + 1));
}

export function oneOf<const T>(random: Random, of: readonly [T, ...T[]]): T {
  return of[Math.floor(random() * of.length)] ?? of[0];
}
