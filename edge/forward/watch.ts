/** One event at most (facts/failures.md §2): what is longer is no event. */
export const eventBytesMax = 1024 * 1024;

const decoder = new TextDecoder();
const encoder = new TextEncoder();
const none = new Uint8Array(0);

/** Why a stream cannot go on. */
export type StreamFault =
  /** The upstream said so in an event; `text` is that event's JSON. */
  | { kind: "error"; text: string; error: unknown }
  /** Two events in a row that are no JSON, or one that never ends. */
  | { kind: "malformed"; why: string };

/** Where the last whole event of these bytes ends: after an empty line. 0 when there is none. */
function wholeEvents(bytes: Uint8Array): number {
  for (let at = bytes.lastIndexOf(0x0a); at > 0; at = bytes.lastIndexOf(0x0a, at - 1)) {
    const before = bytes[at - 1] === 0x0d ? at - 2 : at - 1;
    if (bytes[before] === 0x0a) return at + 1;
  }
  return 0;
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.byteLength + b.byteLength);
  out.set(a);
  out.set(b, a.byteLength);
  return out;
}

interface Chunk {
  choices?: { finish_reason?: string | null }[];
  error?: unknown;
}

/**
 * Watches an upstream's events on their way to the client: good ones pass byte for byte, comments and what is no JSON do not. It
 * knows when the answer has begun, when it is finished, and why it cannot go on.
 *
 * Most events of a stream differ in one short text only. An event that equals the one before it on both sides of that text, and
 * has no quote, backslash or control character in it, is as good as that one; all others are parsed.
 */
export class Watch {
  #rest: Uint8Array = none;
  #head = "";
  #tail = "";
  #malformed = false;
  /** An event of the answer has passed. */
  began = false;
  /** A `finish_reason` or `[DONE]` has passed: an end after it is no loss. */
  finished = false;
  /** `[DONE]` has passed: nothing after it is part of the answer. */
  done = false;
  /** Events that were kept back. */
  dropped = 0;
  /** The last chunk held more than comments. */
  progressed = false;
  fault: StreamFault | undefined;

  /** What of these bytes, and of those held back before, may go to the client now. Whole events only. */
  push(chunk: Uint8Array): Uint8Array {
    this.progressed = false;
    if (this.done || this.fault !== undefined) return none;
    const bytes = this.#rest.byteLength === 0 ? chunk : joined(this.#rest, chunk);
    const end = wholeEvents(bytes);
    this.#rest = end === bytes.byteLength ? none : bytes.slice(end);
    if (this.#rest.byteLength > 0 && this.#rest[0] !== 0x3a) this.progressed = true;
    const passed = end === 0 ? none : this.#events(bytes.subarray(0, end));
    if (this.#rest.byteLength > eventBytesMax) this.fault ??= { kind: "malformed", why: `an event is longer than ${eventBytesMax} bytes` };
    return passed;
  }

  #events(bytes: Uint8Array): Uint8Array {
    let text = decoder.decode(bytes);
    if (text.includes("\r")) text = text.replaceAll("\r\n", "\n");
    let passed = "";
    let all = true;
    for (let at = 0; at < text.length && !this.done && this.fault === undefined; ) {
      const end = text.indexOf("\n\n", at);
      const next = end < 0 ? text.length : end + 2;
      if (this.#passes(text, at, end < 0 ? text.length : end)) {
        // cut out of the text only once it is known that not all of it goes on
        if (!all) passed += text.slice(at, next);
      } else if (all) {
        all = false;
        passed = text.slice(0, at);
      }
      at = next;
      if ((this.done || this.fault !== undefined) && at < text.length && all) {
        all = false;
        passed = text.slice(0, at);
      }
    }
    return all ? bytes : encoder.encode(passed);
  }

  /** Whether the event between two places of a text is part of the answer. */
  #passes(text: string, from: number, to: number): boolean {
    if (to === from || text.charCodeAt(from) === 0x3a) {
      // a comment, unless lines follow it
      const line = text.indexOf("\n", from);
      if (to === from || line < 0 || line >= to) return false;
    }
    this.progressed = true;
    if (text.startsWith("data: ", from) && !this.#severalLines(text, from, to)) return this.#payload(text.slice(from + 6, to), undefined);
    return this.#lines(text.slice(from, to).split("\n"));
  }

  #severalLines(text: string, from: number, to: number): boolean {
    const line = text.indexOf("\n", from);
    return line >= 0 && line < to;
  }

  #lines(lines: string[]): boolean {
    let event: string | undefined;
    const payload: string[] = [];
    for (const line of lines) {
      if (line.startsWith("data:")) payload.push(line.slice(line.charCodeAt(5) === 0x20 ? 6 : 5));
      else if (line.startsWith("event:")) event = line.slice(6).trim();
    }
    return payload.length > 0 && this.#payload(payload.join("\n"), event);
  }

  #payload(payload: string, event: string | undefined): boolean {
    if (payload === "[DONE]") {
      this.done = true;
      this.finished = true;
      return true;
    }
    if (event === undefined && this.#likeTheLast(payload)) {
      this.#malformed = false;
      return true;
    }
    let chunk: Chunk | null;
    try {
      chunk = JSON.parse(payload) as Chunk | null;
    } catch {
      if (this.#malformed) this.fault = { kind: "malformed", why: "two events in a row are no JSON" };
      this.#malformed = true;
      this.dropped++;
      return false;
    }
    this.#malformed = false;
    if (event === "error" || (typeof chunk === "object" && chunk !== null && Boolean(chunk.error))) {
      this.fault = { kind: "error", text: payload, error: chunk?.error ?? chunk };
      return false;
    }
    this.began = true;
    let ends = false;
    if (Array.isArray(chunk?.choices)) for (const choice of chunk.choices) if (typeof choice?.finish_reason === "string") ends = true;
    if (ends) this.finished = true;
    else this.#remember(payload);
    return true;
  }

  #likeTheLast(payload: string): boolean {
    const from = this.#head.length;
    if (from === 0 || payload.length < from + this.#tail.length || !payload.startsWith(this.#head) || !payload.endsWith(this.#tail)) return false;
    for (let at = from; at < payload.length - this.#tail.length; at++) {
      const unit = payload.charCodeAt(at);
      if (unit < 0x20 || unit === 0x22 || unit === 0x5c) return false;
    }
    return true;
  }

  /** What stands on both sides of the new text in an event that was good. */
  #remember(payload: string): void {
    const match = /"(?:content|text|reasoning_content|reasoning)": ?"/.exec(payload);
    if (match === null) return;
    const from = match.index + match[0].length;
    for (let at = from; at < payload.length; at++) {
      const unit = payload.charCodeAt(at);
      // a backslash may escape what follows it
      if (unit === 0x5c) return;
      if (unit === 0x22) {
        this.#head = payload.slice(0, from);
        this.#tail = payload.slice(at);
        return;
      }
    }
  }
}
