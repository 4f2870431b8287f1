import type { Clock } from "../schema/clock.ts";
import { attachTarget, windowBytes, type AttemptWay, type RequestHead, type ResponseHead } from "../schema/frames.ts";
import { linkTimes } from "../schema/protocol.ts";
import type { Answerer, Carried, Wire } from "./carry.ts";
import { Replay } from "./replay.ts";
import type { Cancel, Timers } from "./timers.ts";

export interface AttemptsOptions {
  /** Who begins a request. */
  answererOf: (head: RequestHead) => Answerer;
  clock: Clock;
  timers: Timers;
  /** Of one answer, at most: a window, for no more than that can be under way to a reader (schema/frames.ts). */
  replayBytesMax?: number;
  /** Of all answers together that have ended and are kept for the case that their link is lost with the last of them. */
  endedBytesMax?: number;
}

export interface Attempts {
  /** Who answers a request, one that goes on with an attempt included. */
  answererOf(head: RequestHead): Answerer;
  /** Attempts that could be gone on with now. */
  readonly size: number;
  /** Cancels everything; from here on nothing is kept. */
  close(): void;
}

/** A socket's read at most (Node's own size): what an engine may still give after it was told to wait. */
const readBytes = 64 * 1024;

/** An answer that outlives the link it began on. */
interface Attempt {
  id: string;
  /** Of the way that has it. */
  turn: number;
  replay: Replay;
  /** The engine's side; undefined when the answer is over. */
  carried: Carried | undefined;
  head: ResponseHead | undefined;
  /** Says how the answer ended. */
  last: ((wire: Wire) => void) | undefined;
  /** It broke off. */
  broken: boolean;
  /** The client's side; undefined while it is parked, and when the answer is over. */
  wire: Wire | undefined;
  /** The request has come to its end. */
  whole: boolean;
  /** The engine was told to wait. */
  waiting: boolean;
  cancel: Cancel | undefined;
}

/**
 * Keeps the answers of requests that name their attempt: when their link is lost they are parked, and go on by the next link that
 * asks for them, from the byte it asks for. The engine answers once, whatever becomes of links.
 */
