import type { Now } from "../../schema/clock.ts";

/**
 * Requests of one service that wait in one isolate. Knative's activator, a process of its own, queues 10,000 for a revision
 * (facts/routing-and-scaling.md §4); an isolate has 128 MB for everything.
 */
export const waitingMax = 256;
/** What all that wait in an isolate may take of its memory: three eighths of it. */
export const waitingBytesMax = 48 * 1024 * 1024;
/** What one takes beside its body (facts/cloudflare.md: an open stream, 83 KB). */
const ownBytes = 83 * 1024;
/** One that has not looked for so long is there no more: it looks several times a second, and waits for a Hub's news for 2 s at most. */
const goneMs = 5_000;

/** A request that waits. */
export interface Waiting {
  readonly bytes: number;
  lookedAt: Now;
}

/** What is left of an isolate's memory for those that wait: one for all its rooms. */
export interface Memory {
  bytesLeft: number;
}

/**
 * Requests of one service that wait for a replica, in the order in which they came. Each looks after itself; where a client leaves, the
 * platform drops its request with all that would have run after it, so that one which does not look any more has left.
 */
export class Room {
  readonly #memory: Memory;
  readonly #waiting = new Set<Waiting>();

  constructor(memory: Memory) {
    this.#memory = memory;
  }

  /** Takes the last place; undefined when there is none. @param bodyBytes what it holds in memory */
  enter(bodyBytes: number, now: Now): Waiting | undefined {
    const bytes = ownBytes + bodyBytes;
    if (this.count(now) >= waitingMax || bytes > this.#memory.bytesLeft) return undefined;
    const waiting = { bytes, lookedAt: now };
    this.#memory.bytesLeft -= bytes;
    this.#waiting.add(waiting);
    return waiting;
  }

  leave(waiting: Waiting): void {
    if (this.#waiting.delete(waiting)) this.#memory.bytesLeft += waiting.bytes;
  }

  /** How many are before it. It is still there. */
  before(waiting: Waiting, now: Now): number {
    waiting.lookedAt = now;
    let before = 0;
    for (const other of this.#waiting) {
      if (other === waiting) return before;
      if (this.#isHere(other, now)) before++;
    }
    // it was thought to have left: it is the last one then
    this.#memory.bytesLeft -= waiting.bytes;
    this.#waiting.add(waiting);
    return before;
  }

  count(now: Now): number {
    for (const waiting of this.#waiting) this.#isHere(waiting, now);
    return this.#waiting.size;
  }

  #isHere(waiting: Waiting, now: Now): boolean {
    const here = now - waiting.lookedAt <= goneMs;
    if (!here) this.leave(waiting);
    return here;
  }
}
