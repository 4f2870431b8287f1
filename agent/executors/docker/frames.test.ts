import * as fc from "fast-check";
import { expect, test } from "vitest";
import { unframer } from "./frames.ts";

function framed(stream: number, text: Uint8Array): Buffer {
  const head = Buffer.alloc(8);
  head[0] = stream;
  head.writeUInt32BE(text.length, 4);
  return Buffer.concat([head, text]);
}

test("unframer() gives what was written, however the stream is cut into pieces", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.constantFrom(1, 2), fc.uint8Array({ maxLength: 40 }))), fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1 }), (frames, cuts) => {
      const wire = Buffer.concat(frames.map(([stream, text]) => framed(stream, text)));
      const take = unframer();
      const got: Uint8Array[] = [];
      for (let at = 0, i = 0; at < wire.length; i++) {
        const size = cuts[i % cuts.length] ?? 1;
        got.push(...take(wire.subarray(at, at + size)));
        at += size;
      }
      expect(Buffer.concat(got)).toEqual(Buffer.concat(frames.map(([, text]) => text)));
    }),
  );
});
