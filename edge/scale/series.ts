import type { Now } from "../../schema/clock.ts";

/** How much of the past is kept, in seconds (KubeAI averages over ten minutes; facts/routing-and-scaling.md §4). */
export const historyS = 600;

/** Values by second; JSON-able. */
export interface Series {
  /** The last value's second since the epoch. */
  second: number;
  values: number[];
}

export const secondOf = (at: Now): number => Math.floor(at / 1000);

/** The series up to a second, with zeros (or what `fill` says) for those that nothing is known of; no more than is kept. */
function until(series: Series | undefined, second: number, fill: number): Series {
  if (series === undefined) return { second, values: [fill] };
  if (second <= series.second) return { ...series, values: [...series.values] };
  const missing = Math.min(second - series.second, historyS + 1);
  return { second, values: [...series.values, ...Array<number>(missing).fill(fill)].slice(-(historyS + 1)) };
}

/** Adds a count that came between two times, to each second its share. */
export function spread(series: Series | undefined, count: number, from: Now, to: Now): Series {
  const next = until(series, secondOf(to), 0);
  // a series that begins now has room for what came before
  const first = Math.max(secondOf(from), next.second - historyS);
  while (next.values.length < next.second - first + 1) next.values.unshift(0);
  if (count <= 0) return next;
  const add = (second: number, share: number): void => {
    const at = next.values.length - 1 - (next.second - second);
    // what is older than all that is kept is forgotten
    if (at >= 0) next.values[at] = (next.values[at] ?? 0) + share;
  };
  if (to <= from) {
    add(secondOf(to), count);
    return next;
  }
  for (let second = first; second <= secondOf(to); second++) {
    const overlap = Math.min(to, (second + 1) * 1000) - Math.max(from, second * 1000);
    if (overlap > 0) add(second, (count * overlap) / (to - from));
  }
  return next;
}

/** Notes what a gauge shows now; it is taken to have shown it since the last note. */
export function note(series: Series | undefined, value: number, now: Now): Series {
  const next = until(series, secondOf(now), value);
  next.values[next.values.length - 1] = value;
  return next;
}

/** The values before a second, newest last, as if zeros had come since. */
export function before(series: Series | undefined, second: number): number[] {
  if (series === undefined) return [];
  return until(series, second - 1, 0).values.slice(0, second > series.second ? undefined : second - series.second - 1).slice(-historyS);
}

export function sumOf(values: readonly number[], last = values.length): number {
  let sum = 0;
  for (let i = Math.max(0, values.length - last); i < values.length; i++) sum += values[i] ?? 0;
  return sum;
}

/** The mean of the last values; of those there are, where they are fewer. */
export function meanOf(values: readonly number[], last = values.length): number {
  const count = Math.min(last, values.length);
  return count === 0 ? 0 : sumOf(values, count) / count;
}
