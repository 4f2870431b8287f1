import type { FairleadError } from "../../schema/errors.ts";
import type { Now } from "../../schema/clock.ts";
import { upstreamError } from "../provider/provider.ts";
import type { Begun } from "./attempt.ts";
import type { GoOn } from "./goOn.ts";
import { statusOf, type Failure } from "./outcome.ts";
import { lookAfter, readBeyond } from "./reading.ts";
import { orSilence } from "./silence.ts";
import type { StreamFault } from "./watch.ts";

/** An upstream's event stream on its way to the client. */
export interface Source {
  events: Begun;
  /** End the attempt that gives it. */
  abandon: () => void;
  /** To be called once, when it is over; with what the client is told when nothing may go on with the answer. */
  over: (failure?: Failure) => Promise<FairleadError | undefined> | undefined;
  idleMs: number;
  /** ms since the epoch. */
  endsAt: number;
  /** How long a client may take nothing, instead of the usual time; for tests. */
  stallMs?: number;
  goOn?: GoOn<Source> | undefined;
  /** The answer has ended with this error. Of an answer's first source. */
  failed?: (error: FairleadError) => void;
  /** Told of each piece as it comes, where the gaps between them are timed. */
  gaps?: ((now: number) => void) | undefined;
}

const none = new Uint8Array(0);

function failureOf(fault: StreamFault): Failure {
  // its upstream does well: only, it goes on with another answer than the client has
  if (fault.kind === "diverged") return { kind: "abandoned" };
  if (fault.kind === "malformed") return { kind: "lost", why: fault.why };
  return { kind: "unable", status: statusOf(fault.error), error: upstreamError(200, fault.text).error };
}

/** An answer that nobody waits for any more. */
export function refuse({ events, abandon, over }: Source): void {
  events.reader.cancel().catch(() => undefined);
  abandon();
  void over({ kind: "abandoned" });
}

/** Who takes what flows. */
export interface Outlet {
  give(bytes: Uint8Array): void;
  /** There is nothing more of this part. */
  ended(): Promise<void>;
  /** It cannot go on, for a reason that nobody foresaw. */
  failed(error: unknown): void;
}

/** One upstream's part of an answer, piece by piece as they are asked for. */
export class Inflow {
  readonly source: Source;
  /** What ended it, once it has; undefined when it is whole. */
  failure: Failure | undefined;
  /** Somebody has said that it is over, or is about to. */
  told = false;
  readonly #now: () => Now;
  #progressed = false;
  #progressedAt: Now;
  #stopped: Failure | undefined;

  constructor(source: Source, now: () => Now) {
    this.source = source;
    this.#now = now;
    this.#progressedAt = now();
  }

  /** The next whole events, in one function from the read to the client: it runs once a piece. */
  async flow(to: Outlet): Promise<void> {
    const { events, gaps } = this.source;
    const { watch, first } = events;
    if (first.byteLength > 0) {
      // a piece is a part of a buffer of 4 KiB, which would live as long as the stream
      events.first = none;
      return to.give(first);
    }
    try {
      while (this.#goesOn()) {
        let part: ReadableStreamReadResult<Uint8Array> | undefined;
        try {
          part = await events.reader.read();
        } catch {
          // its carrier is lost
        }
        if (part === undefined || part.done) part = await readBeyond(events, part !== undefined);
        else events.receivedBytes += part.value.byteLength;
        if (part === undefined || part.done || this.#stopped !== undefined) {
          if (!watch.finished) this.failure = this.#stopped ?? { kind: "lost", why: part === undefined ? "the stream broke off" : "the stream ended without an end mark" };
          break;
        }
        const bytes = watch.push(part.value);
        this.#progressed ||= watch.progressed;
        if (gaps !== undefined && watch.progressed) gaps(this.#now());
        if (bytes.byteLength > 0) return to.give(bytes);
      }
    } catch (error) {
      this.leave();
      return to.failed(error);
    }
    return to.ended();
  }

  /** Whether what has come of it so far asks for more. */
  #goesOn(): boolean {
    const { watch } = this.source.events;
    if (watch.fault === undefined) return !watch.done;
    this.stop();
    // what comes after the end of an answer takes nothing from it
    if (!watch.finished || watch.fault.kind === "diverged") this.failure = failureOf(watch.fault);
    return false;
  }

  /** Nothing more is wanted of it. */
  stop(): void {
    const { events, abandon } = this.source;
    events.reader.cancel().catch(() => undefined);
    abandon();
  }

  /** What time brings: an upstream that is silent for too long, the end of the request's time. @param untaken the client has not taken what it was given */
  tick(now: Now, untaken: boolean): void {
    const { events, idleMs, endsAt } = this.source;
    if (this.#progressed || untaken) this.#progressedAt = now;
    this.#progressed = false;
    if (now >= endsAt) this.#stopped ??= { kind: "timeout", why: "total" };
    else if (now - this.#progressedAt >= idleMs) this.#stopped ??= { kind: "timeout", why: "idle" };
    if (this.#stopped !== undefined) this.stop();
    else if (!untaken) lookAfter(events);
  }

  /** Says how its part ended, once. @returns what the client is told when nothing may go on with the answer */
  tell(): Promise<FairleadError | undefined> | undefined {
    this.told = true;
    const { failure } = this;
    // the request's own time is over: that is nothing against its upstream
    return this.source.over(failure?.kind === "timeout" && failure.why === "total" ? { kind: "abandoned" } : failure);
  }

  /** Nobody waits for it any more. */
  leave(): void {
    if (this.told) return;
    this.told = true;
    refuse(this.source);
  }

  /** Whether what follows `[DONE]` is the end, as it should be: its connection can be used again then. */
  async drain(): Promise<void> {
    const rest = await orSilence(this.source.events.reader.read().catch(() => ({ done: true })));
    if (rest === "silent" || !rest.value.done) this.stop();
  }
}
