import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FairleadError } from "../../schema/errors.ts";
import { readBody } from "./body.ts";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

/** A request with such a body, whose length is said beforehand, or not. */
function request(body: Uint8Array, declared: boolean, pieceBytes = 7): Request {
  if (declared) return new Request("http://router/v1/embeddings", { method: "POST", body, headers: { "content-length": String(body.byteLength) } });
  const pieces = new ReadableStream<Uint8Array>({
    start(controller) {
      for (let at = 0; at < body.byteLength; at += pieceBytes) controller.enqueue(body.slice(at, at + pieceBytes));
      controller.close();
    },
  });
  return new Request("http://router/v1/embeddings", { method: "POST", body: pieces });
}

describe.each([true, false])("readBody() of a body whose length is said beforehand: %j", (declared) => {
  test.each([
    ["nothing", "", ""],
    ["letters", '{"model":"m"}', '{"model":"m"}'],
    ["other scripts", '{"model":"m","input":"Grüße, 世界 😀"}', '{"model":"m","input":"Grüße, 世界 😀"}'],
    ["a character for what could not be read", '{"input":"\ufffd"}', '{"input":"\ufffd"}'],
    ["a byte order mark", '\ufeff{"model":"m"}', '{"model":"m"}'],
    ["both", '\ufeff{"input":"\ufffd"}', '{"input":"\ufffd"}'],
  ])("gives %s as it was sent", async (_, sent, read) => {
    const body = encode(sent);
    expect(await readBody(request(body, declared), 1_000)).toEqual({ text: read, byteLength: body.byteLength });
  });

  test.each([
    ["a lone continuation byte", [0x80]],
    ["half a character", [0xe2, 0x82]],
    ["a surrogate half", [0xed, 0xa0, 0x80]],
    ["an overlong form", [0xc0, 0xaf]],
    ["a compressed body's first bytes", [0x1f, 0x8b, 0x08]],
  ])("gives no text for %s", async (_, junk) => {
    const body = Uint8Array.from([...encode('{"model":"\ufffd'), ...junk, ...encode('"}')]);
    expect(await readBody(request(body, declared), 1_000)).toEqual({ text: undefined, byteLength: body.byteLength });
  });

  test("gives what a strict reader gives of any bytes, or nothing where that one gives up", async () => {
    const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });
    await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 40 }), async (body) => {
      let expected: string | undefined;
      try {
        expected = strict.decode(body);
      } catch {
        expected = undefined;
      }
      const { text } = await readBody(request(body, declared), 1_000);
      if (text === expected) return;
      // what lacks one byte of four is as long as what stands for it
      expect(text).toBe(new TextDecoder().decode(body));
      expect(encode(text ?? "").byteLength).toBe(body.byteLength);
    }), { numRuns: 200 });
  });

  test("takes so many bytes and not one more, whatever they stand for", async () => {
    const body = encode("é".repeat(10));
    expect((await readBody(request(body, declared), 20)).byteLength).toBe(20);
    const refused = await readBody(request(body, declared), 19).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(FairleadError);
    expect(refused).toMatchObject({ code: "body_too_large" });
  });
});
