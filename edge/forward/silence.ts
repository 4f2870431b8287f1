import { errorEnvelope, type FairleadError } from "../../schema/errors.ts";

/**
 * How long a stream may say nothing before a comment is sent. Under workerd a client that goes away while nothing is written is
 * not noticed (facts/cloudflare.md §8, row 2), so comments are what cancels an abandoned prefill. Half a second keeps the
 * promise of one second with room.
 */
export const silenceMs = 500;

const encoder = new TextEncoder();
/** A comment line, ignored by every SSE decoder. */
export const comment = encoder.encode(": \n\n");

/** One typed error event; no `[DONE]` follows it. */
export function errorEvent(error: FairleadError): Uint8Array {
  return encoder.encode(`data: ${JSON.stringify(errorEnvelope(error))}\n\n`);
}

export function isEventStream(contentType: string | null | undefined): boolean {
  return contentType?.startsWith("text/event-stream") ?? false;
}

/** Whether a stream whose last bytes are these stands between two events, where a comment may go. */
export function atBoundary(lastBytes: Uint8Array): boolean {
  const n = lastBytes.byteLength;
  if (n === 0 || lastBytes[n - 1] !== 0x0a) return n === 0;
  return lastBytes[n - 2] === 0x0a || (lastBytes[n - 2] === 0x0d && lastBytes[n - 3] === 0x0a);
}

/** A promise that gives way to a timer. */
export async function orSilence<T>(work: Promise<T>, ms = silenceMs): Promise<{ value: T } | "silent"> {
  const silent = Promise.withResolvers<"silent">();
  const timer = setTimeout(() => silent.resolve("silent"), ms);
  try {
    return await Promise.race([work.then((value) => ({ value })), silent.promise]);
  } finally {
    clearTimeout(timer);
  }
}
