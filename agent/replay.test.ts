import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Replay } from "./replay.ts";

const kib = 1024;
/** Bytes by whose values their places can be told. */
const bytes = (from: number, to: number): Uint8Array => Uint8Array.from({ length: to - from }, (_, i) => (from + i) % 251);

describe("Replay", () => {
  test("gives what is still there from any place on, whatever the pieces were, and nothing of what is not", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 9_000 }), { maxLength: 12 }), fc.nat(), (sizes, place) => {
        const replay = new Replay(8 * kib);
        let end = 0;
        for (const size of sizes) replay.push(bytes(end, (end += size)));
        expect(replay.end).toBe(end);
        const from = place % (end + 2);
        const held = from <= end && from >= end - 8 * kib;
        const rest = replay.since(from);
        expect(rest?.byteLength).toBe(held ? end - from : undefined);
        if (rest) expect(Buffer.compare(rest, bytes(from, end))).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  test("takes no more memory than it may, and little for a short answer", () => {
    const replay = new Replay(256 * kib);
    replay.push(bytes(0, 600));
    expect(replay.bytes).toBe(4 * kib);
    expect(replay.room).toBe(256 * kib - 600);
    for (let end = 600; end < 1024 * kib; end += 10_000) replay.push(bytes(end, end + 10_000));
    expect(replay.bytes).toBe(256 * kib);
    expect(replay.room).toBe(0);
  });

  test("what it gives stays as it was when more comes", () => {
    const replay = new Replay(4 * kib);
    replay.push(bytes(0, 4 * kib));
    const rest = replay.since(0);
    replay.push(bytes(0, 3 * kib).fill(0xff));
    expect(rest && Buffer.compare(rest, bytes(0, 4 * kib))).toBe(0);
  });
});
