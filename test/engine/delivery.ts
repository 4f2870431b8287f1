import type { ServerResponse } from "node:http";
import type { BreakKind, Failure } from "./failures.ts";
import { mix } from "./hash.ts";
import { Refusal } from "./refusal.ts";
import { aborted, pause } from "./timing.ts";

/** A response that ended before its time. */
export class Cut extends Error {
  readonly outcome: "aborted" | "failed";

  constructor(outcome: "aborted" | "failed", why: string) {
    super(why);
    this.outcome = outcome;
  }
}

/** What a response needs to fail as asked. */
export interface Door {
  response: ServerResponse;
  failure: Failure;
  /** Aborts when the client has gone. */
  signal: AbortSignal;
  /** Ends the process at once. */
  die: () => void;
  /** Makes the cuts of `split` the same for the same request number. */
  number: number;
}

const ERROR_BODY = new Refusal(500, "EngineCore encountered an issue. See stack trace (above) for the root cause.").body;
const GARBAGE = '{"id": "chatcmpl-, "choices" [{';

async function write(response: ServerResponse, bytes: Buffer): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    response.write(bytes, (error) => (error ? reject(error) : resolve()));
  });
}

async function end(response: ServerResponse, bytes?: Buffer): Promise<void> {
  await new Promise<void>((resolve) => {
    response.once("close", resolve);
    response.end(bytes, () => resolve());
  });
}

/** The breaks that leave nothing more to say. They never return. */
async function breakOff(door: Door, kind: "die" | "rst" | "stall"): Promise<never> {
  if (kind === "die") door.die();
  if (kind === "rst") {
    door.response.socket?.resetAndDestroy();
    throw new Cut("failed", "reset as asked");
  }
  await aborted(door.signal);
  throw new Cut("aborted", "the client left a stalled response");
}

/** Fails a request that is to fail before its headers; otherwise returns. @param body the request's body */
export async function failBeforeHeaders(door: Door, body: string): Promise<void> {
  const { failure, response } = door;
  if (failure.hang === true) await breakOff(door, "stall");
  if (failure.deadlyText !== undefined && body.includes(failure.deadlyText)) await breakOff(door, "die");
  if (failure.break?.afterTokens === 0 && (failure.break.kind === "die" || failure.break.kind === "rst")) await breakOff(door, failure.break.kind);
  if (failure.status !== undefined) {
    if (failure.status.retryAfter !== undefined) response.setHeader("retry-after", failure.status.retryAfter);
    throw new Refusal(failure.status.code, "The engine fails as asked.");
  }
  if (failure.errorBody === true) {
    response.writeHead(200, { "content-type": "application/json" });
    await end(response, Buffer.from(JSON.stringify(ERROR_BODY)));
    throw new Cut("failed", "an error body as asked");
  }
}

/** Sends a JSON answer, wrong in the way its failure asks for. `breaks` says that the token count of `failure.break` was reached. */
export async function sendWhole(door: Door, answer: object, breaks: boolean): Promise<void> {
  const { response, failure } = door;
  const kind = breaks ? failure.break?.kind : undefined;
  const bytes = Buffer.from(kind === "garbage" ? GARBAGE : JSON.stringify(answer));
  if (kind === "eof") {
    response.writeHead(200, { "content-type": "application/json", "transfer-encoding": "chunked" });
    await end(response, bytes.subarray(0, bytes.length >> 1));
    throw new Cut("failed", "half an answer as asked");
  }
  const error = failure.wrongLength === "short" ? -7 : failure.wrongLength === "long" ? 7 : 0;
  // Taken now: an ended response lets go of its socket.
  const { socket } = response;
  response.writeHead(200, { "content-type": "application/json", "content-length": bytes.length + error });
  await end(response, bytes);
  if (error === 0) return;
  socket?.destroySoon();
  throw new Cut("failed", "a wrong length as asked");
}

/** Breaks a whole answer off while it is generated; the kinds that only change the bytes do nothing here. */
export async function breakWhole(door: Door, kind: BreakKind): Promise<void> {
  if (kind === "die" || kind === "rst" || kind === "stall") await breakOff(door, kind);
  if (kind === "error") throw new Refusal(500, ERROR_BODY.error.message);
}

/** A stream of server-sent events that fails as asked. Frames go out in the order of the calls, each when the one before has left the process. */
export class Delivery {
  readonly #door: Door;
  readonly #delivered: () => void;
  #before: Promise<void> = Promise.resolve();
  #tokens = 0;
  #broken = false;
  #cuts = 0;

  /** @param delivered called for each frame with a token, when it has left the process */
  constructor(door: Door, delivered: () => void) {
    this.#door = door;
    this.#delivered = delivered;
  }

  /** Sends the headers, as vLLM does before the first token is there. */
  async open(): Promise<void> {
    this.#door.response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" });
    this.#door.response.flushHeaders();
    await this.#breakWhenDue();
  }

  /** Sends one frame, which delivers an output token or none. */
  async frame(event: object | undefined, tokens: 0 | 1): Promise<void> {
    this.#before = this.#inTurn(this.#before, event, tokens);
    await this.#before;
  }

  async #inTurn(before: Promise<void>, event: object | undefined, tokens: 0 | 1): Promise<void> {
    await before;
    if (event !== undefined) await this.#send(JSON.stringify(event));
    this.#tokens += tokens;
    if (tokens > 0) this.#delivered();
    await this.#breakWhenDue();
  }

  /** Ends the stream with `[DONE]`. */
  async close(): Promise<void> {
    if (this.#door.failure.noDone !== true) await this.#send("[DONE]");
    await end(this.#door.response);
  }

  /** Ends the stream with an error in it, and `[DONE]` as vLLM sends it even then. */
  async fail(error: object): Promise<void> {
    await this.#send(JSON.stringify(error));
    await this.close();
  }

  async #breakWhenDue(): Promise<void> {
    const due = this.#door.failure.break;
    if (due === undefined || this.#broken || this.#tokens < due.afterTokens) return;
    this.#broken = true;
    switch (due.kind) {
      case "garbage":
        await this.#send(GARBAGE);
        return;
      case "eof":
        await end(this.#door.response);
        throw new Cut("failed", "an early end as asked");
      case "error":
        await this.fail(ERROR_BODY);
        throw new Cut("failed", "an error as asked");
      default:
        await breakOff(this.#door, due.kind);
    }
  }

  async #send(event: string): Promise<void> {
    const { response, signal, failure, number } = this.#door;
    let bytes = Buffer.from(`data: ${event}\n\n`);
    while (failure.split === true && bytes.length > 0) {
      const length = 1 + (mix(number, this.#cuts++) % 24);
      await write(response, bytes.subarray(0, length));
      await pause(0, signal);
      bytes = bytes.subarray(length);
    }
    if (bytes.length > 0) await write(response, bytes);
  }
}
