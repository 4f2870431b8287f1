import { blocks, blockS, clumps, dispersion, levelBlocks, surge, trend } from "./burst.ts";
import { followedS, followS, knownS, usual, usualRate, type Habit } from "./habit.ts";
import { figure, type Question } from "./opinion.ts";
import { fewest, type Asked, type Capacity } from "./replay.ts";
import { meanOf, sumOf } from "./series.ts";

/**
 * Without an SLO: one more replica is worth it while it spares so many requests waiting at any time, in the mean. Fewer buys replicas for
 * bursts; more spares them. It takes more where bursts are larger than those of an index of dispersion of 16 (CV 4): most of their
 * requests are late whatever is spared. Chosen on seeds 1 to 30 of a model of `scripts/bench/scale`.
 */
const worth = { requests: 2, dispersion: 16, power: 1.05 };
/** What is in service is averaged over Knative's stable window, in seconds (facts/routing-and-scaling.md §4). */
const serviceS = 60;
/** A request waits for as much of its TTFT; the rest is reading its prompt. */
const waitShare = 0.5;

/** What may be chance is so many standard errors; by the second half of them more are enough than are needed, so that chance changes neither way. */
const chanceErrors = { enough: 1, needed: 2 };
/**
 * Of a rate that a look tells exactly, so much of an error is doubted: where demand rises slowly whole errors make a step up half an hour
 * late, and replicas that have a little more than they do well make the most requests late. Chosen on seeds 1 to 16 (of days 1 to 6) of a
 * model of `scripts/bench/scale`.
 */
const exactDoubt = 0.5;
/**
 * Of what is held for bursts, so much of a replica is doubt: one more is started when nearly all of it is missing, since each start costs a
 * cold start that serves nobody, and one less is enough as soon as it rounds so. Chosen on seeds 1 to 30 of a model of `scripts/bench/scale`.
 */
const spareDoubt = { enough: 0.1, needed: 0.45 };
/** A rate is known exactly enough when chance makes of it no more than a quarter of what one replica does: that seldom changes a number. */
const exactReplicas = 0.25;

/** The shortest past that tells something, in seconds: Knative's stable window. */
const pastSMin = 60;

/** How many replicas are needed now, and why. */
export interface Need {
  /** With fewer there are too few. */
  needed: number;
  /** With more there are too many. */
  enough: number;
  /** What is sure of it: without what only may be needed, which is for bursts. */
  must: number;
  why: string;
  habit: Habit;
}

/**
 * What is needed by each measure (`adaptive` lists them); the most of them.
 *
 * @param affordable how many replicas more, or fewer, than bursts are worth; more than twice as many are never held for them
 */
