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
  return contentType?.toLowerCase().startsWith("text/event-stream") ?? false;
}

/**
 * Where a stream stands: between two events, where a comment may go, or within one. Chunks may be cut anywhere; only their ends
 * are looked at. A lone carriage return, which the standard also takes for a line end, is not: no engine sends one.
 */
export class EventBoundary {
  /** Line ends in a row at the end of what has passed; a stream begins between two events. */
  #lineEnds = 2;

  push(chunk: Uint8Array): void {
    let at = chunk.byteLength;
    let lineEnds = 0;
    while (at > 0 && lineEnds < 2) {
      const byte = chunk[at - 1];
      if (byte === 0x0a) lineEnds++;
      else if (byte !== 0x0d) break;
      at--;
    }
    // the whole chunk was line ends: they go on from those before
    this.#lineEnds = at === 0 ? this.#lineEnds + lineEnds : lineEnds;
  }

  get reached(): boolean {
    return this.#lineEnds >= 2;
  }
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
