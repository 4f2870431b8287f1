import { FairleadError } from "../../schema/errors.ts";
import { upstreamError } from "../provider/provider.ts";
import type { Run } from "./hedge.ts";
import { statusOf, type Failure, type Outcome, type Reply, type Waiting } from "./outcome.ts";
import { lookAfter, readOn, type Reading } from "./reading.ts";
import { retryAfterMs } from "./retryAfter.ts";
import { isEventStream } from "./silence.ts";
import { quietMs } from "./vigil.ts";
import { Watch } from "./watch.ts";

/**
 * An answer up to this size is read whole before it goes on: what is in it decides whether it is one, and one that breaks off is
 * asked for elsewhere. A larger one is handed through as it comes: a thousand embeddings are as much as this, and an isolate has
 * 128 MB for all its requests (facts/cloudflare.md §1).
 */
const wholeBytesMax = 8 * 1024 * 1024;
/** Of an error's text so much is looked at. */
const errorBytesMax = 64 * 1024;

/** An event stream that has begun: read up to its first event. */
export interface Begun extends Reading {
  watch: Watch;
  /** What has been read of it and may go to the client. */
  first: Uint8Array;
}

/** An answer that is here: an object as its text, which costs less than its bytes do (docs/adr/0012), anything else as its bytes. */
export type Whole = string | Uint8Array;

export interface Answer {
  response: Response;
  /** The first body that is set is the answer's; `native` otherwise. */
  events?: Begun;
  whole?: Whole;
  native?: ReadableStream<Uint8Array> | null;
  /** What has been read of `native`. */
  begun?: Uint8Array;
  /** Its `content-type`, where it was asked for already: a header is paid for as often as it is asked for (docs/adr/0012). */
  type?: string | null;
  /** End the attempt that gives it. */
  abandon: () => void;
}

/** The client's side of a request: when it goes, all attempts end. */
export class Client {
  #gone = false;
  #attempts: (() => void)[] = [];

  get gone(): boolean {
    return this.#gone;
  }

