import { sumOf } from "./series.ts";

/** Demand is looked at by blocks of so many seconds: long enough to hold several requests, short beside a cold start. */
export const blockS = 15;
/** So many standard deviations are no chance: once in 30 000 looks, were counts normal. */
const surprise = 4;
/** And so many are no chance of a surge, which is looked for in four windows every two seconds: in 300 hours of Poisson's arrivals, 1 to 30 a second, chance made ten surges of four, some just after a step down, and none of five. */
const surgeSurprise = 5;
/** Of so many differences between blocks the largest is left out. */
const trimmedOf = 20;
/** A level is told by so many blocks at least. */
const levelBlocksMin = 2;
/** Requests come in clumps of about as many as the index of dispersion says, and clumps' sizes have exponential tails: so many more are no surge (Bernstein's inequality: a normal part, and an exponential one). */
export const clumps = 6;
/** A surge counts for what is left of it after so many standard deviations: of a bursty service's surges hardly anything is. */
const doubt = 1;
/** A slope counts that is beyond so many of its standard errors, and beyond what clumps at its end make of it. */
const slopeErrors = 3;
/** Windows in which a surge may show, in seconds. */
const surgeWindowsS = [3, 6, 15, 30] as const;

/** Counts by block, the newest last; what does not fill a block at the beginning is left out. */
export function blocks(arrivals: readonly number[]): number[] {
  const count = Math.floor(arrivals.length / blockS);
  const first = arrivals.length - count * blockS;
  return Array.from({ length: count }, (_, i) => sumOf(arrivals.slice(first + i * blockS, first + (i + 1) * blockS)));
}

/**
 * The index of dispersion of counts, variance over mean, 1 at least (Poisson's). By differences of neighbouring blocks, without the largest
 * of each twenty, so that a change of level is not taken for burstiness.
 *
 * @param least what is known of it: ten minutes may hold no burst
 */
export function dispersion(counts: readonly number[], least = 1): number {
  const squares = counts.slice(1).map((count, i) => (count - (counts[i] ?? 0)) ** 2).sort((a, b) => a - b);
  const kept = squares.slice(0, squares.length - Math.floor(squares.length / trimmedOf));
  const mean = sumOf(counts) / Math.max(1, counts.length);
  return kept.length === 0 || mean === 0 ? least : Math.max(least, sumOf(kept) / kept.length / 2 / mean);
}

/**
 * How many of the newest blocks are of the level that holds now. They are split where what came after tells most clearly from what came
 * before, and what came after again, until no split is beyond chance (binary segmentation, of which only the newest part is followed).
 */
export function levelBlocks(counts: readonly number[], least = 1): number {
  let level = counts;
  for (;;) {
    const newest = newestOf(level, least);
    if (newest === level.length) return newest;
    level = level.slice(-newest);
  }
}

/** The least squares' slope by block, and how much of the squares it explains. */
function line(counts: readonly number[]): { slope: number; spreadX: number; explains: number } {
  const n = counts.length;
  const mean = sumOf(counts) / Math.max(1, n);
  const spreadX = (n * (n * n - 1)) / 12;
  const slope = spreadX === 0 ? 0 : counts.reduce((sum, count, i) => sum + (i - (n - 1) / 2) * (count - mean), 0) / spreadX;
  return { slope, spreadX, explains: slope * slope * spreadX };
}

/** How many blocks came after the clearest split; all, where none is beyond chance, or where a steady rise or fall explains more. */
function newestOf(counts: readonly number[], least: number): number {
  const all = counts.length;
  const spreadOf = dispersion(counts, least);
  const total = sumOf(counts);
  let newer = 0;
  let clearest = { deviation: surprise, blocks: all, explains: 0 };
  for (let k = 1; k <= all - levelBlocksMin; k++) {
    newer += counts[all - k] ?? 0;
    if (k < levelBlocksMin) continue;
    const step = newer / k - (total - newer) / (all - k);
    // of the step, what clumps do not explain
    const deviation = Math.max(0, Math.abs(step) - (clumps * spreadOf) / k) / Math.sqrt(spreadOf * Math.max(1, total / all) * (1 / k + 1 / (all - k)));
    if (deviation > clearest.deviation) clearest = { deviation, blocks: k, explains: (step * step * k * (all - k)) / all };
  }
  return line(counts).explains >= clearest.explains ? all : clearest.blocks;
}

/** The most that came in so many seconds on end, before a second. */
function mostIn(arrivals: readonly number[], windowS: number, before: number): number {
  let sum = 0;
  let most = 0;
  for (let i = 0; i < before; i++) {
    sum += (arrivals[i] ?? 0) - (i < windowS ? 0 : (arrivals[i - windowS] ?? 0));
    most = Math.max(most, sum);
  }
  return most;
}

/**
 * Requests/s of a surge that is under way, by what is sure of it: more came in the last seconds than chance explains, as far as the time
 * before shows what chance does, and more than ever came in as many; undefined: none is.
 */
export function surge(arrivals: readonly number[], least = 1): number | undefined {
  const longest = surgeWindowsS.at(-1) ?? 0;
  const before = arrivals.slice(0, -longest);
  // of the first half minute everything is new
  const isKnown = before.length >= 2 * blockS;
  const spreadOf = isKnown ? dispersion(blocks(before), least) : 1;
  let most: number | undefined;
  for (const windowS of surgeWindowsS) {
    if (arrivals.length < windowS) continue;
    const past = arrivals.length - windowS;
    const came = sumOf(arrivals, windowS);
    const expected = isKnown ? ((sumOf(arrivals) - came) / past) * windowS : 0;
    if (came - expected <= surgeSurprise * Math.sqrt(spreadOf * Math.max(1, expected)) + clumps * spreadOf || (isKnown && came <= mostIn(arrivals, windowS, past))) continue;
    const sure = (came - doubt * Math.sqrt(spreadOf * came)) / windowS;
    if (sure > (most ?? 0)) most = sure;
  }
  return most;
}

/** How demand changes: requests/s at the newest second, by how much that may be chance (a standard error), and how many more each second; 0 where that may be chance. */
export function trend(counts: readonly number[], least = 1): { perS: number; error: number; slope: number } {
  const n = counts.length;
  const mean = sumOf(counts) / Math.max(1, n);
  const spreadOf = dispersion(counts, least);
  const level = { perS: mean / blockS, error: Math.sqrt((spreadOf * mean) / Math.max(1, n)) / blockS, slope: 0 };
  if (n < 8) return level;
  const { slope, spreadX } = line(counts);
  const error = Math.sqrt((spreadOf * Math.max(1, mean)) / spreadX);
  if (Math.abs(slope) <= slopeErrors * error + (clumps * spreadOf * n) / 2 / spreadX) return level;
  return { perS: Math.max(0, mean + (slope * n) / 2) / blockS, error: 0, slope: slope / blockS / blockS };
}
