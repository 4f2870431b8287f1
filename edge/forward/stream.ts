import { FairleadError } from "../../schema/errors.ts";
import { upstreamError } from "../provider/provider.ts";
import type { Begun } from "./attempt.ts";
import { lossError, type GoOn } from "./goOn.ts";
import type { Run } from "./hedge.ts";
import { statusOf, type Failure } from "./outcome.ts";
import { lookAfter, readOn } from "./reading.ts";
import { comment, errorEvent, orSilence, silenceMs } from "./silence.ts";
import type { StreamFault, Watch } from "./watch.ts";

/** A client that takes nothing for so long while something is there for it is dropped (facts/failures.md §2: stalled reader). */
const stallMsMax = 60_000;

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
  /** Instead of `stallMsMax`, for tests. */
  stallMs?: number;
  goOn?: GoOn<Source> | undefined;
  /** The answer has ended with this error. Of an answer's first source. */
  failed?: (error: FairleadError) => void;
  /** Told of each piece as it comes, where the gaps between them are timed. */
  gaps?: ((now: number) => void) | undefined;
}

type Writer = WritableStreamDefaultWriter<Uint8Array>;

function failureOf(fault: StreamFault): Failure {
  // its upstream does well: only, it goes on with another answer than the client has
  if (fault.kind === "diverged") return { kind: "abandoned" };
  if (fault.kind === "malformed") return { kind: "lost", why: fault.why };
  return { kind: "unable", status: statusOf(fault.error), error: upstreamError(200, fault.text).error };
}

/** What a client's going away is, among all that can end a stream. */
class ClientGone extends Error {}

/**
 * Copy one upstream's events, with a comment into every silence, so that a client that goes away is noticed at any time. One timer
 * a stream: a timer and a race for every chunk would cost more than the copy.
 *
 * @returns what ended it; undefined when it is whole
 * @throws ClientGone
 */
async function copy({ events, abandon, idleMs, endsAt, gaps, stallMs = stallMsMax }: Source, writer: Writer): Promise<Failure | undefined> {
  const { watch } = events;
  /** Writes that the client has not taken, and how many it has. */
  let writing = 0;
  let taken = 0;
  let progressed = false;
  let stopped: Failure | undefined;
  let gone: unknown;
  const stop = (): void => {
    events.reader.cancel().catch(() => undefined);
    abandon();
  };
  const breakSilence = async (): Promise<void> => {
    writing++;
    try {
      await writer.write(comment);
    } catch (error) {
      gone ??= error;
      return stop();
    }
    writing--;
    taken++;
  };
  // Only the timer looks at the clock: what happened since its last turn happened, for silence, at that turn at the earliest.
  let turnAt = Date.now();
  let [takenSeen, takenAt, writtenAt, progressedAt] = [0, turnAt, turnAt, turnAt];
  const timer = setInterval(() => {
    const now = Date.now();
    if (taken !== takenSeen) {
      takenSeen = taken;
      takenAt = now;
      writtenAt = turnAt;
    } else if (writing === 0) {
      takenAt = now;
    } else if (now - takenAt >= stallMs) {
      // its write fails with this, and so all that waits for it
      gone = new Error("the client has stopped reading");
      writer.abort(gone).catch(() => undefined);
      return stop();
    }
    turnAt = now;
    if (progressed || writing > 0) progressedAt = now;
    progressed = false;
    if (now >= endsAt) stopped ??= { kind: "timeout", why: "total" };
    else if (now - progressedAt >= idleMs) stopped ??= { kind: "timeout", why: "idle" };
    if (stopped !== undefined) return stop();
    if (writing === 0) lookAfter(events);
    if (writing > 0 || watch.done || now - writtenAt < silenceMs) return;
    void breakSilence();
  }, silenceMs / 2);
  try {
    for (let bytes = events.first; ; ) {
      if (bytes.byteLength > 0) {
        writing++;
        try {
          await writer.write(bytes);
        } catch (error) {
          stop();
          throw new ClientGone("the client has gone", { cause: error });
        }
        writing--;
        taken++;
      }
      if (watch.fault !== undefined) {
        stop();
        // what comes after the end of an answer takes nothing from it
        return watch.finished && watch.fault.kind !== "diverged" ? undefined : failureOf(watch.fault);
      }
      if (watch.done) return undefined;
      const next = await readOn(events);
      if (gone !== undefined) throw new ClientGone("the client has gone", { cause: gone });
      if (stopped !== undefined) return watch.finished ? undefined : stopped;
      if (next === undefined) return watch.finished ? undefined : { kind: "lost", why: "the stream broke off" };
      if (next.done) return watch.finished ? undefined : { kind: "lost", why: "the stream ended without an end mark" };
      bytes = watch.push(next.value);
      progressed ||= watch.progressed;
      if (gaps !== undefined && watch.progressed) gaps(Date.now());
    }
  } finally {
    clearInterval(timer);
  }
}

