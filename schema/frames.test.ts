import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  FrameError, decodeFrames, encodeFrames, frameKinds, jsonFrame, noPayload, payloadBytesMax, readAttempt, readClose, readRequestHead, readReset, readResponseHead, readWindow, resetCodes, windowFrame,
  type Frame, type FrameKind,
} from "./frames.ts";

const u32 = fc.integer({ min: 0, max: 0xffffffff });
const kinds = Object.values(frameKinds);
const frame: fc.Arbitrary<Frame> = fc.record({ kind: fc.constantFrom<FrameKind>(...kinds), stream: u32, sequence: u32, payload: fc.uint8Array({ maxLength: 64 }) });
const frames = fc.array(frame, { maxLength: 8 });
const headerBytes = 13;

const plain = (list: readonly Frame[]): unknown[] => list.map(({ payload, ...rest }) => ({ ...rest, payload: [...payload] }));

/** Frames, or a FrameError: anything else is thrown on. */
function decoded(bytes: Uint8Array): Frame[] | FrameError {
  try {
    return decodeFrames(bytes);
  } catch (error) {
    if (error instanceof FrameError) return error;
    throw error;
  }
}

/** What every decoded frame must be, whatever the bytes were. */
function inRange(list: readonly Frame[], bytes: Uint8Array): void {
  let size = 0;
  for (const { kind, stream, sequence, payload } of list) {
    if (!kinds.includes(kind)) throw new Error(`kind ${kind}`);
    for (const number of [stream, sequence]) if (!Number.isInteger(number) || number < 0 || number > 0xffffffff) throw new Error(`number ${number}`);
    if (payload.byteLength > payloadBytesMax || payload.buffer !== bytes.buffer || payload.byteOffset < bytes.byteOffset || payload.byteOffset + payload.byteLength > bytes.byteOffset + bytes.byteLength) throw new Error("payload out of range");
    size += headerBytes + payload.byteLength;
  }
  if (size !== bytes.byteLength) throw new Error(`${size} of ${bytes.byteLength} bytes are in frames`);
}

function withPayload(kind: FrameKind, text: string): Frame {
  return { kind, stream: 1, sequence: 0, payload: new TextEncoder().encode(text) };
}

