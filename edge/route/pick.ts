import type { Random } from "../../schema/clock.ts";
import type { Field } from "./field.ts";

/** Totals that differ by less are alike: readings are seconds old, and all isolates would send to the very best at once. */
export const nearBy = 0.05;
/** No place. */
export const none = -1;

/** Whole number in [0, n). */
const below = (n: number, random: Random): number => Math.min(n - 1, Math.floor(random() * n));

/** The best total of those that compete. */
function bestTotal({ size, competes, total }: Field): number {
  let best = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < size; i++) if (competes[i] === 1 && (total[i] as number) > best) best = total[i] as number;
  return best;
}

/** The places of those that compete whose total is so much at least; how many. */
function gatherNear({ size, competes, total, near }: Field, least: number): number {
  let count = 0;
  for (let i = 0; i < size; i++) if (competes[i] === 1 && (total[i] as number) >= least) near[count++] = i;
  return count;
}

/**
 * The pick by score: of those near the best two at random, the better of the two (Mitzenmacher, "The Power of Two Choices in Randomized
 * Load Balancing"); of equals the one whose turn is longer ago, which has the least of this isolate's still to read.
 *
 * @returns a place, `none` when nobody competes
 */
export function pickBest(field: Field, random: Random): number {
  const { near, total, turn } = field;
  const count = gatherNear(field, bestTotal(field) - nearBy);
  if (count === 0) return none;
  if (count === 1) return near[0] as number;
  const a = below(count, random);
  const b = (a + 1 + below(count - 1, random)) % count;
  const [first, second] = [near[a] as number, near[b] as number];
  const ahead = (total[second] as number) - (total[first] as number) || (turn[first] as number) - (turn[second] as number);
  return ahead > 0 ? second : first;
}

/** The pick in turns: whose latest turn is the longest ago; among those who had none, any. */
export function pickNextTurn({ size, competes, turn, near }: Field, random: Random): number {
  let least = Number.POSITIVE_INFINITY;
  let count = 0;
  for (let i = 0; i < size; i++) {
    if (competes[i] !== 1) continue;
    const last = turn[i] as number;
    if (last > least) continue;
    if (last < least) count = 0;
    least = last;
    near[count++] = i;
  }
  return count === 0 ? none : (near[below(count, random)] as number);
}

/** One of several by their weights, exactly; evenly where all are 0. `none` for none. */
export function pickWeighted(weights: readonly number[], random: Random): number {
  let sum = 0;
  for (const weight of weights) sum += weight;
  if (weights.length === 0) return none;
  if (sum <= 0) return below(weights.length, random);
  let left = random() * sum;
  let last = none;
  for (const [i, weight] of weights.entries()) {
    if (weight <= 0) continue;
    last = i;
    left -= weight;
    if (left < 0) return i;
  }
  return last;
}

/**
 * The best of the replicas by total, best first, those that are not full before those that are; at most `count`. The walk starts at random,
 * so that equals take turns.
 */
export function bestReplicas({ replicas, total, full }: Field, count: number, random: Random): number[] {
  const best: number[] = [];
  const worths: number[] = [];
  if (replicas === 0) return best;
  const start = below(replicas, random);
  walk(best, worths, count, total, full, start, replicas);
  walk(best, worths, count, total, full, 0, start);
  return best;
}

function walk(best: number[], worths: number[], count: number, total: Float32Array, full: Uint8Array, from: number, to: number): void {
  let worst = worths.length < count ? Number.NEGATIVE_INFINITY : (worths[count - 1] as number);
  for (let place = from; place < to; place++) {
    const worth = (total[place] as number) - 2 * (full[place] as number);
    if (worth <= worst) continue;
    worst = keepBest(best, worths, count, place, worth);
  }
}

/**
 * Keep one of the few that are worth the most, the first of them the most; what it is as good as stays before it.
 *
 * @param worths of `best`; what is worth less than the last of `count` is not to be brought here
 * @returns what the next one has to be worth more than
 */
export function keepBest(best: number[], worths: number[], count: number, one: number, worth: number): number {
  let at = best.length < count ? best.length : count - 1;
  for (; at > 0 && (worths[at - 1] as number) < worth; at--) {
    best[at] = best[at - 1] as number;
    worths[at] = worths[at - 1] as number;
  }
  best[at] = one;
  worths[at] = worth;
  return best.length === count ? (worths[count - 1] as number) : Number.NEGATIVE_INFINITY;
}
