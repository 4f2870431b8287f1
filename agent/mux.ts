import {
  decodeFrames, encodeFrames, FrameError, frameKinds, jsonFrame, noPayload, payloadBytesMax, readClose, readRequestHead, readReset, readWindow, windowBytes, windowFrame,
  type CloseReason, type Frame, type RequestHead, type ResetReason, type ResponseHead,
} from "../schema/frames.ts";

/** What a message from the Relay says, frame by frame. */
export type Received =
  | { type: "open"; stream: number; head: RequestHead }
  | { type: "data" | "text"; stream: number; payload: Uint8Array }
  | { type: "end"; stream: number; close: CloseReason }
  /** The stream is over, by the Relay's wish or for a breach of the protocol: what answers it is to be cancelled. */
  | { type: "reset"; stream: number; reason: ResetReason };

/** Messages to send now, and the streams whose sender may go on. */
export interface Flushed {
  messages: Uint8Array<ArrayBuffer>[];
  drained: number[];
}

/** The streams of one data link: credit, sequence numbers and coalescing. Pure: it neither sends nor waits. */
export interface Mux {
  /** @throws FrameError on a malformed message: the link is to be closed with 1008 */
  receive(message: Uint8Array): Received[];
  head(stream: number, head: ResponseHead): void;
  /** Queues body bytes or a message. False: credit is out, wait until `flush` names the stream as drained. */
  body(stream: number, payload: Uint8Array, kind?: "data" | "text"): boolean;
  /** The answer is complete: the stream ends when all that is queued has gone out. */
  end(stream: number, close?: CloseReason): void;
  reset(stream: number, reason: ResetReason): void;
  /** So many bytes of the request have been taken by the replica. */
  granted(stream: number, bytes: number): void;
  /** What has come up since the last call. */
  flush(): Flushed;
  /** Whether a `flush` has something to do. */
  readonly dirty: boolean;
  /** Whether a stream may have something to send: bytes, or credit for them, have come. */
  readonly touched: boolean;
  /** The open streams. */
  readonly streams: readonly number[];
}

interface Stream {
  /** Its payloads are messages, each of which stays one frame. */
  messages: boolean;
  receiveNext: number;
  /** What the Relay may still send. */
  receiveCredit: number;
  theirEnd: boolean;
  /** Taken by the replica and not granted again yet. */
  ungranted: number;
  sendNext: number;
  sendCredit: number;
  queue: { kind: "data" | "text"; payload: Uint8Array }[];
  queuedBytes: number;
  /** Its sender was told to wait. */
  waiting: boolean;
  ending: CloseReason | "plain" | undefined;
}

/** A data frame at most: small enough that streams take turns, large enough that frames are few. */
const dataBytesMax = 64 * 1024;
/** Where one WebSocket message is closed and the next begun. */
const messageBytes = 1024 * 1024;
/** Grants are saved up to this size: it is well under the credit that is left then. */
const grantBytesMin = 32 * 1024;
/** More than any credit that makes sense: a Relay gone wrong must not make us buffer without bound. */
const creditMax = 256 * windowBytes;
const streamsMax = 10_000;

/**
 * The longest WebSocket message that can be carried. It has to fit the credit at once, and a Relay that grants in steps of a
 * quarter window may leave no more than three quarters open.
 */
export const messageBytesMax = (windowBytes / 4) * 3;