  /** The client has gone away. */
  leave(): void {
    this.#gone = true;
    for (const end of this.#attempts) end();
  }

  waitsFor(end: () => void): void {
    this.#attempts.push(end);
  }
}

export interface AttemptOptions {
  client: Client;
  /** Until the first byte of the answer, ms. */
  limitMs: number;
  /** The answer is OpenAI's: what is in it decides what it is. Else its status alone does. */
  inference: boolean;
  stream: boolean;
  /** What looks at its events; made when it answers with some. */
  watch?: (() => Watch) | undefined;
  /**
   * Nothing follows it, and it is not streamed: when it is given up its request is over, and the platform ends what a request left. It
   * gets no signal then: one costs an answer some hundredths of all it costs.
   */
  last?: boolean;
}

/** One attempt with an end to its waiting for the first byte. */
export function attempt({ client, limitMs, inference, stream, watch, last = false }: AttemptOptions, send: (signal: AbortSignal | undefined, waiting: Waiting) => Promise<Reply>): Run<Outcome<Answer>> {
  const waiting: Waiting & Arriving = {};
  const controller = last ? undefined : new AbortController();
  const { promise: result, resolve } = Promise.withResolvers<Outcome<Answer>>();
  let over = false;
  const end = (failure: Failure): void => {
    over = true;
    resolve(failure);
    controller?.abort();
  };
  const abandon = (): void => end({ kind: "abandoned" });
  client.waitsFor(abandon);
  let timer: ReturnType<typeof setTimeout>;
  let beganAt: number | undefined;
  const wait = (ms: number): void => {
    timer = setTimeout(() => {
      if (over) return;
      // the clock is not looked at before the first turn
      const now = Date.now();
      beganAt ??= now - ms;
      const leftMs = limitMs - (now - beganAt);
      if (leftMs <= 0) return end({ kind: "timeout", why: `no answer within ${limitMs} ms` });
      const { look, reading, reply } = waiting;
      if (reading !== undefined) return wait(Math.min(leftMs, lookAfter(reading) ?? quietMs.beginning));
      const seen = look?.(reply === undefined ? undefined : 0) ?? leftMs;
      if (seen !== "silent") return wait(Math.min(leftMs, Math.max(1, seen)));
      // its head has come, and what is to follow does not
      delete waiting.look;
      wait(leftMs);
      if (reply !== undefined) void (waiting.again = again(reply)).then((outcome) => outcome !== undefined && settle(outcome));
    }, ms);
  };
  wait(Math.min(limitMs, quietMs.beginning));
  let settled: Outcome<Answer> | undefined;
  const settle = (outcome: Outcome<Answer>): void => {
    // another carrier's answer ends both waits, for it and for the first one's
    if (outcome === settled) return;
    // where it is the last, its timer ends with its request
    if (!last) clearTimeout(timer);
    // it came too late for anybody
    if (over && outcome.kind === "answer") discard(outcome.answer);
    else settled = outcome;
    over = true;
    resolve(outcome);
  };
  const work = async (): Promise<void> => {
    try {
      const reply = await send(controller?.signal, waiting);
      if (reply.kind !== "answer") return settle(reply);
      waiting.reply = reply;
      settle(await (inference ? read(reply, { stream, abandon, watch, waiting }) : byStatus(reply.response, abandon)));
    } catch (error) {
      settle({ kind: "lost", why: error instanceof Error ? error.message : String(error) });
    }
  };
  /** An answer that is read whole, by another carrier; undefined where none has it. */
  const again = async ({ response, reattach }: Answering): Promise<Outcome<Answer> | undefined> => {
    try {
      const body = await reattach?.(0);
      return body === undefined ? undefined : await wholeOf(response, body, abandon);
    } catch {
      return undefined;
    }
  };
  void work();
  return { result, abandon, noted: waiting };
}

type Answering = Extract<Reply, { kind: "answer" }>;

/** What of an answer is there. */
interface Arriving {
  reply?: Answering;
  /** Of a stream. */
  reading?: Reading;
  /** Another carrier is asked for all of it. */
  again?: Promise<Outcome<Answer> | undefined>;
}

/** Throw an answer away; its connection is free again (facts/cloudflare.md: six at once). */
export function discard({ response, events }: Answer): void {
  (events === undefined ? response.body?.cancel() : events.reader.cancel())?.catch(() => undefined);
}

/** @param said the status that a 200 with an error in it stands for */
function failureOf(status: number, text: string | undefined, headers: Headers, said = status): Failure {
  const waitMs = status === 429 || said === 429 || status >= 500 ? retryAfterMs(headers, Date.now()) : undefined;
  const { outcome, error } = upstreamError(status, text, { retryAfterMs: waitMs });
  switch (outcome) {
    case "throttled":
      return { kind: "throttled", retryAfterMs: waitMs, error };
    case "unable":
      // one that says when to come back is at its limit, whatever its status
      return waitMs !== undefined && status >= 500 ? { kind: "throttled", retryAfterMs: waitMs, error } : { kind: "unable", status: said, error };
    case "credential":
      return { kind: "credential", status: said, error };
    case "caller":
    case "context_length":
    case "content_filter":
      return { kind: outcome, error };
  }
}

/**
 * What a service that is no LLM says where it cannot serve now (RFC 9110 §15.6). Any other status is its application's own word, which
 * callers know the meaning of: its 429 speaks of one of them, and must not keep the others out.
 */
const busy: ReadonlySet<number> = new Set([502, 503, 504]);

/** For services that are no LLM: the status says all. */
async function byStatus(response: Response, abandon: () => void): Promise<Outcome<Answer>> {
  const { status, headers } = response;
  if (!busy.has(status)) return { kind: "answer", answer: { response, native: response.body, abandon } };
  response.body?.cancel().catch(() => undefined);
  return { kind: "unable", status, error: new FairleadError("provider_error", `Cannot serve the request: the service answered with status ${status}`, { retryAfterMs: retryAfterMs(headers, Date.now()) ?? 1_000 }) };
}

interface ReadOptions extends Pick<AttemptOptions, "stream" | "watch"> {
  abandon: () => void;
  waiting: Waiting & Arriving;
}

async function read({ response, reattach }: Answering, { stream, abandon, watch, waiting }: ReadOptions): Promise<Outcome<Answer>> {
  const { status, headers } = response;
  if (status < 200 || status > 299) return failureOf(status < 400 ? 502 : status, await errorText(response), headers);
  const type = headers.get("content-type");
  if (stream && response.body !== null && isEventStream(type)) {
    const reading: Begun = { reader: response.body.getReader(), receivedBytes: 0, reattach, reattached: 0, look: waiting.look, watch: watch?.() ?? new Watch(), first: none };
    waiting.reading = reading;
    return begin(response, reading, abandon);
  }
  const length = Number(headers.get("content-length") ?? Number.NaN);
  if (length > wholeBytesMax) return { kind: "answer", answer: { response, native: response.body, abandon } };
  let whole: Whole;
  let json: boolean;
  try {
    if (Number.isNaN(length)) return await wholeOf(response, response.body, abandon);
    json = isJson(type);
    whole = json ? await response.text() : textIn(await response.bytes());
  } catch (error) {
    // its carrier is lost: once more from its first byte, where another one has it
    const elsewhere = await waiting.again;
    if (elsewhere !== undefined) return elsewhere;
    const again = await reattach?.(0);
    if (again === undefined) throw error;
    return wholeOf(response, again, abandon);
  }
  return failureIn(whole, headers, json) ?? { kind: "answer", answer: { response, whole, abandon, type } };
}

/** An answer that is no stream, by its body. */
async function wholeOf(response: Response, body: ReadableStream<Uint8Array> | null, abandon: () => void): Promise<Outcome<Answer>> {
  const { bytes, rest } = await head(body, wholeBytesMax);
  if (rest !== undefined) return { kind: "answer", answer: { response, native: rest, begun: bytes, abandon } };
  const type = response.headers.get("content-type");
  const json = isJson(type);
  const whole = json ? decoder.decode(bytes) : textIn(bytes);
  return failureIn(whole, response.headers, json) ?? { kind: "answer", answer: { response, whole, abandon, type } };
}

/** An error's text, as much as is worth reading; undefined when it cannot be read. */
async function errorText({ body }: Response): Promise<string | undefined> {
  try {
    const { bytes, rest } = await head(body as ReadableStream<Uint8Array> | null, errorBytesMax);
    rest?.cancel().catch(() => undefined);
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

/** A body's beginning; `rest` when there is more of it. */
async function head(body: ReadableStream<Uint8Array> | null, bytesMax: number): Promise<{ bytes: Uint8Array; rest: ReadableStream<Uint8Array> | undefined }> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  let rest: ReadableStream<Uint8Array> | undefined;
  if (body !== null) {
    const reader = body.getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      chunks.push(part.value);
      size += part.value.byteLength;
      if (size > bytesMax) {
        rest = body;
        break;
      }
    }
    reader.releaseLock();
  }
  const [only] = chunks;
  if (only !== undefined && chunks.length === 1) return { bytes: only, rest };
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return { bytes, rest };
}

const decoder = new TextDecoder();
const none = new Uint8Array(0);

const errorFirst = /^\s*\{\s*"(error"|object"\s*:\s*"error")/;

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The text of bytes that begin as an object does, whatever their sender called them; the bytes where they are none. */
function textIn(bytes: Uint8Array): Whole {
  if (bytes[bytes.findIndex((byte) => byte > 0x20)] !== 0x7b) return bytes;
  try {
    return strict.decode(bytes);
  } catch {
    return bytes;
  }
}

/** What a 200 is that holds an error, or only a part of an answer; undefined for an answer. @param json it was sent as JSON */
function failureIn(whole: Whole, headers: Headers, json: boolean): Failure | undefined {
  if (typeof whole !== "string") return undefined;
  if (json && !endsObject(whole)) return { kind: "lost", why: "the answer ended before it was whole" };
  if (!errorFirst.test(whole)) return undefined;
  let body: Record<string, unknown>;
  try {
    body = JSON.parse(whole) as Record<string, unknown>;
  } catch {
    return { kind: "lost", why: "the answer is no JSON" };
  }
  const error = body["object"] === "error" ? body : body["error"];
  return error === null || error === undefined || error === false ? undefined : failureOf(200, whole, headers, statusOf(error));
}

function endsObject(text: string): boolean {
  let last = text.length - 1;
  while (last >= 0 && text.charCodeAt(last) <= 0x20) last--;
  return text.charCodeAt(last) === 0x7d;
}

function isJson(type: string | null): boolean {
  return type?.toLowerCase().startsWith("application/json") ?? false;
}

/** Read a stream up to its first event: until then it may still be asked for elsewhere. */
async function begin(response: Response, events: Begun, abandon: () => void): Promise<Outcome<Answer>> {
  const { watch } = events;
  for (let part = await readOn(events); !part?.done; part = await readOn(events)) {
    if (part === undefined) return { kind: "lost", why: "the stream broke off before it began" };
    events.first = watch.push(part.value);
    // what came with the first event may hold the fault already: that is for whoever goes on with the stream
    if (watch.began) return { kind: "answer", answer: { response, events, abandon } };
    if (watch.fault === undefined && !watch.done) continue;
    events.reader.cancel().catch(() => undefined);
    if (watch.fault?.kind === "diverged") return { kind: "abandoned" };
    if (watch.fault?.kind === "error") return failureOf(200, watch.fault.text, response.headers, statusOf(watch.fault.error));
    return { kind: "lost", why: watch.fault?.why ?? "the stream was over before it began" };
  }
  return { kind: "lost", why: "the stream ended before it began" };
}
