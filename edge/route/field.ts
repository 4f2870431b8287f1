import { bounds } from "./filter.ts";
import { fadedTtftMs, loadSince, type Seen } from "./observed.ts";
import { bringUp } from "./others.ts";
import type { Pool } from "./pool.ts";
import { leftToRead } from "./reading.ts";
import { scorers, type Scorer } from "./strategy.ts";

const columns = ["load", "queueDepth", "kvUsage", "ttftMs", "waitingTokens", "matched", "cold", "total", "toRead", "others", "stayMs", "left"] as const;

/**
 * What a pick weighs: a column for each reading and a place for each candidate, replicas first, then providers. NaN where nothing is
 * known. One field is kept and used again, so that a pick over thousands allocates nothing of that size.
 */
export class Field {
  /** Places in use; the first `replicas` of them are replicas. */
  size = 0;
  replicas = 0;
  /** Requests of this isolate's own on the replicas. */
  own = 0;
  /** Index of the pool's row, or of the service's provider. */
  source = new Int32Array(0);
  /** Requests on it: by its own word, and those of this isolate that are not in it yet. */
  load = new Float32Array(0);
  queueDepth = new Float32Array(0);
  kvUsage = new Float32Array(0);
  /** When the reading was taken. */
  readAt = new Float64Array(0);
  /** What this isolate has seen of its time to the first byte. */
  ttftMs = new Float32Array(0);
  /** Prompt tokens of this isolate's own sending that it has still to read. */
  waitingTokens = new Float32Array(0);
  /** Share of this prompt that it is expected to hold, 0..1. */
  matched = new Float32Array(0);
  /** Share of it that it holds for those who ask seldom: what is hot is not in it. */
  cold = new Float32Array(0);
  /** The number of its latest turn; 0: none known. */
  turn = new Float64Array(0);
  /** Weighted mean of the scores, 0..1. */
  total = new Float32Array(0);
  /** Requests of other isolates that were on it by its reading. */
  others = new Float32Array(0);
  /** How long requests stay on it, by this isolate's own. */
  stayMs = new Float32Array(0);
  /** Scratch: of `others`, what has not ended since. */
  left = new Float32Array(0);
  /** Scratch of prefix affinity: tokens to be read before the first one is written. */
  toRead = new Float32Array(0);
  /** 1: over its bounds. */
  full = new Uint8Array(0);
  /** 1: competes for the pick. */
  competes = new Uint8Array(0);
  /** Scratch: places that are near the best. */
  near = new Int32Array(0);
  readonly scores = Object.fromEntries(scorers.map((scorer) => [scorer, new Float32Array(0)])) as Record<Scorer, Float32Array>;
  #pool: Pool | undefined;
  /** The place of each row that has one; the others' are of earlier picks. */
  #places = new Int32Array(0);

  /** Begin a pick among so many of the pool's rows, from one on and round the end; with room for others. */
  begin(pool: Pool, from: number, count: number, others: number): void {
    if (count + others > this.source.length) this.#grow(count + others);
    if (pool.rows.length > this.#places.length) this.#places = new Int32Array(pool.rows.length * 2);
    this.#clear(this.size);
    this.#pool = pool;
    this.replicas = 0;
    const { rows } = pool;
    const before = Math.min(count, rows.length - from);
    if (before > 0) this.#copy(pool, from, before, 0);
    if (count > before) this.#copy(pool, 0, count - before, before);
    this.replicas = count;
    this.size = count;
  }

  /** A stretch of the pool's rows at once. */
  #copy(pool: Pool, from: number, count: number, place: number): void {
    const { source } = this;
    const places = this.#places;
    for (let i = 0; i < count; i++) {
      source[place + i] = from + i;
      places[from + i] = place + i;
    }
    // making a view of a part costs more than copying a few hundred numbers
    const whole = count === pool.rows.length;
    this.load.set(whole ? pool.load : pool.load.subarray(from, from + count), place);
    this.queueDepth.set(whole ? pool.queueDepth : pool.queueDepth.subarray(from, from + count), place);
    this.kvUsage.set(whole ? pool.kvUsage : pool.kvUsage.subarray(from, from + count), place);
    this.readAt.set(whole ? pool.readAt : pool.readAt.subarray(from, from + count), place);
    this.full.set(whole ? pool.full : pool.full.subarray(from, from + count), place);
  }

  /** Add a row of the pool. */
  add(row: number): void {
    this.#enterRow(this.replicas++, row);
    this.size = this.replicas;
  }

