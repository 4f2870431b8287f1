import { linkTimes } from "../../schema/protocol.ts";
import { LatestPrompts } from "./hot.ts";
import type { Pool } from "./pool.ts";
import { PrefixMemory } from "./prefixMemory.ts";
import { Ramps } from "./ramp.ts";
import { leave, sent, spoke, type Reading } from "./reading.ts";
import type { RequestFacts } from "./request.ts";

/** A peak fades with this time constant (Linkerd's balancer: `default_rtt`'s decay, 10 s). */
const decayMs = 10_000;
/** Upstreams remembered at most, beside those with something in flight. */
const upstreamsMax = 512;
/** How many busy ones are passed over in search of one to forget. */
const passedOverMax = 8;
/** Of each upstream so many of the latest starts and ends are remembered at least: what a reading of up to a lease ago does not contain. */
const changesMax = 256;

/** How long a request stays where none was seen to end: loads are taken to change as fast as readings come. */
const unseenStayMs = linkTimes.heartbeatMs;
/** How far the latest stay moves what is known of them (RFC 6298: a smoothed time takes an eighth of the latest). */
const stayGain = 1 / 8;

/** Replicas in an order that stays. */
type Rows = Pick<Pool, "rows" | "indexOf">;

/** What an isolate knows of one upstream. */
export interface Seen extends Reading {
  readonly id: string;
  inFlight: number;
  /** When the latest were sent, and when the latest ended; oldest first. */
  starts: number[];
  ends: number[];
  /** How long a request stays, from sent to ended: the smoothed mean. Undefined: none has ended. */
  stayMs: number | undefined;
  ttftMs: number | undefined;
  ttftAt: number;
  /** The number of its latest start among all starts. */
  turn: number;
}

/**
 * What one isolate knows of its upstreams by itself; never written into the shared view. It reads no clock: time is an argument.
 * Bounded: the least recently used go.
 */
export class Observed {
  readonly #seen = new Map<string, Seen>();
  readonly prefixes = new PrefixMemory();
  readonly latest = new LatestPrompts();
  /** How much of its traffic each new replica takes. */
  readonly ramps = new Ramps();
  #turns = 0;
  /** How long a request stays, wherever it is; undefined: none has ended. */
  #stayMs: number | undefined;
  /** The pool that was asked for last, and what is remembered of each of its rows: a pick looks nothing up by name. */
  #among: { pool: Rows; seen: (Seen | undefined)[] } | undefined;

  /** The entry of an upstream, made the most recent one. */
  #touch(id: string): Seen {
    const known = this.#seen.get(id);
    if (known !== undefined) this.#seen.delete(id);
    const seen = known ?? { id, inFlight: 0, starts: [], ends: [], stayMs: undefined, waiting: [], waitingTokens: 0, readingSince: 0, msPerToken: undefined, ttftMs: undefined, ttftAt: 0, turn: 0 };
    this.#seen.set(id, seen);
    if (known === undefined) this.#enter(id, seen);
    if (this.#seen.size > upstreamsMax) this.#forgetOne();
    return seen;
  }

  #enter(id: string, seen: Seen | undefined): void {
    const row = this.#among?.pool.indexOf.get(id);
    if (row !== undefined && this.#among !== undefined) this.#among.seen[row] = seen;
  }

