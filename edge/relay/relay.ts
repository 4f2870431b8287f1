import { DurableObject } from "cloudflare:workers";
import { decodeFrames, encodeFrames, FrameError, frameKinds, jsonFrame, noPayload, readAttempt, type Frame, type ResetReason } from "../../schema/frames.ts";
import { closeCodes, linkTimes, ping, pong } from "../../schema/protocol.ts";
import { closeQuietly } from "../closeQuietly.ts";
import type { FleetEnv } from "../env.ts";
import { attemptHeader, carryOrigin, type CarriageFailure } from "../forward/outcome.ts";
import { CarriedStream, carriageFailure, type Carrier } from "./carried.ts";
import { Held } from "./held.ts";
import { StreamIds } from "./mux.ts";

/** What is known of an agent's socket; survives hibernation with it. */
interface Attached {
  epoch: number;
  /** Closed from here. Its state does not tell: one whose peer never answers the close wakes from hibernation as open. */
  over?: boolean;
}

function attachedTo(socket: WebSocket): Attached {
  return (socket.deserializeAttachment() as Attached | null) ?? { epoch: 0 };
}

/** Answers that broke off are remembered, the latest, until their routers have asked why: they do so at once. */
const brokenMax = 256;
/** A request's body up to this size is sent with its head: one data frame (agent/mux.ts), and well within the first credit. */
const smallBytesMax = 64 * 1024;
/** How often streams are looked at for silence, missing answers and clients that have gone; only while there are any. */
const tickMs = 250;

/** The streams whose answers begin, have a body and end within one message. */
function wholeAnswers(frames: readonly Frame[]): ReadonlySet<number> | undefined {
  let whole: Set<number> | undefined;
  if (frames.length < 3) return undefined;
  const begun = new Map<number, boolean>();
  for (const { kind, stream, payload } of frames) {
    if (kind === frameKinds.open) begun.set(stream, false);
    else if (kind === frameKinds.data && begun.has(stream) && payload.byteLength > 0) begun.set(stream, true);
    else if (kind === frameKinds.end && begun.get(stream) === true) (whole ??= new Set()).add(stream);
  }
  return whole;
}

/**
 * One per agent connection, named `<host>/<index>`: carries request streams, nothing else. It keeps no storage. Its agent's
 * socket hibernates; streams live in memory, which a request in flight holds.
 */
export class Relay extends DurableObject<FleetEnv> implements Carrier {
  readonly #streams = new Map<number, CarriedStream>();
  readonly #held = new Held();
  readonly #ids = new StreamIds(Math.random);
  #outgoing: Frame[] = [];
  /** The agent's socket, once it was looked for. */
  #socket: WebSocket | undefined;
  readonly #broken = new Map<string, CarriageFailure>();
  /** Sessions below this one are another run of the agent's: their tickets count no more. They live for a minute, so memory is enough. */
  #least = 0;
  #ticking: ReturnType<typeof setInterval> | null = null;

