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
 * So many of the latest first tokens are looked at. Half of them late are no chance; of an engine that tells that nothing waits in it, most of
 * them have to be: prompts are read one after the other there, so that a long one makes several late.
 */
const recent = 8;
const latesMax = { untold: 4, told: 6 } as const;
/**
 * After a cut nothing is tried for so long, for an agent tells its engine's queue that often (`linkTimes.heartbeatMs`); twice as long after
 * each try that failed.
 */
const probeMs = { first: 5_000, max: 80_000 } as const;
/** A limit that nothing has reached for so long, nor been late under, is in nobody's way (Knative's stable window). */
const calmMs = 60_000;
/** And whatever was found out, no replica is new for longer (AWS' load balancers: a slow start of 30 to 900 s): what holds is what all have. */
const newMs = 300_000;
/** What prompts that are still being read may add to the next one's first token: as much as moving over from a provider may (issue: 300 ms). */
const aheadMsMax = 300;
/** How fast what was seen of that fades, by sample. */
const aheadDecay = 0.9;
/** Classes of prompts, by the power of two of the tokens that are to be read. */
const classes = 20;

/** What one isolate has found out of what a replica that is new can take at once. */
interface Climb {
  limit: number;
  /** Doubling (RFC 5681, slow start), until something was late for the first time. */
  doubling: boolean;
  readonly beganAt: Now;
  /** Streams without a first token, oldest first. */
  silent: { at: Now; tokens: number; /** Of those that were before it. */ ahead: number }[];
  silentTokens: number;
  /** Faded sums of what first tokens took beyond their like, and of the prompt tokens that were before them. */
  extraMs: number;
  aheadTokens: number;
  /** By class, the least time to a first token that was seen, and for how many tokens that was. */
  best: ({ ms: number; tokens: number } | undefined)[];
  /** The latest first tokens, a bit each: 1 for a late one. */
  lates: number;
  /** Answers in time since the limit last changed. */
  good: number;
  probeMs: number;
  changedAt: Now;
  cutAt: Now;
  /** When a request last found it at its limit. */
  pressedAt: Now;
  /** Of the reading that was looked at last, and what it said to be waiting in the engine; NaN where it does not say. */
  readAt: Now;
  queued: number;
}

/** What is known of a replica's requests besides. */
type InFlight = (id: string) => number;

function classOf(tokens: number): number {
  return Math.min(classes - 1, Math.floor(Math.log2(Math.max(1, tokens))));
}

/**
 * How much of a service's traffic its new replicas take, by what they are seen to be able to: what does not fit goes to whoever covers for
 * them, or waits, instead of queueing in an engine that has only just begun. A limit on the requests in flight is learned for each, as TCP
 * learns a window (RFC 5681; Netflix concurrency-limits for the use of latency instead of loss, and for no growth of what is not used):
 *
 * - it doubles with first tokens that are in time; after the first late one it grows by one for each, as long as the engine says that nothing
 *   waits in it, and otherwise by one now and then
 * - a stream that is silent for longer than its like were closes its replica until it speaks: lateness is seen while it happens. So do prompts
 *   that are still being read, where they are seen to hold up the next one. Neither cuts a limit by itself
 * - an engine that says that requests wait in it has its limit cut to what does not; any, when too many of its latest first tokens were late,
 *   to what had spoken by then
 * - answers that are not streamed say nothing before their end: each is one in time
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
    this.#climbs.set(id, { limit: limitMin, doubling: true, beganAt: now, silent: [], silentTokens: 0, extraMs: 0, aheadTokens: 0, best: [], lates: 0, good: 0, probeMs: probeMs.first, changedAt: now, cutAt: 0, pressedAt: now, readAt: now, queued: Number.NaN });
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
      if (now - climb.pressedAt > calmMs || now - climb.beganAt > newMs) this.#climbs.delete(id);
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
    const climb = stream ? this.#climbs.get(id) : undefined;
    if (climb === undefined) return;
    climb.silent.push({ at: now, tokens, ahead: climb.silentTokens });
    climb.silentTokens += tokens;
  }

  /** The first token of a stream came. @param inFlight with this one */
  firstByte(id: string, ttftMs: number, inFlight: number, now: Now): void {
    const climb = this.#climbs.get(id);
    const sentAt = now - ttftMs;
    const at = climb?.silent.findIndex((one) => one.at === sentAt) ?? -1;
    const one = climb?.silent[at];
    if (climb === undefined || one === undefined) return;
    const { tokens, ahead } = one;
    hush(climb, at, 1);
    climb.extraMs = climb.extraMs * aheadDecay + (ahead === 0 ? 0 : Math.max(0, ttftMs - likeMs(climb, tokens)));
    climb.aheadTokens = climb.aheadTokens * (ahead === 0 ? 1 : aheadDecay) + ahead;
    const late = ttftMs > lateAfterMs(climb, tokens);
    const best = climb.best[classOf(tokens)];
    if (best === undefined || ttftMs / Math.max(1, tokens / best.tokens) < best.ms) climb.best[classOf(tokens)] = { ms: ttftMs, tokens: Math.max(1, tokens) };
    // with so few in flight it is no queue of ours that made it late: its like take longer than was known
    else if (late && climb.limit === limitMin && sentAt >= climb.cutAt) best.ms = (best.ms + ttftMs) / 2;
    climb.lates = ((climb.lates << 1) | (late ? 1 : 0)) & ((1 << recent) - 1);
    if (late) tooLate(climb, inFlight, sentAt, now);
    // one that has spoken stays for as long as it is written: two more for each is what doubles
    else inTime(climb, inFlight, climb.doubling ? 2 : 1, climb.queued === 0, now);
  }

  /** A request is over. @param inFlight without it */
  ended(id: string, inFlight: number): void {
    const climb = this.#climbs.get(id);
    if (climb === undefined) return;
    const { silent } = climb;
    // one that ended without a first token is waited for no more
    if (silent.length > inFlight) hush(climb, 0, silent.length - inFlight);
  }

  /** An answer that is not streamed came. @param inFlight with it */
  answered(id: string, inFlight: number, now: Now): void {
    const climb = this.#climbs.get(id);
    if (climb !== undefined) inTime(climb, inFlight, 1, false, now);
  }
}