/** Whether what follows `[DONE]` is the end, as it should be: its connection can be used again then. */
async function drain({ events, abandon }: Source): Promise<void> {
  const rest = await orSilence(events.reader.read().catch(() => ({ done: true })));
  if (rest !== "silent" && rest.value.done) return;
  events.reader.cancel().catch(() => undefined);
  abandon();
}

/** What is left to say, to a client that takes it in time. */
async function finish(writer: Writer, watch: Watch, stallMs = stallMsMax): Promise<void> {
  const last = async (): Promise<void> => {
    if (!watch.done) await writer.write(watch.ending());
    await writer.close();
  };
  if ((await orSilence(last(), stallMs)) === "silent") await writer.abort(new Error("the client has stopped reading"));
}

/** What goes on with a stream, with comments to the client until it is there. @throws ClientGone */
async function inSilence({ result, abandon }: Run<Source | undefined>, writer: Writer): Promise<Source | undefined> {
  for (;;) {
    const heard = await orSilence(result);
    if (heard !== "silent") return heard.value;
    try {
      await writer.write(comment);
    } catch (error) {
      abandon();
      result.then((late) => late !== undefined && refuse(late), () => undefined);
      throw new ClientGone("the client has gone", { cause: error });
    }
  }
}

/** All legs of an answer. It ends with `[DONE]`, or with one typed error event and no `[DONE]`; never with a bare end. */
async function pour(source: Source, writer: Writer): Promise<void> {
  for (let leg: Source | undefined = source; leg !== undefined; ) {
    const { over, goOn, idleMs }: Source = leg;
    const { watch }: Begun = leg.events;
    let failure: Failure | undefined;
    try {
      failure = await copy(leg, writer);
    } catch (error) {
      void over({ kind: "abandoned" });
      throw error;
    }
    // the request's own time is over: that is nothing against its upstream
    const refused = await over(failure?.kind === "timeout" && failure.why === "total" ? { kind: "abandoned" } : failure);
    if (refused !== undefined) throw refused;
    if (watch.dropped > 0) console.warn(JSON.stringify({ message: "events of a stream were no JSON", dropped: watch.dropped }));
    if (failure === undefined) {
      await finish(writer, watch, leg.stallMs);
      return watch.done ? drain(leg) : undefined;
    }
    const error = lossError(failure, idleMs);
    leg = goOn === undefined ? undefined : await inSilence(goOn({ failure, error, watch }), writer);
    if (leg === undefined) throw error;
  }
}

/** A begun answer that cannot go on ends with one typed error event and no `[DONE]`, never with a clean EOF. */
async function endWith(writer: Writer, error: unknown, source: Source | undefined): Promise<void> {
  if (error instanceof ClientGone) return;
  const known = error instanceof FairleadError ? error : new FairleadError("provider_unreachable", "Cannot go on with the answer: the upstream was lost");
  source?.failed?.(known);
  try {
    await writer.write(errorEvent(known));
    await writer.close();
  } catch {
    // the client has gone: there is nobody to tell
  }
}

/** An answer that comes after its client left is nobody's. */
function refuse({ events, abandon, over }: Source): void {
  events.reader.cancel().catch(() => undefined);
  abandon();
  void over({ kind: "abandoned" });
}

type WaitUntil = (work: Promise<unknown>) => void;

/**
 * An SSE answer that begins before its upstream does: comments while it is silent, then the upstream's events.
 *
 * The client's going away shows as a failed write, and reaches the upstream through `cancel`.
 */
export function beginEarly(upstream: Promise<Source>, cancel: () => void, waitUntil: WaitUntil): ReadableStream {
  const { readable, writable } = new IdentityTransformStream();
  const work = async (): Promise<void> => {
    const writer = writable.getWriter();
    let source: Source | undefined;
    try {
      do {
        try {
          await writer.write(comment);
        } catch (error) {
          throw new ClientGone("the client has gone", { cause: error });
        }
      } while ((await orSilence(upstream)) === "silent");
      source = await upstream;
      await pour(source, writer);
    } catch (error) {
      cancel();
      if (source === undefined) upstream.then(refuse, () => undefined);
      await endWith(writer, error, source);
    }
  };
  waitUntil(work());
  return readable;
}

/** An SSE answer whose upstream has begun. */
export function events(source: Source, waitUntil: WaitUntil): ReadableStream {
  const { readable, writable } = new IdentityTransformStream();
  const writer = writable.getWriter();
  waitUntil(pour(source, writer).catch((error: unknown) => endWith(writer, error, source)));
  return readable;
}