export function need({ policy, signals, bounds, now }: Pick<Question<never>, "policy" | "signals" | "bounds" | "now">, before: Habit | undefined, capacity: Capacity, coldStartMs: number, affordable: number): Need {
  const { waiting, refused, spilled } = signals;
  // who says how long fewer must have been needed says how much of the past counts
  const pastS = policy.downscaleDelayMs === undefined ? undefined : Math.max(pastSMin, policy.downscaleDelayMs / 1000);
  const arrivals = pastS === undefined ? signals.arrivals : signals.arrivals.slice(-pastS);
  const counts = blocks(arrivals);
  const exact = exactReplicas * capacity.wellPerS;
  const overS = pastS ?? followedS(before, exact);
  const bursty = usual(before, "dispersion", dispersion(counts), now, pastS);
  const { level, ofS: levelS } = levelOf({ arrivals, counts, bursty, exact }, knownS(before, now));
  // until there is a block, by what there is
  const seconds = level === 0 ? arrivals.length : level * blockS;
  const seen = level === 0 ? { perS: meanOf(arrivals), error: 0, slope: 0 } : trend(counts.slice(-level), bursty);
  const { slope } = seen;
  const isChanging = slope !== 0 || level < counts.length;
  const { perS, error, seconds: ofS, isNew } = usualRate(before, { ...seen, seconds: levelS ?? seconds, isChanging }, now, overS, exact);
  const ahead = Math.max(0, perS + Math.max(0, slope) * (coldStartMs / 1000));
  // as if they had come at the rate that is to be
  const scaled = arrivals.slice(-seconds).map((count, i) => (slope === 0 ? count : count * Math.min(4, ahead / Math.max(1e-6, perS - slope * (seconds - i)))));
  const asked: Asked = { worth: worth.requests * Math.max(1, (bursty / worth.dispersion) ** worth.power), from: Math.min(30, Math.floor(scaled.length / 4)), most: bounds.max };
  if (policy.slo?.ttftMs !== undefined) asked.slo = { waitS: (waitShare * policy.slo.ttftMs) / 1000, share: 1 - policy.slo.percentile };

  // what may be chance is not rounded up; what bursts need is known for as long as this level is, and what they needed at another one tells nothing of it
  const doubt = seen.error <= exact ? exactDoubt * error : error;
  const steady = (errors: number): number => Math.ceil(Math.max(0, ahead - errors * doubt) / capacity.wellPerS);
  const spare = usual(before, "spare", Math.max(0, fewest(scaled, capacity, asked) - steady(chanceErrors.enough)), now, isNew ? 0 : (pastS ?? Math.max(followS.min, ofS)));
  const afforded = Math.min(2 * spare, Math.max(0, spare + affordable));
  const surging = surge(arrivals, bursty);
  const soonS = Math.max(coldStartMs / 1000, 30);
  const inService = Math.max(0, meanOf(signals.concurrency, serviceS) - waiting);

  // what may be chance of a minute's mean: as many as its requests' times in service, which overlap
  const chance = Math.sqrt((bursty * inService * Math.min(1, capacity.slots / capacity.perS / serviceS)));

  const each = `${figure(capacity.wellPerS)}/s and ${figure(capacity.slots)} at once each`;
  const all: Omit<Need, "must" | "habit">[] = [{
    needed: steady(chanceErrors.needed) + Math.round(afforded - spareDoubt.needed), enough: steady(chanceErrors.enough) + Math.round(afforded + spareDoubt.enough),
    why: `${figure(sumOf(arrivals, seconds) / Math.max(1, seconds))} requests/s in ${seconds} s${slope > 0 ? `, ${figure(ahead)} by the time one could start` : ""}${spare >= 0.5 || afforded >= 0.5 ? `, ${forBursts(afforded, spare)}` : ""}, ${each}`,
  }];
  const also = (replicas: number, why: string, enough = replicas): void => void all.push({ needed: Math.ceil(replicas), enough: Math.ceil(enough), why: `${why}, ${each}` });
  if (surging !== undefined) also(surging / capacity.wellPerS, `a surge of ${figure(surging)} requests/s`);
  if (policy.targetConcurrency !== undefined) also(Math.max(0, inService - chanceErrors.needed * chance) / capacity.slots, `${figure(inService)} in service`, inService / capacity.slots);
  if (waiting + refused + spilled > 0) also((Math.max(0, perS - chanceErrors.needed * error) * soonS + Math.max(0, waiting - clumps * bursty)) / (capacity.perS * soonS), `${figure(waiting)} wait, ${figure(refused)} were refused and ${figure(spilled)} sent on`);
  const most = all.reduce((a, b) => (b.needed > a.needed ? b : a));
  const must = Math.max(steady(chanceErrors.needed), ...all.slice(1).map(({ needed }) => needed));
  // a step from one level to another is no clump
  const clumped = isNew && level > 0 ? Math.min(bursty, dispersion(counts.slice(-level))) : bursty;
  return { ...most, must, enough: Math.max(...all.map(({ enough }) => enough)), habit: { since: before?.since ?? now, at: now, perS, ofS, dispersion: clumped, spare } };
}

/**
 * How many of the newest blocks are of the level that holds now, and for how long it has been known where that is less than chance would
 * allow: what was news is not taken back as its step grows old, once the level since then is known exactly enough.
 */
function levelOf({ arrivals, counts, bursty, exact }: { arrivals: readonly number[]; counts: readonly number[]; bursty: number; exact: number }, ofS: number): { level: number; ofS?: number } {
  const likely = levelBlocks(counts, bursty);
  const level = Math.min(likely, Math.floor(ofS / blockS));
  if (level === likely || level === 0) return { level: likely };
  const seconds = level * blockS;
  return Math.sqrt((bursty * meanOf(arrivals, seconds)) / seconds) <= exact ? { level, ofS } : { level: likely };
}

/** What is held for bursts, in words, with what SkyServe's spending makes of it. */
function forBursts(afforded: number, spare: number): string {
  const [held, worth] = [Math.round(afforded), Math.round(spare)];
  return held === worth ? `${held} more for bursts` : `${held} more for bursts, not ${worth}, as SkyServe's autoscaler would have held ${held < worth ? "fewer" : "more"}`;
}
