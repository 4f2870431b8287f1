import type { Now } from "../../schema/clock.ts";
import { bounds } from "./filter.ts";
import type { Pool } from "./pool.ts";

/** Requests at once with which a replica begins, and the fewest it is left with (RFC 2581: an initial window of two segments). */
const limitMin = 2;
/** A replica that has been ready for so long when an isolate first sees it has been found out by others (facts §2: a slow start of 10 s, and the 20 s of llm-d's warm-up, with room). */
const freshMs = 60_000;
/** An isolate that looked so lately at a service's replicas knows by itself which of them is new: clocks of agents do not matter. */
const lookedMs = 10_000;
/** A first token is late beyond so many times what it took at best (Netflix concurrency-limits, `Gradient2Limit`'s `rttTolerance`) … */
const tolerance = 1.5;
/** … and so much more: OpenTelemetry's bounds of this time are 20 ms apart below it, and a network is as uneven as that. */
const slackMs = 100;
/**
 * Once its limit is found, it is tried at most this often whether one more fits, for an agent tells its engine's queue that often
 * (`linkTimes.heartbeatMs`); half as often after each try that failed, and twice as often after one that did not.
 */
const probeMs = { first: 5_000, max: 80_000 } as const;
/** A limit that nothing has reached for so long, nor been late under, is in nobody's way (Knative's stable window). */
const calmMs = 60_000;
/** Classes of prompts, by the power of two of the tokens that are to be read. */
const classes = 20;

/** What one isolate has found out of what a replica that is new can take at once. */
interface Climb {
  limit: number;
  /** Doubling (RFC 5681, slow start), until something was late for the first time. */
  doubling: boolean;
  /** Streams without a first token, oldest first. */
  silent: { at: Now; tokens: number }[];
  /** By class, the least time to a first token that was seen, and for how many tokens that was. */
  best: ({ ms: number; tokens: number } | undefined)[];
  /** Answers in time since the limit last changed. */
  good: number;
  probeMs: number;
  changedAt: Now;
  cutAt: Now;
  /** When a request last found it at its limit. */
  pressedAt: Now;
  /** Of the reading that was looked at last. */
  readAt: Now;
}

/** What is known of a replica's requests besides. */
type InFlight = (id: string) => number;

function classOf(tokens: number): number {
  return Math.min(classes - 1, Math.floor(Math.log2(Math.max(1, tokens))));
}

/**
 * How much of a service's traffic its new replicas take, by what they are seen to be able to: what does not fit goes to whoever covers for
 * them, or waits, instead of queueing in an engine that has only just begun. A limit on the requests in flight is learned for each from
 * the times to their first tokens, as TCP learns a window: it doubles until one is late, then is what was in time, and grows by one
 * now and then (RFC 5681; Netflix concurrency-limits for the use of latency instead of loss, and for no growth of what is not used).
 *
 * Lateness is seen while it happens: a stream that is silent for longer than its like were closes its replica until it speaks. Answers
 * that are not streamed say nothing before their end; there the engine's own queue, as its agent tells it, is what cuts.
 *
 * Each isolate learns for itself. It reads no clock and draws no chance.
 */
export class Ramps {
  readonly #climbs = new Map<string, Climb>();
  #before: { indexOf: ReadonlyMap<string, number>; pool: Pool | undefined; at: Now } | undefined;

  /** How many replicas are being found out; while there are none, nothing of this costs anything. */
  get size(): number {
    return this.#climbs.size;
  }

  /** What a replica may have in flight; undefined: as much as others. */
  limitOf(id: string): number | undefined {
    return this.#climbs.get(id)?.limit;
  }

  /** Nobody covers for these replicas any more, and nobody waits for them. */
  forget(): void {
    this.#climbs.clear();
    this.#before = undefined;
  }