  constructor(ctx: DurableObjectState, env: FleetEnv) {
    super(ctx, env);
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(ping, pong));
  }

  /**
   * `http://link/`: an agent's data link, let through by the fleet Worker. `http://carry/<path>`: a request to carry, from the
   * router, with `x-fairlead-target`, `x-fairlead-request` and, where the answer is to be kept, `x-fairlead-attempt`.
   */
  override async fetch(request: Request): Promise<Response> {
    // of what every request passes, nothing is asked of the runtime that a text tells as well (docs/adr/0012)
    const { url } = request;
    return url.startsWith(`${carryOrigin}/`) ? this.#carry(request, url.slice(carryOrigin.length)) : this.#link(Number(new URL(url).searchParams.get("epoch")));
  }

  #link(epoch: number): Response {
    if (epoch < this.#least) return new Response(null, { status: 409 });
    const { 0: client, 1: server } = new WebSocketPair();
    for (const other of this.ctx.getWebSockets()) {
      if (attachedTo(other).epoch > epoch) return new Response(null, { status: 409 });
      this.#end(other, closeCodes.superseded, "a newer connection has taken over");
    }
    this.#loseAll("the agent connected anew");
    this.ctx.acceptWebSocket(server);
    server.serializeAttachment({ epoch } satisfies Attached);
    return new Response(null, { status: 101, webSocket: client });
  }

  /** @param path and query */
  async #carry(request: Request, path: string): Promise<Response> {
    const headers: [string, string][] = [];
    /** What is for this object, and not for the agent. */
    const ours = new Map<string, string>();
    let length = Number.NaN;
    request.headers.forEach((value, name) => {
      if (name.startsWith("x-fairlead-") || name === "upgrade") ours.set(name, value);
      else headers.push([name, value]);
      if (name === "content-length") length = Number(value);
    });
    const upgrade = ours.get("upgrade") === "websocket";
    const way = ours.get(attemptHeader);
    const attempt = way === undefined ? undefined : readAttempt(JSON.parse(way));
    // what has begun goes on
    if (this.#held.isFull && attempt?.from === undefined) return carriageFailure("overloaded", "this relay holds as much as it may");
    // what is here already goes with its head, in one message
    let whole: Uint8Array | undefined;
    if (length <= smallBytesMax && !upgrade) {
      try {
        whole = new Uint8Array(await request.arrayBuffer());
      } catch (error) {
        return carriageFailure("request_broken", `the request's body broke off: ${error instanceof Error ? error.message : String(error)}`);
      }
    } else if (request.body === null) whole = noPayload;
    if (this.#agent() === undefined) return carriageFailure("no_agent", "the agent is not connected to this relay");
    const requestId = ours.get("x-fairlead-request") ?? "";
    const stream = new CarriedStream(this.#ids.next(this.#streams), { request: requestId, gone: () => request.signal.aborted, carrier: this, now: Date.now(), kept: attempt !== undefined, goesOn: attempt?.from !== undefined });
    this.#streams.set(stream.id, stream);
    this.#held.opened();
    this.#ticking ??= setInterval(() => this.#tick(), tickMs);
    this.send(
      jsonFrame(frameKinds.open, stream.id, {
        target: ours.get("x-fairlead-target") ?? "",
        method: request.method,
        path,
        headers,
        requestId,
        ...(upgrade ? { upgrade } : {}),
        ...(attempt === undefined ? {} : { attempt }),
      }),
    );
    if (whole !== undefined && !upgrade) stream.sendWhole(whole);
    else if (!upgrade) void stream.sendBody(request.body);
    return stream.answered;
  }

  // ——— Carrier ———

  /** Frames of one turn of the event loop go out as one message. */
  send(frame: Frame): void {
    if (this.#outgoing.push(frame) === 1) queueMicrotask(() => this.#flush());
  }

  release(stream: number, reset?: ResetReason): void {
    this.#streams.delete(stream);
    if (reset !== undefined) this.send(jsonFrame(frameKinds.reset, stream, reset));
    if (this.#streams.size === 0) this.#held.unread(0);
  }

  sent(bytes: number): void {
    this.#held.sent(bytes);
  }

  settled(bytes: number): void {
    this.#held.settled(bytes);
  }

  brokeOff(request: string, code: CarriageFailure): void {
    this.#broken.delete(request);
    this.#broken.set(request, code);
    const oldest = this.#broken.size > brokenMax ? this.#broken.keys().next() : undefined;
    if (oldest?.done === false) this.#broken.delete(oldest.value);
  }

  /** Why a request's answer broke off, if it did so here of late: a broken body says nothing of its cause to who reads it. */
  whyBroken(request: string): CarriageFailure | undefined {
    return this.#broken.get(request);
  }

  /** Whether its agent is connected: asked by a router that waits for a sign of life of either. */
  isLinked(): boolean {
    return this.#agent() !== undefined;
  }

  #flush(): void {
    const frames = this.#outgoing;
    this.#outgoing = [];
    try {
      this.#agent()?.send(encodeFrames(frames));
    } catch {
      // the socket is closing: its close event resets the streams
    }
  }

  #agent(): WebSocket | undefined {
    if (this.#socket?.readyState !== WebSocket.OPEN) this.#socket = this.ctx.getWebSockets().find((socket) => socket.readyState === WebSocket.OPEN && attachedTo(socket).over !== true);
    return this.#socket;
  }

  #end(socket: WebSocket, code: number, reason: string): void {
    socket.serializeAttachment({ ...attachedTo(socket), over: true } satisfies Attached);
    if (this.#socket === socket) this.#socket = undefined;
    closeQuietly(socket, code, reason);
  }

  #tick(): void {
    if (this.#streams.size === 0) {
      clearInterval(this.#ticking);
      this.#ticking = null;
      return;
    }
    const now = Date.now();
    let unreadBytes = 0;
    for (const stream of this.#streams.values()) {
      stream.tick(now, linkTimes.dispatchAckMs);
      unreadBytes += stream.unreadBytes;
    }
    this.#held.unread(unreadBytes);
  }

  // ——— the agent's socket ———

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    // one that was superseded has no say; its frames could name the streams of the one that took over
    if (socket !== this.#agent() && attachedTo(socket).over === true) return;
    if (typeof message === "string") return closeQuietly(socket, closeCodes.policy, "text on a data link");
    let frames: Frame[];
    try {
      frames = decodeFrames(message);
    } catch {
      return closeQuietly(socket, closeCodes.policy, "malformed frames");
    }
    const now = Date.now();
    const whole = wholeAnswers(frames);
    for (const frame of frames) {
      const stream = this.#streams.get(frame.stream);
      // late frames of a stream that is over
      if (stream === undefined) continue;
      try {
        stream.receive(frame, now, whole?.has(frame.stream));
      } catch (error) {
        stream.fail("protocol", error instanceof FrameError ? error.message : "a frame could not be taken in");
      }
    }
  }

  override async webSocketClose(socket: WebSocket, code: number): Promise<void> {
    this.#end(socket, code, "");
    if (this.#agent() === undefined) this.#loseAll("the agent's connection was lost");
  }

  override async webSocketError(socket: WebSocket): Promise<void> {
    await this.webSocketClose(socket, 1011);
  }

  /** Another run of the agent has taken over by this session: what came before it is closed, and does not come again. */
  async fence(epoch: number): Promise<void> {
    this.#least = Math.max(this.#least, epoch);
    const stale = this.ctx.getWebSockets().filter((socket) => attachedTo(socket).epoch < epoch);
    for (const socket of stale) this.#end(socket, closeCodes.superseded, "a newer connection has taken over");
    if (stale.length > 0 && this.#agent() === undefined) this.#loseAll("another run of the agent took over");
  }

  /** A revoked host's link: closed at once. */
  async drop(): Promise<void> {
    for (const socket of this.ctx.getWebSockets()) this.#end(socket, closeCodes.unauthorized, "the host is revoked");
    this.#loseAll("the host is revoked");
  }

  #loseAll(why: string): void {
    for (const stream of this.#streams.values()) stream.lose(why);
  }
}
