import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FairleadError } from "../../schema/errors.ts";
import { deeperThan, depthMax, readInference } from "./request.ts";

const bytes = (text: string): ArrayBuffer => Uint8Array.from(new TextEncoder().encode(text)).buffer;

/** The error of a body that is refused. */
function refusal(body: ArrayBuffer): { code: string; param: string | null; message: string } {
  try {
    readInference(body);
  } catch (error) {
    if (error instanceof FairleadError) return { code: error.code, param: error.param, message: error.message };
    throw error;
  }
  throw new Error("the body was accepted");
}

/** A body of so many levels, the outermost object counted. */
function nested(levels: number, list: boolean): string {
  const [open, close] = list ? ["[", "]"] : ['{"a":', "}"];
  const inner = list ? "" : "1";
  return `{"model":"chat","x":${open.repeat(levels - 1)}${inner}${close.repeat(levels - 1)}}`;
}

describe("readInference()", () => {
  test("reads model and stream, and keeps the whole body", () => {
    const whole = bytes('{"model":"chat","stream":true,"messages":[],"unknown":{"a":1}}');
    expect(readInference(whole)).toEqual({ bytes: whole, model: "chat", stream: true, body: { model: "chat", stream: true, messages: [], unknown: { a: 1 } } });
  });

  test.each([["{}", false], ['{"stream":null}', false], ['{"stream":false}', false], ['{"stream":true}', true]])("%s: stream is %j", (fields, stream) => {
    expect(readInference(bytes(`{"model":"chat",${fields.slice(1)}`.replace(",}", "}"))).stream).toBe(stream);
  });

  test.each([
    ["nothing", ""],
    ["white space", "  \n"],
    ["half an object", '{"model":"chat"'],
    ["text after it", '{"model":"chat"}{'],
    ["single quotes", "{'model':'chat'}"],
    ["a trailing comma", '{"model":"chat",}'],
    ["a comment", '{"model":"chat"}//'],
    ["NaN", '{"model":"chat","temperature":NaN}'],
    ["a line break in a text", '{"model":"ch\nat"}'],
  ])("refuses as invalid_json: %s", (_, text) => {
    expect(refusal(bytes(text))).toMatchObject({ code: "invalid_json", param: null });
  });

  test.each([
    ["a lone continuation byte", [0x80]],
    ["half a character", [0xe2, 0x82]],
    ["a surrogate half", [0xed, 0xa0, 0x80]],
    ["an overlong form", [0xc0, 0xaf]],
  ])("refuses a body that is not UTF-8: %s", (_, junk) => {
    const head = new TextEncoder().encode('{"model":"');
    const body = Uint8Array.from([...head, ...junk, ...new TextEncoder().encode('"}')]);
    expect(refusal(body.buffer)).toMatchObject({ code: "invalid_json" });
  });

  test("takes a body with a byte order mark, which no engine is shown", () => {
    const read = readInference(bytes('\uFEFF{"model":"chat"}'));
    expect([read.model, new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(read.bytes)]).toEqual(["chat", '{"model":"chat"}']);
  });

  test.each(["null", "[]", '[{"model":"chat"}]', '"chat"', "1", "true"])("refuses what is no object: %s", (text) => {
    expect(refusal(bytes(text))).toMatchObject({ code: "invalid_request", param: null });
  });

  test.each(["{}", '{"model":null}', '{"model":""}', '{"model":1}', '{"model":["chat"]}', '{"Model":"chat"}'])("refuses a body without a model, and names the field: %s", (text) => {
    expect(refusal(bytes(text))).toMatchObject({ code: "invalid_request", param: "model" });
  });

  test.each(['"true"', "1", "0", "{}", "[]"])("refuses a stream that is no boolean, and names the field: %s", (stream) => {
    expect(refusal(bytes(`{"model":"chat","stream":${stream}}`))).toMatchObject({ code: "invalid_request", param: "stream" });
  });

  test.each([true, false])(`takes ${depthMax} levels and no more (lists: %j)`, (list) => {
    expect(readInference(bytes(nested(depthMax - 1, list))).model).toBe("chat");
    expect(readInference(bytes(nested(depthMax, list))).model).toBe("chat");
    expect(refusal(bytes(nested(depthMax + 1, list)))).toMatchObject({ code: "invalid_request", message: expect.stringContaining(`more than ${depthMax} levels`) });
  });

  test("refuses a hundred thousand levels without running out of stack", () => {
    expect(["invalid_request", "invalid_json"]).toContain(refusal(bytes(nested(100_000, true))).code);
  });

  test("takes numbers beyond a double and keys that objects have by nature", () => {
    const { body } = readInference(bytes('{"model":"chat","temperature":1e400,"seed":12345678901234567890,"__proto__":{"stream":true},"constructor":1}'));
    expect(body["temperature"]).toBe(Number.POSITIVE_INFINITY);
    expect(Object.hasOwn(body, "__proto__")).toBe(true);
    expect(readInference(bytes('{"model":"chat","__proto__":{"stream":true}}')).stream).toBe(false);
    expect(refusal(bytes('{"__proto__":{"model":"chat"}}'))).toMatchObject({ param: "model" });
  });

  test("any bytes are a request or a FairleadError, never another error", () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 60 }), fc.json().map((text) => new TextEncoder().encode(text)), fc.string().map((text) => new TextEncoder().encode(`{"model":${text}}`))), (junk) => {
        try {
          expect(readInference(Uint8Array.from(junk).buffer).model).not.toBe("");
        } catch (error) {
          expect(error).toBeInstanceOf(FairleadError);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

test("deeperThan() counts containers, the outermost as one", () => {
  expect(deeperThan(1, 0)).toBe(false);
  expect(deeperThan({}, 0)).toBe(true);
  expect(deeperThan({}, 1)).toBe(false);
  expect(deeperThan({ a: [] }, 1)).toBe(true);
  expect(deeperThan({ a: [1, "x", null] }, 2)).toBe(false);
  expect(deeperThan(null, 0)).toBe(false);
});
