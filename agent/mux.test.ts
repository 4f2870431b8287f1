import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeFrames, encodeFrames, FrameError, frameKinds, jsonFrame, noPayload, readReset, readWindow, windowBytes, windowFrame, type Frame } from "../schema/frames.ts";
import { createMux, messageBytesMax } from "./mux.ts";

const open = (stream: number, upgrade = false): Frame => jsonFrame(frameKinds.open, stream, { target: "a", method: "POST", path: "/", headers: [], requestId: "r", upgrade });
const data = (stream: number, sequence: number, bytes: number): Frame => ({ kind: frameKinds.data, stream, sequence, payload: new Uint8Array(bytes) });
const end = (stream: number): Frame => ({ kind: frameKinds.end, stream, sequence: 0, payload: noPayload });

function opened(upgrade = false) {
  const mux = createMux();
  mux.receive(encodeFrames([open(1, upgrade)]));
  mux.flush();
  return mux;
}
const frames = (mux: ReturnType<typeof createMux>): Frame[] => mux.flush().messages.flatMap((message) => decodeFrames(message));

describe("createMux()", () => {
  test("answers a request at once with credit", () => {
    const mux = createMux();
    expect(mux.receive(encodeFrames([open(5), end(5)])).map(({ type }) => type)).toEqual(["open", "end"]);
    const [first] = frames(mux);
    expect(first).toMatchObject({ kind: frameKinds.window, stream: 5 });
    expect(first && readWindow(first)).toBe(windowBytes);
  });

  test("sends what came in one tick as one frame a stream and one message in all", () => {
    const mux = createMux();
    mux.receive(encodeFrames([open(1), open(2)]));
    mux.flush();
    mux.head(1, { status: 200, headers: [] });
    for (const text of ["a", "b", "c"]) mux.body(1, Buffer.from(text));
    mux.body(2, Buffer.from("x"));
    mux.end(1);
    const { messages } = mux.flush();
    expect(messages).toHaveLength(1);
    const sent = decodeFrames(messages[0] ?? noPayload);
    expect(sent.map(({ kind, stream, sequence }) => [kind, stream, sequence])).toEqual([[frameKinds.open, 1, 0], [frameKinds.data, 1, 0], [frameKinds.end, 1, 0], [frameKinds.data, 2, 0]]);
    expect(Buffer.from(sent[1]?.payload ?? noPayload).toString()).toBe("abc");
    expect(mux.streams).toEqual([2]);
  });

  test("cuts a large body into frames of 64 KiB and stops when credit is out", () => {
    const mux = opened();
    expect(mux.body(1, new Uint8Array(windowBytes + 10))).toBe(false);
    mux.end(1);
    const sent = frames(mux);
    expect(sent.map(({ payload }) => payload.byteLength)).toEqual([65_536, 65_536, 65_536, 65_536]);
    expect(sent.map(({ sequence }) => sequence)).toEqual([0, 1, 2, 3]);
    expect(mux.flush()).toEqual({ messages: [], drained: [] });
    mux.receive(encodeFrames([windowFrame(1, 100)]));
    expect(frames(mux).map(({ kind, payload }) => [kind, payload.byteLength])).toEqual([[frameKinds.data, 10], [frameKinds.end, 0]]);
  });

  test("names a stream as drained when its sender may go on", () => {
    const mux = opened();
    expect(mux.body(1, new Uint8Array(windowBytes))).toBe(false);
    expect(mux.flush().drained).toEqual([]);
    mux.receive(encodeFrames([windowFrame(1, 1)]));
    expect(mux.flush().drained).toEqual([1]);
  });

  test("keeps each WebSocket message whole until credit is enough for it", () => {
    const mux = opened(true);
    mux.body(1, new Uint8Array(messageBytesMax), "data");
    mux.body(1, new Uint8Array(messageBytesMax), "text");
    mux.body(1, noPayload, "text");
    expect(frames(mux).map(({ kind, payload }) => [kind, payload.byteLength])).toEqual([[frameKinds.data, messageBytesMax]]);
    mux.receive(encodeFrames([windowFrame(1, windowBytes)]));
    expect(frames(mux).map(({ kind, payload }) => [kind, payload.byteLength])).toEqual([[frameKinds.text, messageBytesMax], [frameKinds.text, 0]]);
    expect(() => mux.body(1, new Uint8Array(messageBytesMax + 1))).toThrow(RangeError);
  });

  test("grants again what the replica has taken, in steps", () => {
    const mux = opened();
    mux.receive(encodeFrames([data(1, 0, 40_000)]));
    mux.granted(1, 20_000);
    expect(frames(mux)).toEqual([]);
    mux.granted(1, 20_000);
    const [grant] = frames(mux);
    expect(grant && readWindow(grant)).toBe(40_000);
  });

  test.each<[string, Frame[]]>([
    ["a gap in the sequence", [data(1, 0, 1), data(1, 2, 1)]],
    ["a repeated frame", [data(1, 0, 1), data(1, 0, 1)]],
    ["a body after its end", [end(1), data(1, 0, 1)]],
    ["more than was granted", Array.from({ length: 9 }, (_, i) => data(1, i, windowBytes / 4))],
  ])("resets a stream with %s", (_name, sent) => {
    const mux = opened();
    const received = mux.receive(encodeFrames(sent));
    expect(received.at(-1)).toMatchObject({ type: "reset", stream: 1, reason: { code: "protocol" } });
    const last = frames(mux).at(-1);
    expect(last && readReset(last).code).toBe("protocol");
    expect(mux.streams).toEqual([]);
  });

  test("ignores frames of streams that are over", () => {
    const mux = opened();
    mux.receive(encodeFrames([jsonFrame(frameKinds.reset, 1, { code: "cancelled", message: "" })]));
    expect(mux.receive(encodeFrames([data(1, 0, 5), end(1), windowFrame(1, 5), data(9, 3, 1)]))).toEqual([]);
    mux.head(1, { status: 200, headers: [] });
    mux.body(1, new Uint8Array(3));
    mux.end(1);
    expect(mux.flush().messages).toEqual([]);
  });

  test.each<[string, () => Uint8Array]>([
    ["an unknown kind", () => Uint8Array.of(99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)],
    ["a message cut short", () => encodeFrames([data(1, 0, 10)]).subarray(0, 15)],
    ["a head that is no JSON", () => encodeFrames([{ ...data(2, 0, 4), kind: frameKinds.open }])],
    ["a stream that is open already", () => encodeFrames([open(1)])],
    ["a window of three bytes", () => encodeFrames([{ ...data(1, 0, 3), kind: frameKinds.window }])],
  ])("refuses %s", (_name, message) => {
    expect(() => opened().receive(message())).toThrow(FrameError);
  });

  test("throws nothing but FrameError for any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          opened().receive(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(FrameError);
        }
      }),
    );
  });

  test("delivers every byte in order, whatever the chunks and the credit", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(100_000), fc.nat(150_000)), { maxLength: 30 }), (steps) => {
        const mux = opened();
        const sent: number[] = [];
        const got: number[] = [];
        let credit = windowBytes;
        let next = 0;
        const take = (): void => {
          for (const frame of frames(mux)) {
            expect(frame.sequence).toBe(next++);
            credit -= frame.payload.byteLength;
            expect(credit).toBeGreaterThanOrEqual(0);
            got.push(frame.payload[0] ?? -1, frame.payload.byteLength);
          }
        };
        let total = 0;
        steps.forEach(([size, grant], i) => {
          mux.body(1, new Uint8Array(size).fill(i));
          sent.push(size);
          total += size;
          take();
          if (grant > 0) mux.receive(encodeFrames([windowFrame(1, grant)]));
          credit += grant;
          take();
        });
        mux.receive(encodeFrames([windowFrame(1, total + 1)]));
        credit += total + 1;
        take();
        expect(got.filter((_, i) => i % 2 === 1).reduce((a, b) => a + b, 0)).toBe(total);
      }),
      { numRuns: 50 },
    );
  });
});
