import type { Chunk } from "./delivered.ts";
import type { Passage } from "./passage.ts";

/** One event at most (facts/failures.md §2): what is longer is no event. */
export const eventBytesMax = 1024 * 1024;

/** Throws on what is no UTF-8; a byte order mark is looked for by `Watch` itself, wherever it stands. */
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const lenient = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true });
const encoder = new TextEncoder();
const none = new Uint8Array(0);

/** Why a stream cannot go on. */
export type StreamFault =
  /** The upstream said so in an event; `text` is that event's JSON. */
  | { kind: "error"; text: string; error: unknown }
  /** Two events in a row that are no JSON objects, one that never ends, or the engine's word that it has given up. */
  | { kind: "malformed"; why: string }
  /** It is good, and no continuation of what the client has. */
  | { kind: "diverged"; why: string };

/** Where the last whole event of these bytes ends: after an empty line. 0 when there is none. */
function wholeEvents(bytes: Uint8Array): number {
  for (let at = bytes.lastIndexOf(0x0a); at > 0; at = bytes.lastIndexOf(0x0a, at - 1)) {
    const before = bytes[at - 1] === 0x0d ? at - 2 : at - 1;
    if (bytes[before] === 0x0a) return at + 1;
  }
  return 0;
}

/**
 * Whole events with one kind of line end, and without a byte order mark before any. A lone carriage return ends a line for whoever
 * reads by the standard, and must not hide one from here; a mark in the middle of a stream would hide its event from the client.
 */
function asUnderstood(text: string): string {
  return text.replaceAll(/\r\n?/g, "\n").replaceAll(/(^|\n\n)\ufeff+/g, "$1");
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.byteLength + b.byteLength);
  out.set(a);
  out.set(b, a.byteLength);
  return out;
}

/** What stands in an event around its text, and around its token ids when it has some after the text. */
interface Around {
  head: string;
  tail: string;
  /** Empty when there are no ids. */
  end: string;
}

const doneEvent = "data: [DONE]\n\n";
const idsName = '"token_ids":[';

/**
 * Watches an upstream's events on their way to the client: good ones pass byte for byte, comments and what is no JSON object do not.
 * What is odd but clear passes as a plain event: its data alone, in one line (facts/openai-wire.md §4). It knows when the answer has
 * begun, when it is finished, and why it cannot go on.
 *
 * Most events of a stream differ in one short text only, and in a token id where those were asked for. An event that equals the
 * one before it around them, and has no quote, backslash or control character in its text, is as good as that one; all others are
 * parsed.
 *
 * A passage keeps account of what passes, and may put other events in its place.
 */
export class Watch {
  readonly passage: Passage | undefined;
  #rest: Uint8Array = none;
  /** An event that was good. */
  #like: Around | undefined;
  /** The same as the client gets it, when that is something else. */
  #likeInstead: Around | undefined;
  #malformed = false;
  /** A choice has been spoken of. */
  #answering = false;
  /** Choices that have a `finish_reason`. */
  #finishes = new Set<number>();
  /** What the client gets for the event just looked at, when it is not the event itself. */
  #instead: string | undefined;
  /** An event of the answer has passed. */
  began = false;
  /** The `finish_reason` of every choice or `[DONE]` has passed: an end after it is no loss. */
  finished = false;
  /** `[DONE]` has passed: nothing after it is part of the answer. */
  done = false;
  /** Events that were kept back. */
  dropped = 0;
  /** The last chunk held more than comments. */
  progressed = false;
  fault: StreamFault | undefined;
  /** What the upstream said last of the tokens; it stays unread here. */
  usage: Chunk["usage"];

  constructor(passage?: Passage) {
    this.passage = passage;
  }

