import { FairleadError } from "../../schema/errors.ts";
import { comment, errorEvent, orSilence } from "./silence.ts";

type WaitUntil = (work: Promise<unknown>) => void;

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
 * An SSE answer that begins before its upstream does: comments while it is silent, then the upstream's bytes untouched.
 *
 * The client's going away shows as a failed write, and reaches the upstream through `cancel`.
 */
export function beginEarly(upstream: Promise<Response>, cancel: (reason: unknown) => void, waitUntil: WaitUntil): ReadableStream {
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
        const { body } = await upstream;
        await (body === null ? writable.close() : body.pipeTo(writable, { preventAbort: true }));
      } catch (error) {
        cancel(error);
        await endWith(writable, error);
      }
    })(),
  );
  return readable;
}

/**
 * A provider's SSE body with comments until its first byte, then handed through natively (a JavaScript copy per chunk costs
 * more than twice as much; facts/cloudflare.md, "Ways to watch a stream").
 */
export function untilFirstByte(body: ReadableStream<Uint8Array>, cancel: (reason: unknown) => void, waitUntil: WaitUntil): ReadableStream {
  const { readable, writable } = new IdentityTransformStream();
  waitUntil(
    (async () => {
      const reader = body.getReader();
      const writer = writable.getWriter();
      try {
        const first = reader.read();
        let heard = await orSilence(first);
        for (; heard === "silent"; heard = await orSilence(first)) await writer.write(comment);
        if (heard.value.done) return await writer.close();
        await writer.write(heard.value.value);
        reader.releaseLock();
        writer.releaseLock();
        await body.pipeTo(writable, { preventAbort: true });
      } catch (error) {
        cancel(error);
        writer.releaseLock();
        await endWith(writable, error);
      }
    })(),
  );
  return readable;
}