describe("encodeFrames() and decodeFrames()", () => {
  test("what is encoded is decoded as it was, in order", () => {
    fc.assert(fc.property(frames, (list) => {
      expect(plain(decodeFrames(encodeFrames(list)))).toEqual(plain(list));
    }), { numRuns: 500 });
  });

  test("decode the same from an ArrayBuffer and from a view into a larger one", () => {
    fc.assert(
      fc.property(frames, fc.integer({ min: 1, max: 32 }), (list, offset) => {
        const bytes = encodeFrames(list);
        const larger = new Uint8Array(bytes.byteLength + 2 * offset).fill(0xff);
        larger.set(bytes, offset);
        expect(plain(decodeFrames(larger.subarray(offset, offset + bytes.byteLength)))).toEqual(plain(list));
        expect(plain(decodeFrames(bytes.buffer))).toEqual(plain(list));
      }),
      { numRuns: 100 },
    );
  });

  test("the bytes are as documented: kind, stream, sequence, length, payload, big endian", () => {
    expect([...encodeFrames([{ kind: frameKinds.data, stream: 0x01020304, sequence: 0xfffffffe, payload: Uint8Array.of(9, 8) }])]).toEqual([2, 1, 2, 3, 4, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 2, 9, 8]);
    expect(decodeFrames(new Uint8Array(0))).toEqual([]);
  });

  test("every truncation is a FrameError, or the frames before the cut where it falls between two", () => {
    fc.assert(
      fc.property(frames, (list) => {
        const bytes = encodeFrames(list);
        const ends = new Map<number, number>([[0, 0]]);
        let end = 0;
        list.forEach(({ payload }, i) => ends.set((end += headerBytes + payload.byteLength), i + 1));
        for (let cut = 0; cut < bytes.byteLength; cut++) {
          const part = bytes.subarray(0, cut);
          const result = decoded(part);
          const whole = ends.get(cut);
          if (whole === undefined) {
            if (!(result instanceof FrameError)) throw new Error(`a cut at ${cut} was accepted`);
          } else if (result instanceof FrameError || result.length !== whole) throw new Error(`a cut at ${cut}, between frames, was not read`);
        }
      }),
      { numRuns: 200 },
    );
  });

  test("every corruption of a single byte is a FrameError or frames within the message, never anything else", () => {
    fc.assert(
      fc.property(fc.array(frame, { minLength: 1, maxLength: 4 }), fc.integer({ min: 1, max: 255 }), (list, flip) => {
        const good = encodeFrames(list);
        for (let at = 0; at < good.byteLength; at++) {
          const bad = good.slice();
          bad[at] = (bad[at] ?? 0) ^ flip;
          const result = decoded(bad);
          if (!(result instanceof FrameError)) inRange(result, bad);
        }
      }),
      { numRuns: 200 },
    );
  });

  test("arbitrary bytes are a FrameError or frames within the message", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const result = decoded(bytes);
        if (!(result instanceof FrameError)) inRange(result, bytes);
      }),
      { numRuns: 1000 },
    );
  });

  test("every kind but the six known ones is refused", () => {
    for (let kind = 0; kind < 256; kind++) {
      const bytes = new Uint8Array(headerBytes);
      bytes[0] = kind;
      const known = (kinds as number[]).includes(kind);
      expect(decoded(bytes) instanceof FrameError, `kind ${kind}`).toBe(!known);
    }
  });

  test("a payload of the largest size is read; one byte more is refused even when all of it is there", () => {
    const largest: Frame = { kind: frameKinds.data, stream: 1, sequence: 0, payload: new Uint8Array(payloadBytesMax) };
    expect(decodeFrames(encodeFrames([largest]))[0]?.payload.byteLength).toBe(payloadBytesMax);
    expect(() => decodeFrames(encodeFrames([{ ...largest, payload: new Uint8Array(payloadBytesMax + 1) }]))).toThrow(new FrameError(`Cannot read a frame: its payload is ${payloadBytesMax + 1} bytes, at most ${payloadBytesMax} are allowed`));
  });
});

describe("window frames", () => {
  test("carry any u32", () => {
    fc.assert(fc.property(u32, u32, (stream, bytes) => {
      const [read] = decodeFrames(encodeFrames([windowFrame(stream, bytes)]));
      expect(read?.stream).toBe(stream);
      expect(readWindow(read as Frame)).toBe(bytes);
    }), { numRuns: 200 });
  });

  test.each([0, 3, 5, 8])("a payload of %d bytes is refused", (length) => {
    expect(() => readWindow({ kind: frameKinds.window, stream: 1, sequence: 0, payload: new Uint8Array(length) })).toThrow(FrameError);
  });
});