  /** What ends an answer whose upstream finished it and did not say so. */
  ending(): Uint8Array {
    return encoder.encode((this.passage?.ending() ?? "") + doneEvent);
  }

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
    let text: string;
    let passed = "";
    let all = true;
    try {
      text = strict.decode(bytes);
    } catch {
      text = lenient.decode(bytes);
      all = false;
    }
    if (text.includes("\r") || text.includes("\ufeff")) {
      text = asUnderstood(text);
      all = false;
    }
    for (let at = 0; at < text.length && !this.done && this.fault === undefined; ) {
      const end = text.indexOf("\n\n", at);
      const next = end < 0 ? text.length : end + 2;
      this.#instead = undefined;
      const passes = this.#passes(text, at, end < 0 ? text.length : end);
      if (all && (!passes || this.#instead !== undefined)) {
        all = false;
        passed = text.slice(0, at);
      }
      // cut out of the text only once it is known that not all of it goes on
      if (!all && passes) passed += this.#instead ?? text.slice(at, next);
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
    if (payload.length === 0 || !this.#payload(payload.join("\n"), event)) return false;
    // JSON that was read holds a line's end only where a blank may stand
    this.#instead ??= `data: ${payload.join(" ")}\n\n`;
    return true;
  }

  #payload(payload: string, event: string | undefined): boolean {
    if (payload === "[DONE]") {
      // llama.cpp's Python server ends so what another request has cut short (docs/engines.md): a truncation that looks finished
      if (this.passage !== undefined && this.#answering && this.#finishes.size === 0) {
        this.fault = { kind: "malformed", why: "the stream said that it is done, and of no choice that it is finished" };
        return false;
      }
      this.done = true;
      this.finished = true;
      const ending = this.passage?.ending() ?? "";
      if (ending !== "") this.#instead = ending + doneEvent;
      return true;
    }
    if (event === undefined && this.#likeTheLast(payload)) {
      this.#malformed = false;
      return true;
    }
    const chunk = chunkOf(payload);
    if (event === "error" || Boolean(chunk?.error)) {
      this.fault = { kind: "error", text: payload, error: chunk?.error ?? chunk };
      return false;
    }
    if (chunk === undefined) {
      if (this.#malformed) this.fault = { kind: "malformed", why: "two events in a row are no JSON objects" };
      this.#malformed = true;
      this.dropped++;
      return false;
    }
    this.#malformed = false;
    if (gaveUp(chunk)) {
      this.fault = { kind: "malformed", why: "the engine gave the answer up" };
      return false;
    }
    this.began = true;
    if (chunk.usage) this.usage = chunk.usage;
    const ends = this.#finish(chunk);
    if (this.passage === undefined) {
      if (!ends) this.#remember(payload, undefined);
      return true;
    }
    return this.#through(this.passage, chunk, payload, ends);
  }

  /** Whether the chunk ends a choice. */
  #finish(chunk: Chunk): boolean {
    let ends = false;
    if (Array.isArray(chunk.choices)) {
      if (chunk.choices.length > 0) this.#answering = true;
      for (const choice of chunk.choices) {
        if (typeof choice?.finish_reason !== "string") continue;
        ends = true;
        this.#finishes.add(choice.index ?? 0);
      }
    }
    if (this.#finishes.size >= (this.passage?.choices ?? 1)) this.finished = true;
    return ends;
  }

  /** What a passage makes of a chunk. */
  #through(passage: Passage, chunk: Chunk, payload: string, ends: boolean): boolean {
    const passed = passage.pass(chunk);
    if (passage.diverged !== undefined) {
      this.fault = { kind: "diverged", why: passage.diverged };
      return false;
    }
    if (passage.over) {
      this.finished = true;
      this.done = true;
      this.#instead = eventsOf(passed) + passage.ending() + doneEvent;
      return true;
    }
    if (passed === chunk) {
      if (!ends && passage.alike) this.#remember(payload, undefined);
      return true;
    }
    if (!Array.isArray(passed) && !ends && passage.alike) this.#remember(payload, JSON.stringify(passed));
    this.#instead = eventsOf(passed);
    return this.#instead !== "";
  }

  #likeTheLast(payload: string): boolean {
    if (this.#like === undefined) return false;
    const { head, tail, end } = this.#like;
    if (payload.length < head.length + tail.length + end.length || !payload.startsWith(head)) return false;
    let idsTo = payload.length;
    let to = idsTo;
    if (end !== "") {
      if (!payload.endsWith(end)) return false;
      idsTo -= end.length;
      for (to = idsTo; isIdPart(payload.charCodeAt(to - 1)); ) to--;
      if (to === idsTo) return false;
    }
    const from = head.length;
    const textTo = to - tail.length;
    if (textTo < from || !payload.endsWith(tail, to)) return false;
    for (let at = from; at < textTo; at++) {
      const unit = payload.charCodeAt(at);
      if (unit < 0x20 || unit === 0x22 || unit === 0x5c) return false;
    }
    if (this.passage !== undefined) {
      const text = payload.slice(from, textTo);
      const ids = end === "" ? "" : payload.slice(to, idsTo);
      this.passage.again(text, ids);
      const instead = this.#likeInstead;
      if (instead !== undefined) this.#instead = `data: ${instead.head}${text}${instead.tail}${instead.end === "" ? "" : ids + instead.end}\n\n`;
    }
    return true;
  }

  /** @param passed what the client gets for it, when that is something else */
  #remember(payload: string, passed: string | undefined): void {
    const like = around(payload);
    this.#likeInstead = passed === undefined ? undefined : around(passed);
    this.#like = passed !== undefined && this.#likeInstead === undefined ? undefined : like;
  }
}

function around(payload: string): Around | undefined {
  const text = textIn(payload);
  if (text === undefined) return undefined;
  const ids = payload.indexOf(idsName, text.to);
  const from = ids < 0 ? payload.length : ids + idsName.length;
  return { head: payload.slice(0, text.from), tail: payload.slice(text.to, from), end: ids < 0 ? "" : payload.slice(payload.indexOf("]", from)) };
}

/** The object that an event's data is; undefined when it is none. */
function chunkOf(payload: string): Chunk | undefined {
  let value: unknown;
  try {
    value = JSON.parse(payload);
  } catch {
    return undefined;
  }
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Chunk) : undefined;
}

/** vLLM's own `finish_reason` when it is put to sleep or drained in the middle: not one of OpenAI's (facts/openai-wire.md §6). */
function gaveUp(chunk: Chunk): boolean {
  return Array.isArray(chunk.choices) && chunk.choices.some((choice) => choice?.finish_reason === "abort");
}

function isIdPart(unit: number): boolean {
  return (unit >= 0x30 && unit <= 0x39) || unit === 0x2c || unit === 0x20;
}

function eventsOf(chunks: Chunk | readonly Chunk[]): string {
  if (!Array.isArray(chunks)) return `data: ${JSON.stringify(chunks)}\n\n`;
  let events = "";
  for (const chunk of chunks) events += `data: ${JSON.stringify(chunk)}\n\n`;
  return events;
}

/** Where the first text of an event's JSON is; undefined when it holds what is written as an escape. */
function textIn(payload: string): { from: number; to: number } | undefined {
  const match = /"(?:content|text|reasoning_content|reasoning)": ?"/.exec(payload);
  if (match === null) return undefined;
  const from = match.index + match[0].length;
  for (let at = from; at < payload.length; at++) {
    const unit = payload.charCodeAt(at);
    // a backslash may escape what follows it
    if (unit === 0x5c) return undefined;
    if (unit === 0x22) return { from, to: at };
  }
  return undefined;
}