export function keepAttempts({ answererOf, clock, timers, replayBytesMax = windowBytes, endedBytesMax = 64 * 1024 * 1024 }: AttemptsOptions): Attempts {
  const attempts = new Map<string, Attempt>();
  /** Those that are over, the oldest first, with their ends. */
  const ended = new Map<Attempt, number>();
  let endedBytes = 0;
  let cancelForget: Cancel | undefined;
  let closed = false;

  const forget = (one: Attempt): void => {
    if (attempts.get(one.id) === one) attempts.delete(one.id);
    if (ended.delete(one)) endedBytes -= one.replay.bytes;
    one.cancel?.();
  };
  const drop = (one: Attempt): void => {
    forget(one);
    one.wire = undefined;
    one.carried?.cancel();
    one.carried = undefined;
  };
  const forgetEnded = (): void => {
    cancelForget = undefined;
    const before = clock.now() - linkTimes.parkMs;
    for (const [one, at] of ended) {
      if (at > before) break;
      forget(one);
    }
    if (ended.size > 0) cancelForget = timers.after(linkTimes.parkMs, forgetEnded);
  };

  const finish = (one: Attempt, broken: boolean, last: (wire: Wire) => void): void => {
    const { wire } = one;
    one.carried = undefined;
    one.wire = undefined;
    one.broken = broken;
    one.last = last;
    one.cancel?.();
    if (wire) last(wire);
    if (closed || attempts.get(one.id) !== one) return;
    ended.set(one, clock.now());
    endedBytes += one.replay.bytes;
    for (const [oldest] of ended) {
      if (endedBytes <= endedBytesMax) break;
      forget(oldest);
    }
    cancelForget ??= timers.after(linkTimes.parkMs, forgetEnded);
  };

  const goOn = (one: Attempt): void => {
    if (!one.waiting) return;
    one.waiting = false;
    one.carried?.resume();
  };

  const park = (one: Attempt, keptMs: number): void => {
    if (closed || !one.whole) return drop(one);
    one.wire = undefined;
    one.cancel = timers.after(keptMs, () => drop(one));
    if (one.replay.room >= readBytes) goOn(one);
  };

  /** One link's hold of an attempt, until a later one takes over. */
  const way = (one: Attempt, turn: number, own: Pick<Carried, "body" | "end">): Carried => {
    const mine = (): boolean => one.turn === turn && one.wire !== undefined;
    return {
      ...own,
      resume: () => mine() && goOn(one),
      cancel: () => mine() && drop(one),
      lost: (keptMs = linkTimes.parkMs) => mine() && park(one, keptMs),
    };
  };

  const begin = (head: RequestHead, { id, turn }: AttemptWay, wire: Wire, carry: (head: RequestHead, wire: Wire) => Carried): Carried => {
    const one: Attempt = { id, turn, replay: new Replay(replayBytesMax), carried: undefined, head: undefined, last: undefined, broken: false, wire, whole: false, waiting: false, cancel: undefined };
    attempts.set(id, one);
    const carried = carry(head, {
      head(answer) {
        one.head = answer;
        one.wire?.head(answer);
      },
      body(payload, kind) {
        one.replay.push(payload);
        one.waiting = one.wire === undefined ? one.replay.room < readBytes : !one.wire.body(payload, kind);
        return !one.waiting;
      },
      end: (close) => finish(one, false, (to) => to.end(close)),
      reset: (code, message) => finish(one, true, (to) => to.reset(code, message)),
      granted: (bytes) => one.wire?.granted(bytes),
    });
    if (one.last === undefined) one.carried = carried;
    return way(one, turn, {
      body: (payload, kind) => one.carried?.body(payload, kind),
      end(close) {
        one.whole = true;
        one.carried?.end(close);
      },
    });
  };

  const takeOver = (one: Attempt, turn: number, rest: Uint8Array, wire: Wire): Carried => {
    const before = one.wire;
    one.cancel?.();
    one.turn = turn;
    one.wire = wire;
    before?.reset("gone", "a later way has taken the answer over");
    // what broke off before the place that is asked for is no answer at all
    if (one.head && !(one.broken && rest.byteLength === 0)) wire.head(one.head);
    const room = rest.byteLength === 0 || wire.body(rest);
    if (one.last) {
      one.wire = undefined;
      one.last(wire);
    } else if (room) goOn(one);
    // the request is here already: what comes of it again is let through to nowhere
    return way(one, turn, { body: (payload) => wire.granted(payload.byteLength), end: () => undefined });
  };

  const gone = (message: string): Answerer => ({ refuse: { code: "gone", message } });

  return {
    get size() {
      return attempts.size;
    },
    answererOf(head) {
      const { attempt: asked, target, upgrade } = head;
      if (asked === undefined || upgrade === true) return target === attachTarget ? gone("no attempt is named") : answererOf(head);
      const one = attempts.get(asked.id);
      if (one) {
        if (asked.turn <= one.turn) return gone("a later way has taken the answer over");
        const rest = one.whole ? one.replay.since(asked.from ?? 0) : undefined;
        if (rest) return { carry: (_head, wire) => takeOver(one, asked.turn, rest, wire) };
        // nobody can use what is left of it
        one.wire?.reset("gone", "a later way wants more than there is");
        drop(one);
        if (one.whole) return gone("what is asked for is not kept any more");
      }
      if (asked.from !== undefined || target === attachTarget) return gone("there is no such attempt");
      const answerer = answererOf(head);
      return "refuse" in answerer ? answerer : { carry: (given, wire) => begin(given, asked, wire, answerer.carry) };
    },
    close() {
      closed = true;
      cancelForget?.();
      for (const one of attempts.values()) drop(one);
    },
  };
}
