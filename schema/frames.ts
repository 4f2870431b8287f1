/**
 * The frames that carry requests between a Relay and an agent, many streams over one WebSocket.
 *
 * A WebSocket message holds one or more frames: kind (u8), stream (u32), sequence (u32), length (u32), payload; big endian.
 * A side sends everything that came up in one tick of its event loop as one message (facts/cloudflare.md, "What things cost":
 * the cheapest way that adds no delay).
 */
export const frameKinds = {
  /** A request (Relay to agent: `RequestHead`) or its answer (agent to Relay: `ResponseHead`), as JSON. */
  open: 1,
  /** Body bytes, or one binary WebSocket message. Sequence counts from 0 per stream and direction. */
  data: 2,
  /** The sender's body is complete. For a WebSocket: a close, payload `CloseReason` as JSON. */
  end: 3,
  /** The stream is over at once in both directions: payload `ResetReason` as JSON. */
  reset: 4,
  /** Credit: the receiver may be sent so many more payload bytes (u32). Its first one also says that the request has arrived. */
  window: 5,
  /** One text WebSocket message, UTF-8; counts into sequence and credit as `data`. */
  text: 6,
} as const;

export type FrameKind = (typeof frameKinds)[keyof typeof frameKinds];

export interface Frame {
  kind: FrameKind;
  /** Unsigned 32-bit, chosen by the Relay, unique among the link's open streams. */
  stream: number;
  /** Unsigned 32-bit; 0 on frames that carry no body. */
  sequence: number;
  payload: Uint8Array;
}

export interface RequestHead {
  /** The replica that is to answer, or `agent` for the agent's own paths (logs). */
  target: string;
  method: string;
  /** Path and query, as the engine will see them. */
  path: string;
  headers: [string, string][];
  requestId: string;
  /** The client asks for a WebSocket. */
  upgrade?: boolean;
  /** Its answer outlives the link that carries it: kept by the agent for a while, for another link to go on with. */
  attempt?: AttemptWay;
}

/** One of the ways by which the answer to one attempt is asked for: its relay may be lost, and the next way goes through another. */
export interface AttemptWay {
  /** The attempt's own id, which nobody can guess. */
  id: string;
  /** How many ways were tried before: a later one takes the answer over from an earlier, whichever arrives first. */
  turn: number;
  /** Go on with the answer's body at this byte, and begin nothing. Absent: begin it, or, where it has begun, take it over from its first byte. */
  from?: number;
}

/** The `target` of a request that only goes on with an attempt. No replica has this name, so an agent that knows no attempts refuses it. */
export const attachTarget = "attach";

export interface ResponseHead {
  status: number;
  headers: [string, string][];
  /** The WebSocket subprotocol that the replica chose. */
  protocol?: string;
}

export interface CloseReason {
  code: number;
  reason: string;
}

/**
 * Why a stream was cut: a closed vocabulary, so that the edge can tell what to do next. `gone`: the agent does not have (any more)
 * what this way asks for, or a later way has taken over.
 */
export const resetCodes = ["cancelled", "no_target", "draining", "connect_failed", "upstream_lost", "too_large", "protocol", "gone"] as const;

export interface ResetReason {
  code: (typeof resetCodes)[number];
  message: string;
}

const headerBytes = 13;
/** A frame's payload at most: one coalesced read, well under the WebSocket limit of 32 MiB. */
export const payloadBytesMax = 1 << 20;
/**
 * What a side may have in flight per stream and direction before it must wait for credit. A stream begins with so much in each
 * direction; the window frame by which an agent acknowledges a request comes on top of it. A grant comes in quarters, so one
 * WebSocket message of a service can be at most three quarters of this long.
 */
export const windowBytes = 256 * 1024;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });
const kinds = new Set<number>(Object.values(frameKinds));

/** A malformed message. The receiver closes the link with 1008. */
export class FrameError extends Error {
  override name = "FrameError";
}

/** One WebSocket message of these frames, in order. */
export function encodeFrames(frames: readonly Frame[]): Uint8Array<ArrayBuffer> {
  let size = 0;
  for (const frame of frames) size += headerBytes + frame.payload.byteLength;
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const { kind, stream, sequence, payload } of frames) {
    view.setUint8(at, kind);
    view.setUint32(at + 1, stream);
    view.setUint32(at + 5, sequence);
    view.setUint32(at + 9, payload.byteLength);
    bytes.set(payload, at + headerBytes);
    at += headerBytes + payload.byteLength;
  }
  return bytes;
}

/**
 * The frames of one WebSocket message; payloads are views into it, not copies.
 *
 * @throws FrameError on an unknown kind, a payload over `payloadBytesMax`, or a message cut short
 */