  #enterRow(place: number, row: number): void {
    const pool = this.#pool as Pool;
    this.source[place] = row;
    this.#places[row] = place;
    this.load[place] = pool.load[row] as number;
    this.queueDepth[place] = pool.queueDepth[row] as number;
    this.kvUsage[place] = pool.kvUsage[row] as number;
    this.readAt[place] = pool.readAt[row] as number;
    this.full[place] = pool.full[row] as number;
  }

  /** Take a row out: the last one takes its place. Before anything else is entered. */
  remove(place: number): void {
    const last = this.source[--this.replicas] as number;
    if (place === this.replicas) return void (this.size = this.replicas);
    this.#enterRow(place, last);
    this.size = this.replicas;
  }

  /** The place of a row; -1: it is not among those that are weighed. */
  placeOf(row: number): number {
    const place = this.#places[row] ?? -1;
    return place < this.replicas && this.source[place] === row ? place : -1;
  }

  #grow(size: number): void {
    const room = Math.max(64, 2 ** Math.ceil(Math.log2(size)));
    for (const name of columns) this[name] = new Float32Array(room);
    for (const scorer of scorers) this.scores[scorer] = new Float32Array(room);
    this.readAt = new Float64Array(room);
    this.turn = new Float64Array(room);
    this.ttftMs.fill(Number.NaN);
    this.source = new Int32Array(room);
    this.near = new Int32Array(room);
    this.full = new Uint8Array(room);
    this.competes = new Uint8Array(room);
  }

  /** What few candidates have is taken back: of the last pick's places, whose number is bounded (`sampleMax`). */
  #clear(size: number): void {
    this.ttftMs.fill(Number.NaN, 0, size);
    this.waitingTokens.fill(0, 0, size);
    this.matched.fill(0, 0, size);
    this.cold.fill(0, 0, size);
    this.turn.fill(0, 0, size);
  }

  /**
   * Enter what this isolate has seen of the replicas, and what by that others have on them now.
   *
   * @param all by the pool's rows
   * @param usualStayMs on those where it had none
   * @param times whether anyone will look at their times to the first byte
   */
  enterSeen(all: readonly (Seen | undefined)[], usualStayMs: number, now: number, times: boolean): void {
    const { source, replicas, load, readAt, full, others, stayMs } = this;
    others.set(load);
    stayMs.fill(usualStayMs, 0, replicas);
    this.own = 0;
    for (let place = 0; place < replicas; place++) {
      const seen = all[source[place] as number];
      if (seen === undefined) continue;
      const since = loadSince(seen, load[place] as number, readAt[place] as number);
      load[place] = since;
      others[place] = since - seen.inFlight;
      if (seen.stayMs !== undefined) stayMs[place] = seen.stayMs;
      this.own += seen.inFlight;
      if (since >= bounds.inFlight) full[place] = 1;
      this.#enterTimes(place, seen, now, times);
    }
    bringUp(this, now);
  }

  #enterTimes(place: number, seen: Seen, now: number, times: boolean): void {
    if (times) this.ttftMs[place] = fadedTtftMs(seen, now) ?? Number.NaN;
    this.waitingTokens[place] = leftToRead(seen, now);
    this.turn[place] = seen.turn;
  }

  /** Add a provider: it has no queue that anyone sees, and never says how loaded it is. */
  addProvider(index: number, seen: Seen | undefined, now: number): void {
    const place = this.size++;
    this.source[place] = index;
    this.load[place] = Number.NaN;
    this.queueDepth[place] = 0;
    this.readAt[place] = now;
    this.full[place] = 0;
    if (seen !== undefined) {
      this.#enterTimes(place, seen, now, true);
      this.waitingTokens[place] = 0;
    }
  }

  /** Enter how much of the prompt a replica is expected to hold, and how much of that is not hot. */
  enterMatch(row: number, share: number, cold: number): void {
    const place = this.placeOf(row);
    if (place < 0) return;
    this.matched[place] = share;
    this.cold[place] = cold;
  }

  /** Weigh a scorer in. */
  weigh(scorer: Scorer, share: number): void {
    addScaled(this.total, this.scores[scorer], share, this.size);
  }
}

// Each loop over all candidates is a function of its own: V8 then optimises it once, for arrays of any length.

function addScaled(total: Float32Array, column: Float32Array, share: number, size: number): void {
  for (let i = 0; i < size; i++) total[i] = (total[i] as number) + (column[i] as number) * share;
}
