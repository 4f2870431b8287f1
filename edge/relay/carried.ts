import { FairleadError } from "../../schema/errors.ts";
import { frameKinds, jsonFrame, noPayload, readClose, readReset, readResponseHead, readWindow, windowBytes, windowFrame, type CloseReason, type Frame, type ResetReason, type ResponseHead } from "../../schema/frames.ts";
import { closeQuietly } from "../closeQuietly.ts";
import { inferenceAnswerHeaders } from "../forward/headers.ts";
import { carriageHeader, type CarriageFailure } from "../forward/outcome.ts";
import { comment, errorEvent, EventBoundary, isEventStream, silenceMs } from "../forward/silence.ts";
import { ReceiveCredit, SendCredit } from "./mux.ts";

/** What a stream needs of its Relay. */
export interface Carrier {
  send(frame: Frame): void;
  /** Forget the stream; with a reason, tell the agent. */
  release(stream: number, reset?: ResetReason): void;
  /** A request's answer broke off after its head. */
  brokeOff(request: string, code: CarriageFailure): void;
  /** Of a request that the agent has not acknowledged, so much more has been sent. */
  sent(bytes: number): void;
  /** The agent has acknowledged it, or is not to have it any more. @param bytes that were sent of it until then */
  settled(bytes: number): void;
}

/** The longest message of a client's that its service's credit is sure to have room for: what it begins with, but for a grant that is not due yet. */
const messageBytesMax = (windowBytes / 4) * 7;
/** What waits of a client's messages for room at its service, at most. */
const waitingBytesMax = 1024 * 1024;

interface Message {
  kind: typeof frameKinds.data | typeof frameKinds.text;
  bytes: Uint8Array;
}

/** The answer to the router when a request could not be carried: seen by `attempt.ts`, never by a client. */
export function carriageFailure(code: CarriageFailure, message: string): Response {
  return new Response(null, { status: 502, headers: { [carriageHeader]: code, "x-fairlead-reason": message.replaceAll(/[^ -~]/g, "?").slice(0, 200) } });
}

export interface CarriedOptions {
  /** The request's id. */
  request: string;
  /** Whether its client has gone. Asked on the Relay's clock, for to be told of it every request would pay (docs/adr/0012). */
  gone: () => boolean;
  carrier: Carrier;
  /** ms since the epoch. */
  now: number;
  /** The agent keeps its answer. */
  kept: boolean;
  /** It asks for the rest of an answer. */
  goesOn: boolean;
}