describe("heads", () => {
  const request = { target: "chat.local.1", method: "POST", path: "/v1/chat/completions?x=1", headers: [["content-type", "application/json"]] as [string, string][], requestId: "req_1" };

  test("a request head comes back as it was sent; upgrade is false unless it was true", () => {
    expect(readRequestHead(jsonFrame(frameKinds.open, 1, request))).toEqual({ ...request, upgrade: false });
    expect(readRequestHead(jsonFrame(frameKinds.open, 1, { ...request, upgrade: true }))).toEqual({ ...request, upgrade: true });
  });

  test.each([
    ["an attempt to begin", { id: "a", turn: 0 }],
    ["an attempt to go on with", { id: "a", turn: 3, from: 0 }],
  ])("a request head brings %s", (_, attempt) => {
    expect(readRequestHead(jsonFrame(frameKinds.open, 1, { ...request, attempt })).attempt).toEqual(attempt);
    expect(readAttempt({ ...attempt, later: "field" })).toEqual(attempt);
  });

  test.each([[null], ["a"], [{}], [{ id: "", turn: 0 }], [{ id: "a".repeat(65), turn: 0 }], [{ id: "a" }], [{ id: "a", turn: -1 }], [{ id: "a", turn: 0.5 }], [{ id: "a", turn: 0, from: "0" }], [{ id: "a", turn: 0, from: -1 }]])("%j is no attempt: its request is carried without one", (attempt) => {
    expect(readAttempt(attempt)).toBeUndefined();
    expect(readRequestHead(withPayload(frameKinds.open, JSON.stringify({ ...request, attempt })))).toEqual({ ...request, upgrade: false });
  });

  test("a response head comes back as it was sent", () => {
    expect(readResponseHead(jsonFrame(frameKinds.open, 1, { status: 200, headers: [] }))).toEqual({ status: 200, headers: [] });
    expect(readResponseHead(jsonFrame(frameKinds.open, 1, { status: 101, headers: [["a", "b"]], protocol: "chat" }))).toEqual({ status: 101, headers: [["a", "b"]], protocol: "chat" });
  });

  test.each([
    ["no JSON", "{"],
    ["null", "null"],
    ["a list", "[]"],
    ["a number", "1"],
    ["no target", JSON.stringify({ ...request, target: undefined })],
    ["a method that is no text", JSON.stringify({ ...request, method: 1 })],
    ["a path that is relative", JSON.stringify({ ...request, path: "v1" })],
    ["no request id", JSON.stringify({ ...request, requestId: undefined })],
    ["headers that are no list", JSON.stringify({ ...request, headers: {} })],
    ["a header of three parts", JSON.stringify({ ...request, headers: [["a", "b", "c"]] })],
    ["a header whose value is no text", JSON.stringify({ ...request, headers: [["a", 1]] })],
  ])("a request head is refused: %s", (_, text) => {
    expect(() => readRequestHead(withPayload(frameKinds.open, text))).toThrow(FrameError);
  });

  test.each([99, 600, 200.5, "200", null])("a response head is refused: status %j", (status) => {
    expect(() => readResponseHead(withPayload(frameKinds.open, JSON.stringify({ status, headers: [] })))).toThrow(FrameError);
  });

  test("a head that is not UTF-8 is refused", () => {
    expect(() => readRequestHead({ kind: frameKinds.open, stream: 1, sequence: 0, payload: Uint8Array.of(0x7b, 0xff, 0x7d) })).toThrow(FrameError);
  });
});

describe("ends", () => {
  test.each(resetCodes)("a reset says its code: %s", (code) => {
    expect(readReset(jsonFrame(frameKinds.reset, 1, { code, message: "why" }))).toEqual({ code, message: "why" });
  });

  test("a reset or close that cannot be read is still one", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (payload) => {
        const junk: Frame = { kind: frameKinds.reset, stream: 1, sequence: 0, payload };
        expect(readReset(junk)).toEqual({ code: "protocol", message: "unreadable reset" });
        expect(readClose(junk)).toEqual({ code: 1000, reason: "" });
      }),
      { numRuns: 200 },
    );
    expect(readReset(withPayload(frameKinds.reset, '{"code":"bored"}'))).toEqual({ code: "protocol", message: "unreadable reset" });
    expect(readReset(withPayload(frameKinds.reset, '{"code":"draining","message":1}'))).toEqual({ code: "draining", message: "" });
  });

  test("a close says its code and reason, an empty one is normal", () => {
    expect(readClose(jsonFrame(frameKinds.end, 1, { code: 4000, reason: "done" }))).toEqual({ code: 4000, reason: "done" });
    expect(readClose({ kind: frameKinds.end, stream: 1, sequence: 0, payload: noPayload })).toEqual({ code: 1000, reason: "" });
  });
});