  #look(pool: Pool, inFlight: InFlight, now: Now): void {
    const before = this.#before;
    if (before?.pool === pool) {
      before.at = now;
      return;
    }
    const watched = before !== undefined && now - before.at < lookedMs;
    for (const { replica, takenAt } of pool.rows) {
      if (before?.indexOf.has(replica.id) === true) continue;
      if (watched || takenAt - replica.since < freshMs) this.#begin(replica.id, now);
    }
    this.#before = { indexOf: pool.indexOf, pool, at: now };
    for (const [id, climb] of this.#climbs) {
      const row = pool.indexOf.get(id);
      if (row === undefined) this.#climbs.delete(id);
      else read(climb, pool, row, inFlight(id), now);
    }
  }

  #begin(id: string, now: Now): void {
    this.#climbs.set(id, { limit: limitMin, doubling: true, silent: [], best: [], good: 0, probeMs: probeMs.first, changedAt: now, cutAt: 0, pressedAt: now, readAt: now });
  }

  /**
   * The replicas that may take nothing more now; undefined when all may.
   *
   * @param inFlight what this isolate has at a replica
   */
  full(pool: Pool, inFlight: InFlight, now: Now): ReadonlySet<string> | undefined {
    this.#look(pool, inFlight, now);
    let full: Set<string> | undefined;
    for (const [id, climb] of this.#climbs) {
      if (now - Math.max(climb.pressedAt, climb.cutAt) > calmMs) this.#climbs.delete(id);
      else if (roomOf(climb, inFlight(id), now) <= 0) {
        climb.pressedAt = now;
        (full ??= new Set()).add(id);
      }
    }
    return full;
  }

  /** Whether so many more fit on a service's replicas together. */
  fit(count: number, pool: Pool, inFlight: InFlight, now: Now): boolean {
    this.#look(pool, inFlight, now);
    let left = count;
    for (const { replica: { id } } of pool.rows) {
      const climb = this.#climbs.get(id);
      if (climb === undefined) return true;
      left -= Math.max(0, roomOf(climb, inFlight(id), now));
      if (left <= 0) return true;
    }
    for (const climb of this.#climbs.values()) climb.pressedAt = now;
    return false;
  }

  /** A request is sent. @param tokens of its prompt, that are to be read */
  started(id: string, now: Now, tokens: number, stream: boolean): void {
    if (stream) this.#climbs.get(id)?.silent.push({ at: now, tokens });
  }

  /** The first token of a stream came. @param inFlight with this one */
  firstByte(id: string, ttftMs: number, inFlight: number, now: Now): void {
    const climb = this.#climbs.get(id);
    const sentAt = now - ttftMs;
    const at = climb?.silent.findIndex((one) => one.at === sentAt) ?? -1;
    const tokens = climb?.silent[at]?.tokens;
    if (climb === undefined || tokens === undefined) return;
    climb.silent.splice(at, 1);
    const late = ttftMs > lateAfterMs(climb, tokens);
    const best = climb.best[classOf(tokens)];
    if (best === undefined || ttftMs / Math.max(1, tokens / best.tokens) < best.ms) climb.best[classOf(tokens)] = { ms: ttftMs, tokens: Math.max(1, tokens) };
    // with so few in flight it is no queue of ours that made it late: its like take longer than was known
    else if (late && climb.limit === limitMin && sentAt >= climb.cutAt) best.ms = (best.ms + ttftMs) / 2;
    if (late) cut(climb, inFlight, sentAt, now);
    // one that has spoken stays for as long as it is written: two more for each is what doubles
    else inTime(climb, inFlight, climb.doubling ? 2 : 1, now);
  }

  /** A request is over. @param inFlight without it */
  ended(id: string, inFlight: number): void {
    const climb = this.#climbs.get(id);
    if (climb === undefined) return;
    const { silent } = climb;
    // one that ended without a first token is waited for no more
    if (silent.length > inFlight) silent.splice(0, silent.length - inFlight);
  }

  /** An answer that is not streamed came. @param inFlight with it */
  answered(id: string, inFlight: number, now: Now): void {
    const climb = this.#climbs.get(id);
    if (climb !== undefined) inTime(climb, inFlight, 1, now);
  }
}

/** How long a prompt may be without its first token: by the nearest that were seen, for longer ones in proportion. Nothing seen: for ever. */
function lateAfterMs({ best }: Climb, tokens: number): number {
  const of = classOf(tokens);
  let like: Climb["best"][number];
  for (let down = of; down >= 0 && like === undefined; down--) like = best[down];
  for (let up = of + 1; up < best.length && like === undefined; up++) like = best[up];
  return like === undefined ? Number.POSITIVE_INFINITY : tolerance * like.ms * Math.max(1, tokens / like.tokens) + slackMs;
}

/** How many more fit. One that is silent for too long closes it, whatever its limit. */
function roomOf(climb: Climb, inFlight: number, now: Now): number {
  const [oldest] = climb.silent;
  if (oldest !== undefined && now - oldest.at > lateAfterMs(climb, oldest.tokens)) {
    cut(climb, inFlight, oldest.at, now);
    return 0;
  }
  return climb.limit - inFlight;
}

function inTime(climb: Climb, inFlight: number, by: number, now: Now): void {
  // a limit that is not used says nothing of what lies above it
  if (inFlight * 2 < climb.limit) return;
  climb.good++;
  if (!climb.doubling) {
    if (climb.good < climb.limit || now - climb.changedAt < climb.probeMs) return;
    // the last one that was more fitted too
    if (climb.changedAt > climb.cutAt) climb.probeMs = Math.max(probeMs.first, climb.probeMs / 2);
  }
  climb.limit = Math.min(bounds.inFlight, climb.limit + by);
  climb.good = 0;
  climb.changedAt = now;
}

/** One that was sent at a time is late: what has spoken is what fits; not less than half (RFC 5681), and once for all that were sent before. */
function cut(climb: Climb, inFlight: number, sentAt: Now, now: Now): void {
  if (sentAt < climb.cutAt) return;
  cutTo(climb, Math.max(inFlight - climb.silent.length, Math.floor(climb.limit / 2)), now);
}

function cutTo(climb: Climb, limit: number, now: Now): void {
  if (!climb.doubling && climb.changedAt > climb.cutAt) climb.probeMs = Math.min(probeMs.max, climb.probeMs * 2);
  climb.limit = Math.max(limitMin, Math.min(climb.limit, limit));
  climb.doubling = false;
  climb.good = 0;
  climb.changedAt = now;
  climb.cutAt = now;
}

/** What its engine says of itself since the last look. */
function read(climb: Climb, { load, queueDepth, readAt }: Pool, row: number, inFlight: number, now: Now): void {
  const at = readAt[row] as number;
  if (at <= climb.readAt) return;
  climb.readAt = at;
  const queued = queueDepth[row] as number;
  const running = (load[row] as number) - queued;
  if (queued > 0) return cutTo(climb, Math.ceil((inFlight * running) / (running + queued)), now);
  // all that it has is being worked on, and more would have come
  if (climb.doubling && climb.silent.length === 0 && inFlight * 2 >= climb.limit) {
    climb.limit = Math.min(bounds.inFlight, climb.limit * 2);
    climb.changedAt = now;
  }
}
