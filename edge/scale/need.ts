import { blocks, blockS, levelBlocks, surge, trend } from "./burst.ts";
import { usualRate, usualSpare, type Habit } from "./habit.ts";
import { figure, type Question } from "./opinion.ts";
import { fewest, type Asked, type Capacity } from "./replay.ts";
import { meanOf, sumOf } from "./series.ts";

/** Without an SLO: one more replica is worth it while it spares so many requests waiting at any time, in the mean. Fewer buys replicas for bursts; more spares them. */
const worth = 4;
/** A request waits for as much of its TTFT; the rest is reading its prompt. */
const waitShare = 0.5;

/** How many replicas are needed now, and why. */
export interface Need {
  needed: number;
  why: string;
  habit: Habit;
}

/** What is needed by each measure (`adaptive` lists them); the most of them. */
export function need({ policy, signals, bounds, now }: Pick<Question<never>, "policy" | "signals" | "bounds" | "now">, before: Habit | undefined, capacity: Capacity, coldStartMs: number): Need {
  const { arrivals, waiting, refused, spilled } = signals;
  const counts = blocks(arrivals);
  const level = levelBlocks(counts);
  // until there is a block, by what there is
  const seconds = level === 0 ? arrivals.length : level * blockS;
  const now60 = level === 0 ? { perS: meanOf(arrivals), error: 0, slope: 0 } : trend(counts.slice(-level));
  const { error, slope } = now60;
  const isChanging = slope !== 0 || level < counts.length;
  const perS = usualRate(before, { ...now60, isChanging }, now);
  const ahead = Math.max(0, perS + Math.max(0, slope) * (coldStartMs / 1000));
  // as if they had come at the rate that is to be
  const scaled = arrivals.slice(-seconds).map((count, i) => (slope === 0 ? count : count * Math.min(4, ahead / Math.max(1e-6, perS - slope * (seconds - i)))));
  const asked: Asked = { worth, from: Math.min(30, Math.floor(scaled.length / 4)), most: bounds.max };
  if (policy.slo?.ttftMs !== undefined) asked.slo = { waitS: (waitShare * policy.slo.ttftMs) / 1000, share: 1 - policy.slo.percentile };

  // what may be chance is not rounded up
  const steady = Math.ceil(Math.max(0, ahead - error) / capacity.wellPerS);
  const spare = usualSpare(before, Math.max(0, fewest(scaled, capacity, asked) - steady), now);
  const surging = surge(arrivals);
  const overS = Math.max(coldStartMs / 1000, 30);
  const inService = Math.max(0, meanOf(signals.concurrency, 60) - waiting);

  const each = `${figure(capacity.wellPerS)}/s and ${figure(capacity.slots)} at once each`;
  const measures = [
    { needed: steady + Math.round(spare), why: `${figure(sumOf(arrivals, seconds) / Math.max(1, seconds))} requests/s in ${seconds} s${slope > 0 ? `, ${figure(ahead)} by the time one could start` : ""}${spare >= 0.5 ? `, ${Math.round(spare)} more for bursts` : ""}, ${each}` },
    ...(surging === undefined ? [] : [{ needed: Math.ceil(surging / capacity.wellPerS), why: `a surge of ${figure(surging)} requests/s, ${each}` }]),
    ...(policy.targetConcurrency === undefined ? [] : [{ needed: Math.ceil(inService / capacity.slots), why: `${figure(inService)} in service, ${each}` }]),
    ...(waiting + refused + spilled === 0 ? [] : [{ needed: Math.ceil((Math.max(0, perS - error) * overS + waiting) / (capacity.perS * overS)), why: `${waiting} wait, ${figure(refused)} were refused and ${figure(spilled)} sent on, ${each}` }]),
  ];
  const most = measures.reduce((a, b) => (b.needed > a.needed ? b : a));
  return { ...most, habit: { since: before?.since ?? now, at: now, perS, spare } };
}
