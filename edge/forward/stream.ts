import { FairleadError } from "../../schema/errors.ts";
import { lossError } from "./goOn.ts";
import type { Run } from "./hedge.ts";
import { Inflow, refuse, type Outlet, type Source } from "./inflow.ts";
import { comment, errorEvent, silenceMs } from "./silence.ts";

/** A client that takes nothing for so long while something is there for it is dropped (facts/failures.md §2: stalled reader). */
const stallMsMax = 60_000;

/** Pieces that may wait for the client: with one, what becomes of the upstream is known while the client is still busy with the piece before. */
const ahead = 1;

/** The way to another answer's events, for an answer that begins before its upstream does. */
interface Early {
  upstream: Promise<Source>;
  /** End all that was begun for it. */
  cancel: () => void;
}

/**
 * An answer's events as the client asks for them: all its legs, with a comment into every silence, so that a client that goes away is
 * noticed at any time. It ends with `[DONE]`, or with one typed error event and no `[DONE]`; never with a bare end.
 *
 * The client's side pulls, one piece ahead: a stream that is written to costs as much CPU and 70 KB more of the platform's
 * memory (docs/adr/0012). One timer a stream: a timer and a race for every piece would cost more than the copy.
 */
class Outflow implements Outlet {
  readonly readable: ReadableStream<Uint8Array>;
  /** Nothing more is done for it. */
  readonly over: Promise<void>;
  readonly #settle: () => void;
  readonly #early: Early | undefined;
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  #leg: Inflow | undefined;
  #first: Source | undefined;
  /** What is to go on with it, on its way. */
  #next: Run<Source | undefined> | undefined;
  /** What is in the queue is the last of it. */
  #last = false;
  #closed = false;
  /** Pieces that were asked for, and given: counted, for only the timer looks at the clock. */
  #asks = 0;
  #gives = 0;
  #asksSeen = 0;
  #givesSeen = 0;
  #turnAt = Date.now();
  #takenAt = this.#turnAt;
  #givenAt = this.#turnAt;
  /** Somebody has taken the stream. */
  #held = false;
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(source: Source | undefined, early?: Early) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.over = promise;
    this.#settle = resolve;
    this.#early = early;
    if (source !== undefined) this.#begin(source);
    this.readable = new ReadableStream<Uint8Array>(
      { start: (controller) => void (this.#controller = controller), pull: () => this.#pull(), cancel: () => this.#leave() },
      { highWaterMark: ahead },
    );
    this.#timer = setInterval(() => this.#tick(), silenceMs / 2);
  }

  #begin(source: Source): void {
    this.#first ??= source;
    this.#leg = new Inflow(source, Date.now);
  }

  #pull(): Promise<void> {
    this.#asks++;
    return this.#leg === undefined || this.#last ? this.ended() : this.#leg.flow(this);
  }

  give(bytes: Uint8Array): void {
    if (this.#closed) return;
    this.#gives++;
    this.#controller.enqueue(bytes);
  }

  /** Where its leg has nothing more the next one follows, or what ends the answer. */
  async ended(): Promise<void> {
    try {
      if (!this.#last && !this.#closed) {
        if (this.#leg === undefined) {
          // it begins at once, and not when its upstream does
          if (this.#gives === 0) return this.give(comment);
          this.#begin(await (this.#early as Early).upstream);
        } else {
          const ending = await this.#endLeg(this.#leg);
          if (ending !== undefined) return this.give(ending);
        }
      }
      if (this.#closed) return;
      if (this.#last) this.#close();
      else await (this.#leg as Inflow | undefined)?.flow(this);
    } catch (error) {
      this.failed(error);
    }
  }

  /** Says how a leg ended, and finds what goes on with it. @returns what is left to say of a whole answer. @throws FairleadError where it ends */
  async #endLeg(leg: Inflow): Promise<Uint8Array | undefined> {
    const { source: { events: { watch }, idleMs, goOn }, failure } = leg;
    const refused = await leg.tell();
    if (refused !== undefined) throw refused;
    if (watch.dropped > 0) console.warn(JSON.stringify({ message: "events of a stream were no JSON", dropped: watch.dropped }));
    if (failure === undefined) {
      this.#last = true;
      return watch.done ? undefined : watch.ending();
    }
    const error = lossError(failure, idleMs);
    if (goOn === undefined || this.#closed) throw error;
    this.#next = goOn({ failure, error, watch });
    const source = await this.#next.result;
    this.#next = undefined;
    if (source === undefined) throw error;
    if (this.#closed) refuse(source);
    else this.#begin(source);
    return undefined;
  }

  /** A begun answer that cannot go on ends with one typed error event and no `[DONE]`, never with a clean EOF. */
  failed(error: unknown): void {
    if (this.#closed) return;
    const known = error instanceof FairleadError ? error : new FairleadError("provider_unreachable", "Cannot go on with the answer: the upstream was lost");
    this.#early?.cancel();
    this.#first?.failed?.(known);
    this.#last = true;
    this.give(errorEvent(known));
  }

  #close(): void {
    this.#end();
    this.#controller.close();
    const leg = this.#leg;
    if (leg !== undefined && leg.failure === undefined && leg.source.events.watch.done) void leg.drain().finally(this.#settle);
    else this.#settle();
  }

  #end(): void {
    this.#closed = true;
    clearInterval(this.#timer);
  }

  /** The client has gone, or is given up. */
  #leave(): void {
    if (this.#closed) return;
    this.#end();
    this.#leg?.leave();
    this.#next?.abandon();
    if (this.#first === undefined) this.#early?.upstream.then(refuse, () => undefined);
    this.#early?.cancel();
    this.#settle();
  }

  #tick(): void {
    const now = Date.now();
    // where it is sent, the platform holds it until it gives up sending, which it does not tell otherwise
    if (this.readable.locked) this.#held = true;
    else if (this.#held) return this.#leave();
    const untaken = (this.#controller.desiredSize ?? 0) < ahead;
    if (!untaken || this.#asks !== this.#asksSeen) this.#takenAt = now;
    else if (now - this.#takenAt >= (this.#leg?.source.stallMs ?? stallMsMax)) {
      this.#controller.error(new Error("the client has stopped reading"));
      return this.#leave();
    }
    // what happened since the last turn happened, for silence, at that turn at the earliest
    if (this.#gives !== this.#givesSeen) this.#givenAt = this.#turnAt;
    this.#asksSeen = this.#asks;
    this.#givesSeen = this.#gives;
    this.#turnAt = now;
    if (this.#leg?.told === false) this.#leg.tick(now, untaken);
    if (untaken || this.#last || this.#leg?.source.events.watch.done === true || now - this.#givenAt < silenceMs) return;
    this.give(comment);
  }
}

type WaitUntil = (work: Promise<unknown>) => void;

/**
 * An SSE answer that begins before its upstream does: comments while it is silent, then the upstream's events.
 *
 * The client's going away shows as a failed write, and reaches the upstream through `cancel`.
 */
export function beginEarly(upstream: Promise<Source>, cancel: () => void, waitUntil: WaitUntil): ReadableStream {
  const { readable, over } = new Outflow(undefined, { upstream, cancel });
  waitUntil(over);
  return readable;
}

/** An SSE answer whose upstream has begun. */
export function events(source: Source, waitUntil: WaitUntil): ReadableStream {
  const { readable, over } = new Outflow(source);
  waitUntil(over);
  return readable;
}
