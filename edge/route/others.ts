/** Columns of a field: a place for each replica; NaN where nothing is known. */
interface Loads {
  replicas: number;
  /** Requests on it: this isolate's own, and others'. */
  load: Float32Array;
  /** Others' among them, as of its reading. */
  others: Float32Array;
  /** How long requests stay on it. */
  stayMs: Float32Array;
  /** When it was read, ms since the epoch. */
  readAt: Float64Array;
  /** Scratch: of `others`, what has not ended since. */
  left: Float32Array;
}

/**
 * What other isolates have on replicas by now, of which readings say what it was seconds ago. All that they had then, less what has ended since
 * (requests stay for so long, as this isolate's own do), is still there. As much as has ended they have sent anew: to where they saw least, as
 * this isolate would have, so that it fills up what was lowest to one level (Dahlin, "Interpreting Stale Load Information", Aggressive
 * LI). Who is below that level is no better than who is at it: all isolates have seen it, and gone there. Who is above it is left
 * alone until enough has ended.
 *
 * So a reading decides while it is young next to how long requests stay; later each isolate spreads its own evenly, which it knows exactly. One
 * that sends all there is has no others, and nothing changes for it. Who does not say stays unknown.
 *
 * @param loads whose `load` is brought up to now
 */
export function bringUp({ replicas, others, stayMs, load, readAt, left }: Loads, now: number): void {
  const ended = outlast(others, stayMs, readAt, now, left, replicas);
  if (ended > 0) settle(others, left, levelOf(left, ended, replicas), load, replicas);
}

// Each loop over all candidates is a function of its own: V8 then optimises it once, for arrays of any length.

/** What is left of what was there: half of it after as long as requests stay, and some for much longer, for answers are of all lengths. How much has ended. */
function outlast(others: Float32Array, stayMs: Float32Array, readAt: Float64Array, now: number, left: Float32Array, size: number): number {
  let ended = 0;
  for (let i = 0; i < size; i++) {
    const then = others[i] as number;
    const stay = stayMs[i] as number;
    const still = then * (stay / (stay + Math.max(0, now - (readAt[i] as number))));
    left[i] = still;
    // what is not known is not itself
    if (then === then) ended += then - still;
  }
  return ended;
}

/** Own requests are a whole number: of those at the level, who have as many are exactly alike. */
function settle(others: Float32Array, left: Float32Array, level: number, load: Float32Array, size: number): void {
  for (let i = 0; i < size; i++) load[i] = (load[i] as number) - (others[i] as number) + Math.max(level, left[i] as number);
}

/** How high it stands after so much more was sent, each to the lowest there was; the lowest itself when nothing was. */
export function levelOf(left: Float32Array, sent: number, size: number): number {
  let level = Number.POSITIVE_INFINITY;
  for (;;) {
    let sum = sent;
    let below = 0;
    for (let i = 0; i < size; i++) {
      const value = left[i] as number;
      if (!(value < level)) continue;
      sum += value;
      below++;
    }
    const next = sum / below;
    // what is above the mean of all takes nothing, and the mean of the others is lower
    if (!(next < level)) return level;
    level = next;
  }
}