export function createMux(): Mux {
  const streams = new Map<number, Stream>();
  /** Streams that `flush` has to look at. */
  const touched = new Set<number>();
  let out: Frame[] = [];

  const cut = (stream: number, reason: ResetReason): void => {
    if (!streams.delete(stream)) return;
    touched.delete(stream);
    out.push(jsonFrame(frameKinds.reset, stream, reason));
  };

  const breach = (stream: number, message: string): Received => {
    const reason: ResetReason = { code: "protocol", message };
    cut(stream, reason);
    return { type: "reset", stream, reason };
  };

  function take(frame: Frame, state: Stream): Received {
    const { stream, sequence, payload } = frame;
    if (state.theirEnd) return breach(stream, "the body goes on after its end");
    if (sequence !== state.receiveNext) return breach(stream, `body frame ${sequence} came where ${state.receiveNext} was next`);
    if (payload.byteLength > state.receiveCredit) return breach(stream, `${payload.byteLength} bytes came where ${state.receiveCredit} were granted`);
    state.receiveNext = (state.receiveNext + 1) >>> 0;
    state.receiveCredit -= payload.byteLength;
    return { type: frame.kind === frameKinds.text ? "text" : "data", stream, payload };
  }

  function receiveFrame(frame: Frame): Received | undefined {
    const { stream, kind } = frame;
    const state = streams.get(stream);
    if (kind === frameKinds.open) {
      if (state) throw new FrameError(`Cannot open stream ${stream}: it is open`);
      if (streams.size >= streamsMax) throw new FrameError(`Cannot open stream ${stream}: ${streamsMax} are open`);
      const head = readRequestHead(frame);
      streams.set(stream, {
        messages: head.upgrade === true, receiveNext: 0, receiveCredit: 2 * windowBytes, theirEnd: false, ungranted: 0,
        sendNext: 0, sendCredit: windowBytes, queue: [], queuedBytes: 0, waiting: false, ending: undefined,
      });
      // the sign that the request has arrived
      out.push(windowFrame(stream, windowBytes));
      return { type: "open", stream, head };
    }
    // frames of a stream that is over may still be under way
    if (!state) return undefined;
    switch (kind) {
      case frameKinds.data:
      case frameKinds.text:
        return take(frame, state);
      case frameKinds.end:
        state.theirEnd = true;
        return { type: "end", stream, close: readClose(frame) };
      case frameKinds.reset:
        streams.delete(stream);
        touched.delete(stream);
        return { type: "reset", stream, reason: readReset(frame) };
      case frameKinds.window:
        state.sendCredit += readWindow(frame);
        if (state.sendCredit > creditMax) return breach(stream, `${state.sendCredit} bytes of credit are more than makes sense`);
        touched.add(stream);
        return undefined;
    }
  }

  /** Moves what credit allows of a stream's queue into frames. */
  function drain(stream: number, state: Stream, frames: Frame[]): void {
    while (state.queue.length > 0) {
      const first = state.queue[0];
      if (!first || (state.messages ? first.payload.byteLength > state.sendCredit : state.sendCredit <= 0)) return;
      const payload = state.messages ? first.payload : join(state.queue, Math.min(dataBytesMax, state.sendCredit));
      if (state.messages) state.queue.shift();
      frames.push({ kind: frameKinds[first.kind], stream, sequence: state.sendNext, payload });
      state.sendNext = (state.sendNext + 1) >>> 0;
      state.sendCredit -= payload.byteLength;
      state.queuedBytes -= payload.byteLength;
    }
  }

  return {
    get dirty() {
      return out.length > 0 || touched.size > 0;
    },
    get touched() {
      return touched.size > 0;
    },
    get streams() {
      return [...streams.keys()];
    },
    receive(message) {
      const received: Received[] = [];
      for (const frame of decodeFrames(message)) {
        const one = receiveFrame(frame);
        if (one) received.push(one);
      }
      return received;
    },
    head(stream, head) {
      if (streams.has(stream)) out.push(jsonFrame(frameKinds.open, stream, head));
    },
    body(stream, payload, kind = "data") {
      const state = streams.get(stream);
      if (!state || state.ending !== undefined) return true;
      if (state.messages && payload.byteLength > Math.min(messageBytesMax, payloadBytesMax)) {
        throw new RangeError(`Cannot carry a message of ${payload.byteLength} bytes: at most ${messageBytesMax} are allowed`);
      }
      // an empty chunk of a body says nothing, an empty message does
      if (payload.byteLength > 0 || state.messages) {
        state.queue.push({ kind, payload });
        state.queuedBytes += payload.byteLength;
        touched.add(stream);
      }
      state.waiting = state.queuedBytes >= state.sendCredit;
      return !state.waiting;
    },
    end(stream, close) {
      const state = streams.get(stream);
      if (!state || state.ending !== undefined) return;
      state.ending = close ?? "plain";
      touched.add(stream);
    },
    reset: cut,
    granted(stream, bytes) {
      const state = streams.get(stream);
      if (!state) return;
      state.ungranted += bytes;
      touched.add(stream);
    },
    flush() {
      const frames = out;
      out = [];
      const drained: number[] = [];
      for (const stream of touched) {
        const state = streams.get(stream);
        if (!state) continue;
        if (state.ungranted >= (state.messages ? 1 : grantBytesMin) && !state.theirEnd) {
          frames.push(windowFrame(stream, state.ungranted));
          state.receiveCredit += state.ungranted;
          state.ungranted = 0;
        }
        drain(stream, state, frames);
        if (state.queue.length === 0 && state.ending !== undefined) {
          frames.push(state.ending === "plain" ? { kind: frameKinds.end, stream, sequence: 0, payload: noPayload } : jsonFrame(frameKinds.end, stream, state.ending));
          streams.delete(stream);
        } else if (state.waiting && state.queuedBytes < state.sendCredit) {
          state.waiting = false;
          drained.push(stream);
        }
      }
      touched.clear();
      return { messages: pack(frames), drained };
    },
  };
}

/** Takes up to so many bytes from the head of a queue, as one payload. */
function join(queue: Stream["queue"], bytesMax: number): Uint8Array {
  const first = queue[0]?.payload ?? noPayload;
  if (first.byteLength > bytesMax) {
    queue[0] = { kind: "data", payload: first.subarray(bytesMax) };
    return first.subarray(0, bytesMax);
  }
  queue.shift();
  const parts = [first];
  let size = first.byteLength;
  for (let next = queue[0]; next && size + next.payload.byteLength <= bytesMax; next = queue[0]) {
    parts.push(next.payload);
    size += next.payload.byteLength;
    queue.shift();
  }
  if (parts.length === 1) return first;
  const joined = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.byteLength;
  }
  return joined;
}

function pack(frames: readonly Frame[]): Uint8Array<ArrayBuffer>[] {
  const messages: Uint8Array<ArrayBuffer>[] = [];
  let from = 0;
  let size = 0;
  frames.forEach((frame, at) => {
    if (size > 0 && size + frame.payload.byteLength > messageBytes) {
      messages.push(encodeFrames(frames.slice(from, at)));
      [from, size] = [at, 0];
    }
    size += frame.payload.byteLength;
  });
  if (from < frames.length) messages.push(encodeFrames(frames.slice(from)));
  return messages;
}
