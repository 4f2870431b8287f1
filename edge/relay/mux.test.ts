import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seeded } from "../../schema/clock.ts";
import { FrameError, frameKinds, payloadBytesMax, windowBytes, type Frame } from "../../schema/frames.ts";
import { ReceiveCredit, SendCredit, StreamIds } from "./mux.ts";

const body = (sequence: number, bytes: number): Frame => ({ kind: frameKinds.data, stream: 1, sequence, payload: new Uint8Array(bytes) });

type Step = { kind: "send" | "arrive" | "read" | "grant" | "credit"; bytes: number };
const step: fc.Arbitrary<Step> = fc.record({ kind: fc.constantFrom("send", "send", "arrive", "arrive", "read", "read", "grant", "credit"), bytes: fc.integer({ min: 1, max: 100_000 }) });

describe("credit", () => {
  test("whatever is sent, carried, read and granted when: no side's credit is negative, and no more than a window is outstanding or waiting", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const [sender, receiver] = [new SendCredit(), new ReceiveCredit()];
        const [frames, grants]: [Frame[], number[]] = [[], []];
        let [sent, queued] = [0, 0];
        for (const { kind, bytes } of steps) {
          if (kind === "send") {
            const size = Math.min(bytes, sender.left);
            if (size === 0) continue;
            sender.spend(size);
            frames.push(body(sent++, size));
          } else if (kind === "arrive") {
            const frame = frames.shift();
            if (frame === undefined) continue;
            receiver.take(frame);
            queued += frame.payload.byteLength;
          } else if (kind === "read") {
            queued -= Math.min(queued, bytes);
          } else if (kind === "grant") {
            const due = receiver.due(queued);
            expect(due === 0 || due >= windowBytes / 4).toBe(true);
            receiver.grant(due);
            if (due > 0) grants.push(due);
          } else {
            sender.grant(grants.shift() ?? 0);
          }
          expect(sender.left).toBeGreaterThanOrEqual(0);
          expect(receiver.outstanding).toBeGreaterThanOrEqual(0);
          expect(receiver.outstanding + queued).toBeLessThanOrEqual(windowBytes);
          // what the receiver counts as outstanding is what the sender may send, or what is under way
          const underWay = frames.reduce((sum, { payload }) => sum + payload.byteLength, 0) + grants.reduce((sum, one) => sum + one, 0);
          expect(sender.left + underWay).toBe(receiver.outstanding);
        }
      }),
      { numRuns: 300 },
    );
  });

  test("a sender that waits is always granted more once its receiver has read everything", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 2 * windowBytes }), { minLength: 1, maxLength: 40 }), (sizes) => {
        const [sender, receiver] = [new SendCredit(), new ReceiveCredit()];
        let sequence = 0;
        for (const size of sizes) {
          for (let left = size; left > 0; ) {
            const part = Math.min(left, sender.left);
            expect(part).toBeGreaterThan(0);
            sender.spend(part);
            receiver.take(body(sequence++, part));
            left -= part;
            const due = receiver.due(0);
            receiver.grant(due);
            sender.grant(due);
          }
          expect(sender.left).toBeGreaterThan((windowBytes * 3) / 4);
        }
      }),
      { numRuns: 200 },
    );
  });

  test("more than was granted is refused, exactly as much is taken", () => {
    const receiver = new ReceiveCredit();
    expect(() => receiver.take(body(0, windowBytes + 1))).toThrow(FrameError);
    receiver.take(body(0, windowBytes));
    expect(receiver.outstanding).toBe(0);
    receiver.take(body(1, 0));
    expect(() => receiver.take(body(2, 1))).toThrow(new FrameError("Cannot accept 1 bytes on stream 1: 0 were granted"));
    expect(payloadBytesMax).toBeGreaterThanOrEqual(windowBytes);
  });

  test("a gap in the sequence, a repetition and a step back are refused, and change nothing", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 200 }), fc.integer({ min: 0, max: 0xffffffff }), (taken, sequence) => {
        const receiver = new ReceiveCredit();
        for (let i = 0; i < taken; i++) receiver.take(body(i, 1));
        if (sequence !== taken) expect(() => receiver.take(body(sequence, 1))).toThrow(FrameError);
        expect(receiver.outstanding).toBe(windowBytes - taken);
        receiver.take(body(taken, 1));
      }),
      { numRuns: 300 },
    );
  });

  test("nothing is due while the client does not read", () => {
    const receiver = new ReceiveCredit();
    receiver.take(body(0, windowBytes));
    expect(receiver.due(windowBytes)).toBe(0);
    expect(receiver.due(windowBytes - windowBytes / 4 + 1)).toBe(0);
    expect(receiver.due(windowBytes - windowBytes / 4)).toBe(windowBytes / 4);
    expect(receiver.due(0)).toBe(windowBytes);
  });

  test("a reader that is ahead of its queue is granted a window, not more", () => {
    const receiver = new ReceiveCredit();
    receiver.take(body(0, windowBytes));
    expect(receiver.due(-1_000)).toBe(windowBytes);
  });
});

describe("StreamIds", () => {
  test("are unsigned 32-bit, and never one that is open", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), fc.integer({ min: 1, max: 300 }), (start, count) => {
        const ids = new StreamIds(() => start);
        const open = new Set<number>();
        for (let i = 0; i < count; i++) {
          const id = ids.next(open);
          expect(Number.isInteger(id) && id >= 0 && id <= 0xffffffff).toBe(true);
          expect(open.has(id)).toBe(false);
          open.add(id);
        }
      }),
      { numRuns: 200 },
    );
  });

  test("go round at the top, past those that are open", () => {
    const ids = new StreamIds(() => (2 ** 32 - 2) / 2 ** 32);
    expect([ids.next(new Set()), ids.next(new Set([0, 1])), ids.next(new Set())]).toEqual([0xffffffff, 2, 3]);
  });

  test("start elsewhere after each waking", () => {
    const random = seeded(3);
    expect(new Set(Array.from({ length: 100 }, () => new StreamIds(random).next(new Set()))).size).toBe(100);
  });
});