export function decodeFrames(message: ArrayBuffer | Uint8Array): Frame[] {
  const bytes = message instanceof Uint8Array ? message : new Uint8Array(message);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const frames: Frame[] = [];
  for (let at = 0; at < bytes.byteLength; ) {
    if (bytes.byteLength - at < headerBytes) throw new FrameError(`Cannot read a frame: ${bytes.byteLength - at} bytes left, a header is ${headerBytes}`);
    const kind = view.getUint8(at);
    if (!kinds.has(kind)) throw new FrameError(`Cannot read a frame: kind ${kind} is unknown`);
    const length = view.getUint32(at + 9);
    if (length > payloadBytesMax) throw new FrameError(`Cannot read a frame: its payload is ${length} bytes, at most ${payloadBytesMax} are allowed`);
    const start = at + headerBytes;
    if (start + length > bytes.byteLength) throw new FrameError(`Cannot read a frame: it says ${length} bytes, ${bytes.byteLength - start} are there`);
    frames.push({
      kind: kind as FrameKind,
      stream: view.getUint32(at + 1),
      sequence: view.getUint32(at + 5),
      payload: bytes.subarray(start, start + length),
    });
    at = start + length;
  }
  return frames;
}

export const noPayload = new Uint8Array(0);

export function jsonFrame(kind: FrameKind, stream: number, value: RequestHead | ResponseHead | ResetReason | CloseReason): Frame {
  return { kind, stream, sequence: 0, payload: encoder.encode(JSON.stringify(value)) };
}

export function windowFrame(stream: number, bytes: number): Frame {
  const payload = new Uint8Array(4);
  new DataView(payload.buffer).setUint32(0, bytes);
  return { kind: frameKinds.window, stream, sequence: 0, payload };
}

/** The credit of a window frame, in bytes. @throws FrameError when it is not four bytes */
export function readWindow(frame: Frame): number {
  const { payload } = frame;
  if (payload.byteLength !== 4) throw new FrameError(`Cannot read a window frame: its payload is ${payload.byteLength} bytes, not 4`);
  return new DataView(payload.buffer, payload.byteOffset, 4).getUint32(0);
}

function readJson(frame: Frame): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(decoder.decode(frame.payload));
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // falls through to the error below: not UTF-8, or not JSON
  }
  throw new FrameError(`Cannot read a frame of kind ${frame.kind}: its payload is not a JSON object`);
}

function isHeaders(value: unknown): value is [string, string][] {
  return Array.isArray(value) && value.every((pair) => Array.isArray(pair) && pair.length === 2 && typeof pair[0] === "string" && typeof pair[1] === "string");
}

/** @throws FrameError when a field is missing or of another type */
export function readRequestHead(frame: Frame): RequestHead {
  const { target, method, path, headers, requestId, upgrade, attempt } = readJson(frame);
  if (typeof target !== "string" || typeof method !== "string" || typeof path !== "string" || !path.startsWith("/") || typeof requestId !== "string" || !isHeaders(headers)) {
    throw new FrameError("Cannot read a request head: target, method, path, headers or requestId is missing or of the wrong type");
  }
  const way = readAttempt(attempt);
  return { target, method, path, headers, requestId, upgrade: upgrade === true, ...(way === undefined ? {} : { attempt: way }) };
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** Undefined for what is no attempt: the request is carried without its answer being kept. */
export function readAttempt(value: unknown): AttemptWay | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { id, turn, from } = value as Record<string, unknown>;
  if (typeof id !== "string" || id === "" || id.length > 64 || !isCount(turn)) return undefined;
  if (from === undefined) return { id, turn };
  return isCount(from) ? { id, turn, from } : undefined;
}

/** @throws FrameError when a field is missing or of another type */
export function readResponseHead(frame: Frame): ResponseHead {
  const { status, headers, protocol } = readJson(frame);
  if (typeof status !== "number" || !Number.isInteger(status) || status < 100 || status > 599 || !isHeaders(headers)) {
    throw new FrameError("Cannot read a response head: status or headers is missing or of the wrong type");
  }
  return typeof protocol === "string" ? { status, headers, protocol } : { status, headers };
}

/** Never throws: a reset whose reason cannot be read is still a reset. */
export function readReset(frame: Frame): ResetReason {
  try {
    const { code, message } = readJson(frame);
    const known = resetCodes.find((one) => one === code);
    if (known !== undefined) return { code: known, message: typeof message === "string" ? message : "" };
  } catch {
    // an unreadable reason
  }
  return { code: "protocol", message: "unreadable reset" };
}

/** Never throws: a close whose reason cannot be read is a normal one. */
export function readClose(frame: Frame): CloseReason {
  if (frame.payload.byteLength > 0) {
    try {
      const { code, reason } = readJson(frame);
      if (typeof code === "number") return { code, reason: typeof reason === "string" ? reason : "" };
    } catch {
      // an unreadable reason
    }
  }
  return { code: 1000, reason: "" };
}