/** Some streams are waited for no more. */
function hush(climb: Climb, from: number, count: number): void {
  for (const { tokens } of climb.silent.splice(from, count)) climb.silentTokens -= tokens;
  if (climb.silent.length === 0) climb.silentTokens = 0;
}

/** What a prompt's first token takes at best: as the nearest that were seen, of longer ones in proportion. Nothing seen: for ever. */
function likeMs({ best }: Climb, tokens: number): number {
  const of = classOf(tokens);
  let like: Climb["best"][number];
  for (let down = of; down >= 0 && like === undefined; down--) like = best[down];
  for (let up = of + 1; up < best.length && like === undefined; up++) like = best[up];
  return like === undefined ? Number.POSITIVE_INFINITY : like.ms * Math.max(1, tokens / like.tokens);
}

const lateAfterMs = (climb: Climb, tokens: number): number => tolerance * likeMs(climb, tokens) + slackMs;

/** How many more fit. A stream that is silent for too long closes it, and prompts that would make the next one so, whatever its limit. */
function roomOf(climb: Climb, inFlight: number, now: Now): number {
  const { silentTokens, extraMs, aheadTokens } = climb;
  if (silentTokens > 0 && aheadTokens > 0 && (silentTokens * extraMs) / aheadTokens > aheadMsMax) return 0;
  const [oldest] = climb.silent;
  if (oldest === undefined || now - oldest.at <= lateAfterMs(climb, oldest.tokens)) return climb.limit - inFlight;
  climb.doubling = false;
  return 0;
}

/** @param sure nothing waits behind it */
function inTime(climb: Climb, inFlight: number, by: number, sure: boolean, now: Now): void {
  // a limit that is not used says nothing of what lies above it
  if (inFlight * 2 < climb.limit) return;
  climb.good++;
  if (!climb.doubling) {
    if (now - climb.cutAt < climb.probeMs) return;
    if (!sure && (climb.good < climb.limit || now - climb.changedAt < climb.probeMs)) return;
  }
  climb.limit = Math.min(bounds.inFlight, climb.limit + by);
  climb.good = 0;
  climb.changedAt = now;
}

/** One that was sent at a time was late. What has spoken is what fits; not less than half (RFC 5681), and once for all that were sent before. */
function tooLate(climb: Climb, inFlight: number, sentAt: Now, now: Now): void {
  climb.doubling = false;
  if (sentAt < climb.cutAt || bitsOf(climb.lates) < (climb.queued === 0 ? latesMax.told : latesMax.untold)) return;
  cutTo(climb, Math.max(inFlight - climb.silent.length, Math.floor(climb.limit / 2)), now);
}

function bitsOf(lates: number): number {
  let bits = 0;
  for (let left = lates; left > 0; left >>= 1) bits += left & 1;
  return bits;
}

function cutTo(climb: Climb, limit: number, now: Now): void {
  // what was tried since the last cut came to nothing; where it went well for long, it begins anew
  const tried = climb.changedAt > climb.cutAt && climb.cutAt > 0;
  if (tried) climb.probeMs = now - climb.cutAt > 4 * climb.probeMs ? probeMs.first : Math.min(probeMs.max, climb.probeMs * 2);
  climb.limit = Math.max(limitMin, Math.min(climb.limit, limit));
  climb.doubling = false;
  climb.lates = 0;
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
  climb.queued = queued;
  const running = (load[row] as number) - queued;
  if (queued > 0) return cutTo(climb, Math.ceil((inFlight * running) / (running + queued)), now);
  // all that it has is being worked on, and more would have come
  if (climb.doubling && climb.silent.length === 0 && inFlight * 2 >= climb.limit) {
    climb.limit = Math.min(bounds.inFlight, climb.limit * 2);
    climb.changedAt = now;
  }
}
