import { FairleadError } from "../../schema/errors.ts";
import { comment, EventBoundary, errorEvent, orSilence, silenceMs } from "./silence.ts";

type WaitUntil = (work: Promise<unknown>) => void;

/** An upstream's event stream. */
export interface Source {
  body: ReadableStream<Uint8Array> | null;
  /** Its silences are filled on the way here (a Relay does that): it is handed through natively. */
  filled: boolean;
}

/** A begun stream that cannot go on ends with one typed error event and no `[DONE]`, never with a clean EOF. */
async function endWith(writable: WritableStream<Uint8Array>, error: unknown): Promise<void> {
  const known = error instanceof FairleadError ? error : new FairleadError("provider_unreachable", "Cannot go on with the answer: the upstream was lost");
  try {
    const writer = writable.getWriter();
    // a blank line first: the upstream may have been cut inside an event
    await writer.write(new TextEncoder().encode("\n\n"));
    await writer.write(errorEvent(known));
    await writer.close();
  } catch {
    // the client has gone: there is nobody to tell
  }
}

/**
 * Copy events, with a comment into every silence, so that a client that goes away is noticed at any time. One timer a stream: a
 * timer and a race for every chunk would cost more than the copy.
 */
async function copy(body: ReadableStream<Uint8Array>, writable: WritableStream<Uint8Array>, cancel: (reason: unknown) => void): Promise<void> {
  const reader = body.getReader();
  const writer = writable.getWriter();
  let writtenAt = Date.now();
  const boundary = new EventBoundary();
  let failed: unknown;
  const timer = setInterval(() => {
    if (!boundary.reached || Date.now() - writtenAt < silenceMs) return;
    writtenAt = Date.now();
    writer.write(comment).catch((error: unknown) => {
      failed = error;
      cancel(error);
      reader.cancel(error).catch(() => undefined);
    });
  }, silenceMs / 2);
  try {
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      boundary.push(read.value);
      writtenAt = Date.now();
      await writer.write(read.value);
    }
    if (failed !== undefined) throw failed;
    await writer.close();
  } finally {
    clearInterval(timer);
    reader.releaseLock();
    writer.releaseLock();
  }
}

async function pour({ body, filled }: Source, writable: WritableStream<Uint8Array>, cancel: (reason: unknown) => void): Promise<void> {
  if (body === null) return writable.close();
  return filled ? body.pipeTo(writable, { preventAbort: true }) : copy(body, writable, cancel);
}

/**
 * An SSE answer that begins before its upstream does: comments while it is silent, then the upstream's events.
 *
 * The client's going away shows as a failed write, and reaches the upstream through `cancel`.
 */
export function beginEarly(upstream: Promise<Source>, cancel: (reason: unknown) => void, waitUntil: WaitUntil): ReadableStream {
  const { readable, writable } = new IdentityTransformStream();
  waitUntil(
    (async () => {
      try {
        const writer = writable.getWriter();
        try {
          do await writer.write(comment);
          while ((await orSilence(upstream)) === "silent");
        } finally {
          writer.releaseLock();
        }
        await pour(await upstream, writable, cancel);
      } catch (error) {
        cancel(error);
        await endWith(writable, error);
      }
    })(),
  );
  return readable;
}

/** An SSE answer whose upstream has begun: natively where its silences are filled already, else watched. */
export function events(source: Source, cancel: (reason: unknown) => void, waitUntil: WaitUntil): ReadableStream | null {
  if (source.filled || source.body === null) return source.body;
  const { readable, writable } = new IdentityTransformStream();
  waitUntil(
    pour(source, writable, cancel).catch(async (error: unknown) => {
      cancel(error);
      await endWith(writable, error);
    }),
  );
  return readable;
}