/** The bytes of a few parts in a row; a single one as it is, for each buffer is paid for (docs/adr/0012). */
function joined(parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts;
  if (only !== undefined && parts.length === 1) return only;
  const bytes = new Uint8Array(parts.reduce((sum, { byteLength }) => sum + byteLength, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.byteLength;
  }
  return bytes;
}

/** @param kept of an answer that is kept, which is one of inference */
function headersOf(pairs: ResponseHead["headers"], kept: boolean): Headers {
  const headers = new Headers();
  for (const [name, value] of pairs) {
    const known = name.toLowerCase();
    try {
      if (kept ? inferenceAnswerHeaders.has(known) : !known.startsWith("x-fairlead-")) headers.append(name, value);
    } catch {
      // a header that the Fetch standard refuses: dropped, as a browser would
    }
  }
  return headers;
}

/** Statuses that have no body by their nature. */
const bodiless = new Set([101, 204, 205, 304]);

/**
 * One request on its way through a Relay: its body to the agent, the answer back.
 *
 * An answer that is `kept` is the agent's bytes and nothing else, so that whoever reads it knows how far it came: silence is left
 * silent, and a loss is an error once all that came has been read.
 */
export class CarriedStream {
  readonly id: number;
  readonly #request: string;
  readonly #carrier: Carrier;
  readonly #receive = new ReceiveCredit();
  readonly #send = new SendCredit();
  #sent = 0;
  #answer: (response: Response) => void = () => undefined;
  readonly answered: Promise<Response>;
  #head = false;
  #over = false;
  /** The agent has said something: the request has arrived. */
  #arrived = false;
  /** Of what was sent, what nobody knows to have arrived; undefined once that is settled. */
  #unacknowledgedBytes: number | undefined = 0;
  readonly #openedAt: number;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #wantPull: (() => void) | undefined;
  #gathered: { head: ResponseHead; parts: Uint8Array[] } | undefined;
  readonly #gone: () => boolean;
  readonly #kept: boolean;
  readonly #goesOn: boolean;
  /** Why a kept answer breaks off when all that came of it has been read. */
  #broken: Error | undefined;
  #events = false;
  readonly #boundary = new EventBoundary();
  #lastSentAt = 0;
  #creditWaiter: (() => void) | undefined;
  #socket: WebSocket | undefined;
  /** Messages of the client's that wait for room: it cannot be told to be slower. */
  #waiting: Message[] = [];
  #waitingBytes = 0;
  /** How the client closed its side, behind what waits. */
  #closed: CloseReason | undefined;

  constructor(id: number, { request, gone, carrier, now, kept, goesOn }: CarriedOptions) {
    this.id = id;
    this.#request = request;
    this.#gone = gone;
    this.#carrier = carrier;
    this.#kept = kept;
    this.#goesOn = goesOn;
    this.#openedAt = now;
    this.answered = new Promise((resolve) => {
      this.#answer = resolve;
    });
  }

  // ——— to the agent ———

  /** Send a body that is here already, and fits the credit that every stream begins with. */
  sendWhole(body: Uint8Array): void {
    if (body.byteLength > 0) this.#body(frameKinds.data, body);
    this.#carrier.send({ kind: frameKinds.end, stream: this.id, sequence: 0, payload: noPayload });
  }

  /** Send the request's body, as far as credit goes; a stream is read only as fast as the agent takes it. */
  async sendBody(body: ReadableStream<Uint8Array> | null): Promise<void> {
    if (body !== null) {
      const reader = body.getReader();
      try {
        for (let read = await reader.read(); !read.done && !this.#over; read = await reader.read()) {
          for (let at = 0; at < read.value.byteLength; ) {
            while (this.#send.left <= 0 && !this.#over) await new Promise<void>((resolve) => (this.#creditWaiter = resolve));
            if (this.#over) break;
            const part = read.value.subarray(at, at + Math.min(this.#send.left, 64 * 1024));
            this.#body(frameKinds.data, part);
            at += part.byteLength;
          }
        }
      } catch (error) {
        return this.fail("request_broken", `the request's body broke off: ${error instanceof Error ? error.message : String(error)}`);
      } finally {
        if (this.#over) reader.cancel().catch(() => undefined);
      }
    }
    if (!this.#over) this.#carrier.send({ kind: frameKinds.end, stream: this.id, sequence: 0, payload: noPayload });
  }

  #settle(): void {
    if (this.#unacknowledgedBytes === undefined) return;
    this.#carrier.settled(this.#unacknowledgedBytes);
    this.#unacknowledgedBytes = undefined;
  }

  #body(kind: typeof frameKinds.data | typeof frameKinds.text, payload: Uint8Array): void {
    this.#send.spend(payload.byteLength);
    if (this.#unacknowledgedBytes !== undefined) {
      this.#unacknowledgedBytes += payload.byteLength;
      this.#carrier.sent(payload.byteLength);
    }
    this.#carrier.send({ kind, stream: this.id, sequence: this.#sent++ >>> 0, payload });
  }

  // ——— from the agent ———

  /**
   * @param whole the message that this frame came in holds all of the answer
   * @throws FrameError when the agent does not keep the protocol
   */
  receive(frame: Frame, now: number, whole = false): void {
    this.#arrived = true;
    this.#settle();
    if (whole && this.#gather(frame)) return;
    switch (frame.kind) {
      case frameKinds.open:
        return this.#open(readResponseHead(frame), now);
      case frameKinds.data:
      case frameKinds.text:
        this.#receive.take(frame);
        return this.#socket === undefined ? this.#data(frame.payload, now) : this.#message(frame);
      case frameKinds.end:
        return this.#end(frame);
      case frameKinds.reset: {
        const { code, message } = readReset(frame);
        return this.fail(code, message, false);
      }
      case frameKinds.window:
        this.#send.grant(readWindow(frame));
        this.#creditWaiter?.();
        this.#sendWaiting();
    }
  }

  /** An answer that has come whole is given whole: a stream for it would cost more than everything else does. True: the frame was taken. */
  #gather(frame: Frame): boolean {
    if (frame.kind === frameKinds.open) {
      const head = readResponseHead(frame);
      if (this.#head || head.status === 101 || bodiless.has(head.status)) return false;
      this.#head = true;
      this.#gathered = { head, parts: [] };
      return true;
    }
    if (this.#gathered === undefined) return false;
    const { head: { status, headers: pairs }, parts } = this.#gathered;
    if (frame.kind === frameKinds.data) {
      this.#receive.take(frame);
      parts.push(frame.payload);
      return true;
    }
    if (frame.kind !== frameKinds.end) return false;
    const headers = headersOf(pairs, this.#kept);
    this.#answer(new Response(joined(parts), { status, headers, encodeBody: headers.has("content-encoding") ? "manual" : "automatic" }));
    this.#release();
    return true;
  }

  #open({ status, headers: pairs, protocol }: ResponseHead, now: number): void {
    if (this.#head) return;
    this.#head = true;
    const headers = headersOf(pairs, this.#kept);
    if (status === 101) return this.#openSocket(headers, protocol);
    // into what is packed nothing can be put
    this.#events = !this.#kept && isEventStream(headers.get("content-type")) && !headers.has("content-encoding");
    this.#lastSentAt = now;
    if (bodiless.has(status)) {
      this.#answer(new Response(null, { status, headers }));
      return;
    }
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        // While there is credit in plenty it is held open, so that the stream machinery calls it once and not once a chunk; when
        // credit is low it must come at every read, for each may make the room that is granted.
        pull: () => {
          if (this.#broken !== undefined) return this.#breakWhenRead();
          this.#grant();
          if (this.#receive.outstanding < windowBytes / 2) return undefined;
          return new Promise<void>((resolve) => {
            this.#wantPull = resolve;
          });
        },
        cancel: () => this.#release({ code: "cancelled", message: "the client has gone" }),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: windowBytes }),
    );
    this.#answer(new Response(body, { status, headers, encodeBody: headers.has("content-encoding") ? "manual" : "automatic" }));
  }

  #data(payload: Uint8Array, now: number): void {
    const controller = this.#controller;
    if (controller === undefined || this.#over || payload.byteLength === 0) return;
    controller.enqueue(payload);
    this.#lastSentAt = now;
    if (this.#events) this.#boundary.push(payload);
    this.#grant();
    if (this.#receive.outstanding < windowBytes / 2) this.#wantPull?.();
  }

  /** Give the agent credit for what the client's side has taken. */
  #grant(): void {
    if (this.#controller === undefined || this.#over) return;
    const queued = windowBytes - (this.#controller.desiredSize ?? windowBytes);
    const bytes = this.#receive.due(queued);
    if (bytes === 0) return;
    this.#receive.grant(bytes);
    this.#carrier.send(windowFrame(this.id, bytes));
  }

  #end(frame: Frame): void {
    if (this.#over) return;
    if (this.#socket !== undefined) {
      const { code, reason } = readClose(frame);
      closeQuietly(this.#socket, code, reason);
    } else if (!this.#head) {
      return this.fail("protocol", "the answer ended before it began");
    } else {
      this.#controller?.close();
    }
    this.#release();
  }

  // ——— WebSockets of services ———

  #openSocket(headers: Headers, protocol: string | undefined): void {
    const { 0: client, 1: server } = new WebSocketPair();
    server.accept();
    server.binaryType = "arraybuffer";
    server.addEventListener("message", ({ data }) => {
      if (this.#over) return;
      const bytes = typeof data === "string" ? new TextEncoder().encode(data) : new Uint8Array(data as ArrayBuffer);
      if (bytes.byteLength > messageBytesMax) return this.fail("too_large", "the message is too large to be carried");
      if (this.#waitingBytes + bytes.byteLength > waitingBytesMax) return this.fail("too_large", "the client sends faster than the service reads");
      this.#waiting.push({ kind: typeof data === "string" ? frameKinds.text : frameKinds.data, bytes });
      this.#waitingBytes += bytes.byteLength;
      this.#sendWaiting();
    });
    server.addEventListener("close", ({ code, reason }) => {
      closeQuietly(server, code, reason);
      this.#closed = { code, reason };
      this.#sendWaiting();
    });
    this.#socket = server;
    if (protocol !== undefined) headers.set("sec-websocket-protocol", protocol);
    this.#answer(new Response(null, { status: 101, webSocket: client, headers }));
  }

  #sendWaiting(): void {
    if (this.#over) return;
    let sent = 0;
    for (const { kind, bytes } of this.#waiting) {
      if (this.#send.left < bytes.byteLength) break;
      this.#body(kind, bytes);
      this.#waitingBytes -= bytes.byteLength;
      sent++;
    }
    if (sent > 0) this.#waiting.splice(0, sent);
    if (this.#closed === undefined || this.#waiting.length > 0) return;
    this.#carrier.send(jsonFrame(frameKinds.end, this.id, this.#closed));
    this.#release();
  }

  #message({ kind, payload }: Frame): void {
    if (this.#closed === undefined) this.#socket?.send(kind === frameKinds.text ? new TextDecoder().decode(payload) : payload.slice());
    const bytes = this.#receive.due(0);
    if (bytes === 0) return;
    this.#receive.grant(bytes);
    this.#carrier.send(windowFrame(this.id, bytes));
  }

  // ——— ends ———

  /** Cut the stream; `tell` says whether the agent has to be told. */
  fail(code: Exclude<CarriageFailure, "overloaded">, message: string, tell = true): void {
    if (this.#over) return;
    const reset: ResetReason | undefined = tell && code !== "no_agent" && code !== "carrier_lost" ? { code: code === "no_ack" || code === "request_broken" ? "cancelled" : code, message } : undefined;
    if (!this.#head || this.#gathered !== undefined) {
      this.#answer(carriageFailure(code, message));
      // an answer that began on another carrier and broke off there is asked for here; that it is not kept says nothing of why it broke off
      if (this.#goesOn && code === "upstream_lost") this.#carrier.brokeOff(this.#request, code);
    } else if (this.#socket !== undefined) {
      if (code === "too_large") closeQuietly(this.#socket, 1009, message);
      else closeQuietly(this.#socket, 1011, "the service was lost");
    }
    else {
      this.#carrier.brokeOff(this.#request, code);
      this.#breakOff(message);
    }
    this.#release(reset);
  }

  /** The agent's link is lost, which is no word against the replica; where its answer is kept, another link may go on with it. */
  lose(why: string): void {
    this.fail("carrier_lost", why, false);
  }

  #breakWhenRead(): void {
    if (this.#controller?.desiredSize === windowBytes) this.#controller.error(this.#broken);
  }

  /** An answer that cannot go on: a stream of events says so in one typed event; any other body ends with an error, not an EOF. */
  #breakOff(message: string): void {
    const controller = this.#controller;
    if (controller === undefined) return;
    const error = new Error(`the answer broke off: ${message}`);
    try {
      if (this.#kept) {
        this.#broken = error;
        return this.#breakWhenRead();
      }
      if (!this.#events) return controller.error(error);
      if (!this.#boundary.reached) controller.enqueue(new TextEncoder().encode("\n\n"));
      controller.enqueue(errorEvent(new FairleadError("provider_unreachable", "Cannot go on with the answer: the upstream was lost")));
      controller.close();
    } catch {
      // the client had gone already
    }
  }

  #cancel(): void {
    if (!this.#head) this.#answer(carriageFailure("cancelled", "the client has gone"));
    this.#release({ code: "cancelled", message: "the client has gone" });
  }

  #release(reset?: ResetReason): void {
    if (this.#over) return;
    this.#over = true;
    this.#creditWaiter?.();
    this.#wantPull?.();
    this.#settle();
    this.#carrier.release(this.id, reset);
  }

  // ——— on the Relay's clock ———

  /** What has come of its answer, or of a client's messages, and nobody has read. */
  get unreadBytes(): number {
    return windowBytes - (this.#controller?.desiredSize ?? windowBytes) + this.#waitingBytes;
  }

  /** What time brings: a client that has gone, a missing first sign of the agent, a comment into a silent stream. */
  tick(now: number, ackMs: number): void {
    if (this.#gone()) return this.#cancel();
    if (!this.#arrived && now - this.#openedAt > ackMs) return this.fail("no_ack", `the agent said nothing for ${now - this.#openedAt} ms`);
    if (!this.#events || !this.#boundary.reached || this.#over || this.#controller === undefined) return;
    if (now - this.#lastSentAt < silenceMs || (this.#controller.desiredSize ?? 0) <= 0) return;
    this.#controller.enqueue(comment);
    this.#lastSentAt = now;
  }
}
