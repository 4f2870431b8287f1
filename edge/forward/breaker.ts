import type { Now, Random } from "../../schema/clock.ts";

/** Envoy's rules, shrunk for small pools (facts/failures.md §2). */
const failuresInARow = 3;
const windowMs = 10_000;
const windowAttemptsMin = 10;
const openMsFirst = 5_000;
const openMsMax = 300_000;
/** An upstream that nothing of its kind stands in for is asked again this soon (facts/failures.md §3). */
export const openMsMaxAlone = 10_000;
export const slowStartMs = 10_000;
/** A probe that has not come back by then may have been forgotten with its request, whose client left: another one may find out. */
const probeMsMax = 10_000;

/**
 * How an upstream stands. `closed`: use it. `open`: leave it. `due`: one request may find out. `recovering`: use it for a part of
 * the requests that grows.
 */
export type BreakerState = "closed" | "open" | "due" | "recovering";

/** Whether one upstream is worth asking, by what became of the last attempts on it. */
export class Breaker {
  #inARow = 0;
  #windowSince = 0;
  #attempts = 0;
  #failures = 0;
  #openedAt: Now | undefined;
  #openMs = 0;
  /** How often it opened without a calm time in between. */
  #times = 0;
  #probingSince: Now | undefined;
  #recoveredAt: Now | undefined;
  #slow = false;

  /** @param alone nothing of its kind could take its place: it is probed again within ten seconds */
  state(now: Now, alone: boolean): BreakerState {
    if (this.#openedAt !== undefined) {
      const dueAt = this.#openedAt + Math.min(this.#openMs, alone ? openMsMaxAlone : openMsMax);
      const probing = this.#probingSince !== undefined && now - this.#probingSince < probeMsMax;
      return now < dueAt || probing ? "open" : "due";
    }
    if (this.#recoveredAt === undefined) return "closed";
    if (now - this.#recoveredAt < slowStartMs) return "recovering";
    this.#recoveredAt = undefined;
    this.#times = 0;
    return "closed";
  }

  get opened(): boolean {
    return this.#openedAt !== undefined;
  }

  /** Its last failure was silence: asking it past its breaker would cost a caller that much time. */
  get slow(): boolean {
    return this.#slow;
  }

  /** During slow start: the part of requests it should get, 0..1. */
  share(now: Now): number {
    return this.#recoveredAt === undefined ? 1 : Math.min(1, Math.max(0.1, (now - this.#recoveredAt) / slowStartMs));
  }

  /** Until when it is open, unless it is probed sooner. */
  get opensUntil(): Now {
    return (this.#openedAt ?? 0) + this.#openMs;
  }

  /** An attempt begins: in an open breaker it is the probe. */
  began(now: Now): void {
    if (this.#openedAt !== undefined) this.#probingSince = now;
  }

  /** The attempt ended without a verdict on the upstream: its client left, or it was throttled. */
  withoutVerdict(): void {
    this.#probingSince = undefined;
  }

  succeeded(now: Now, beganAt: Now): void {
    if (this.#openedAt !== undefined) {
      // what had begun before says nothing of how it is now
      if (beganAt < this.#openedAt) return;
      this.#openedAt = undefined;
      this.#probingSince = undefined;
      this.#recoveredAt = now;
      this.#attempts = 0;
      this.#failures = 0;
    }
    this.#inARow = 0;
    this.#count(now);
  }

  /** @param slow the failure was silence */
  failed(now: Now, beganAt: Now, random: Random, slow = false): void {
    if (beganAt < Math.max(this.#openedAt ?? 0, this.#recoveredAt ?? 0)) return;
    this.#slow = slow;
    if (this.#openedAt !== undefined) return this.#open(now, random);
    this.#inARow++;
    this.#count(now);
    this.#failures++;
    if (this.#inARow >= failuresInARow || (this.#attempts >= windowAttemptsMin && this.#failures * 2 >= this.#attempts)) this.#open(now, random);
  }

  #count(now: Now): void {
    if (now - this.#windowSince >= windowMs) {
      this.#windowSince = now;
      this.#attempts = 0;
      this.#failures = 0;
    }
    this.#attempts++;
  }

  #open(now: Now, random: Random): void {
    this.#openMs = Math.min(openMsMax, Math.round(openMsFirst * 2 ** this.#times * (0.8 + 0.4 * random())));
    this.#times = Math.min(this.#times + 1, 10);
    this.#openedAt = now;
    this.#probingSince = undefined;
    this.#recoveredAt = undefined;
    this.#inARow = 0;
  }
}

/** Whether breakers are believed: at most half of a pool is left out; when more fails, the cause is not in the upstreams one by one. */
export function breakersHold(opened: number, pool: number): boolean {
  return opened * 2 <= pool;
}