  /** What is remembered of each row of a pool, in their order. */
  among(pool: Rows): readonly (Seen | undefined)[] {
    if (this.#among?.pool === pool) return this.#among.seen;
    const seen = Array.from<Seen | undefined>({ length: pool.rows.length });
    this.#among = { pool, seen };
    for (const [id, one] of this.#seen) this.#enter(id, one);
    return seen;
  }

  #forgetOne(): void {
    const oldest = this.#seen.values();
    for (let passed = 0; passed < passedOverMax; passed++) {
      const { value } = oldest.next();
      if (value === undefined) return;
      this.#seen.delete(value.id);
      if (value.inFlight === 0) return this.#enter(value.id, undefined);
      this.#seen.set(value.id, value);
    }
  }

  /**
   * An attempt has been sent.
   *
   * @param request what is sent: with it, what the upstream has still to read is known, and what its prefix cache will hold
   */
  started(id: string, now: number, request?: RequestFacts): void {
    const seen = this.#touch(id);
    seen.inFlight++;
    seen.turn = ++this.#turns;
    note(seen.starts, now);
    if (request === undefined || seen.waiting.length >= changesMax) return;
    const chain = request.hashed ? request.prefix : [];
    const before = this.prefixes.givenOf(chain, id, now);
    const given = before === undefined ? 0 : (before.blocks / chain.length) * request.promptTokens;
    const tokens = request.promptTokens - (before === undefined || before.likely < 0.5 ? 0 : given);
    sent(seen, { sentAt: now, tokens, whole: request.promptTokens, given, since: before?.since ?? 0 });
    if (this.ramps.size > 0) this.ramps.started(id, now, tokens, request.stream);
    if (chain.length === 0) return;
    this.prefixes.remember(chain, id, now, request.promptTokens, this.latest.lastHot(chain));
    this.latest.note(chain, request.conversation);
  }

  /** The first byte of an attempt's answer came, so long after it was sent. */
  firstByte(id: string, ttftMs: number, now: number): void {
    const seen = this.#touch(id);
    const told = spoke(seen, now - ttftMs, now);
    if (told !== undefined) this.prefixes.learn(id, told.since, told.held);
    if (this.ramps.size > 0) this.ramps.firstByte(id, ttftMs, seen.inFlight, now);
    const before = fadedTtftMs(seen, now);
    // a peak counts at once; what is better than before moves it as far as the time between the two has let it fade
    const faded = Math.exp(-(now - seen.ttftAt) / decayMs);
    seen.ttftMs = before === undefined || ttftMs >= before ? ttftMs : (seen.ttftMs ?? 0) * faded + ttftMs * (1 - faded);
    seen.ttftAt = now;
  }

  /** The answer of an attempt came that is not streamed. */
  answered(id: string, now: number): void {
    if (this.ramps.size > 0) this.ramps.answered(id, this.inFlight(id), now);
  }

  /** An attempt is over, however it ended: once for each `started`. */
  ended(id: string, now: number): void {
    const seen = this.#seen.get(id);
    if (seen === undefined || seen.inFlight === 0) return;
    // whichever of them it was that ended: the mean is the same
    const sentAt = seen.starts[seen.starts.length - seen.inFlight];
    if (sentAt !== undefined) this.#stayed(seen, Math.max(1, now - sentAt));
    seen.inFlight--;
    note(seen.ends, now);
    // one that ended without a first byte is not read any more either
    while (seen.waiting.length > seen.inFlight) leave(seen, now);
    if (this.ramps.size > 0) this.ramps.ended(id, seen.inFlight);
  }

  #stayed(seen: Seen, ms: number): void {
    this.#stayMs = this.#stayMs === undefined ? ms : this.#stayMs + (ms - this.#stayMs) * stayGain;
    seen.stayMs = seen.stayMs === undefined ? this.#stayMs : seen.stayMs + (ms - seen.stayMs) * stayGain;
  }

  /** Attempts sent and not ended. */
  readonly inFlight = (id: string): number => this.#seen.get(id)?.inFlight ?? 0;

  /** The peak of lately seen times to the first byte, faded by the time since; undefined where none was seen. */
  ttftMs(id: string, now: number): number | undefined {
    const seen = this.#seen.get(id);
    return seen === undefined ? undefined : fadedTtftMs(seen, now);
  }

  /** How long a request stays, where nothing is known of the place. */
  get stayMs(): number {
    return this.#stayMs ?? unseenStayMs;
  }

  /** How many upstreams are remembered. */
  get size(): number {
    return this.#seen.size;
  }

  get(id: string): Seen | undefined {
    return this.#seen.get(id);
  }

  all(): Iterable<Seen> {
    return this.#seen.values();
  }
}

/** A peak, faded by the time since: an upstream that was slow is tried again after a while. */
export function fadedTtftMs({ ttftMs, ttftAt }: Seen, now: number): number | undefined {
  return ttftMs === undefined ? undefined : ttftMs * Math.exp(-Math.max(0, now - ttftAt) / decayMs);
}

function note(times: number[], now: number): void {
  times.push(now);
  // by many at a time: to take out the first moves all that follow
  if (times.length > 2 * changesMax) times.splice(0, changesMax);
}

function after(times: readonly number[], readAt: number): number {
  let count = 0;
  for (let i = times.length - 1; i >= 0 && (times[i] as number) > readAt; i--) count++;
  return count;
}

/**
 * What a reading of the load would be now by what this isolate has sent and what has ended since; never less than what it has in flight
 * itself. Others' share is as old as the reading (`others.ts`).
 */
export function loadSince({ starts, ends, inFlight }: Seen, reading: number, readAt: number): number {
  return Math.max(reading + after(starts, readAt) - after(ends, readAt), inFlight);
}
