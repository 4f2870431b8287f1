/** Something under way that can be given up. */
export interface Run<T> {
  result: Promise<T>;
  /** Ends it; what it may still give is thrown away. */
  abandon: () => void;
  /** What is noted on its way. An object that is there, for one with a getter is made slowly. */
  readonly noted?: { detour?: boolean };
}

export interface First<T> {
  result: T;
  /** Which run gave it. */
  index: number;
}

/**
 * The first good result of two runs. The other one is given up; when neither is good, the last one's result is the answer, and
 * `failed` has heard of the one before.
 */
export async function firstGood<T>(runs: readonly [Run<T>, Run<T>], good: (result: T) => boolean, failed: (first: First<T>) => void): Promise<First<T>> {
  const both = runs.map(async ({ result }, index) => ({ result: await result, index }));
  const first = await Promise.race(both);
  const other = 1 - first.index;
  if (good(first.result)) {
    runs[other]?.abandon();
    return first;
  }
  failed(first);
  return both[other] ?? first;
}
