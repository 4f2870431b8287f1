import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { eventBytesMax, Watch } from "./watch.ts";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** What passes of chunks, and the watch after it. */
function passed(...chunks: (string | Uint8Array)[]): { text: string; watch: Watch } {
  const watch = new Watch();
  let text = "";
  for (const chunk of chunks) text += decode(watch.push(typeof chunk === "string" ? encode(chunk) : chunk));
  return { text, watch };
}

function chat(content: string, finish: string | null = null): string {
  return `data: ${JSON.stringify({ id: "chatcmpl-1", object: "chat.completion.chunk", choices: [{ index: 0, delta: { content }, finish_reason: finish }] })}\n\n`;
}

const done = "data: [DONE]\n\n";
const good = chat("one") + chat(" two") + chat(' "three"\n') + chat("", "stop") + done;

describe("Watch: good events", () => {
  test("pass byte for byte, and their end is known", () => {
    const bytes = encode(good);
    const watch = new Watch();
    expect(watch.push(bytes)).toEqual(bytes);
    expect(watch).toMatchObject({ began: true, finished: true, done: true, dropped: 0, fault: undefined });
  });

  test("a chunk of whole events is passed on itself, without a copy of its bytes", () => {
    const watch = new Watch();
    const bytes = encode(chat("one"));
    expect(watch.push(bytes).buffer).toBe(bytes.buffer);
  });

  test("pass however they are cut, inside characters too", () => {
    const text = chat("grüß") + chat(" 你好 🙂") + good;
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (sizes) => {
        const bytes = encode(text);
        const watch = new Watch();
        let out = "";
        for (let at = 0, i = 0; at < bytes.byteLength; i++) {
          const size = sizes[i % sizes.length] ?? 1;
          out += decode(watch.push(bytes.subarray(at, at + size)));
          at += size;
        }
        expect(out).toBe(text);
      }),
      { numRuns: 200 },
    );
  });

  const plain = (payload: string): string => `data: ${payload}\n\n`;
  const empty = '{"choices":[]}';

  test.each([
    ["completions' text", plain('{"choices":[{"text":"a"}]}') + plain('{"choices":[{"text":"b"}]}') + done],
    ["a usage chunk", plain('{"choices":[],"usage":{"prompt_tokens":1}}') + done],
    ["an object of another kind", plain('{"hello":"world"}') + done],
    ["a replacement character and a byte order mark within a text", chat("a\uFFFDb\uFEFFc") + done],
  ])("pass with %s", (_, text) => {
    const { text: out, watch } = passed(text);
    expect(out).toBe(text);
    expect(watch).toMatchObject({ began: true, done: true, dropped: 0 });
  });

  test.each([
    ["carriage returns", `data: ${empty}\r\n\r\ndata: [DONE]\r\n\r\n`],
    ["lone carriage returns", `data: ${empty}\r\rdata: [DONE]\r\n\r\n`],
    ["no blank after the colon", `data:${empty}\n\ndata:[DONE]\n\n`],
    ["several data lines", 'data: {"choices":\ndata: []}\n\ndata: [DONE]\n\n', '{"choices": []}'],
    ["an event name, an id and a wait", `event: chunk\nid: 1\nretry: 1\ndata: ${empty}\n\nid: 2\ndata: [DONE]\n\n`],
    ["a comment line within", `: note\ndata: ${empty}\n\ndata: [DONE]\n\n`],
    ["an empty line too many", `\ndata: ${empty}\n\n\ndata: [DONE]\n\n\n`],
    ["a byte order mark at the front", `\uFEFFdata: ${empty}\n\ndata: [DONE]\n\n`],
    ["byte order marks before every event", `\uFEFFdata: ${empty}\n\n\uFEFFdata: [DONE]\n\n`],
    ["a byte order mark before a name", `data: ${empty}\n\n\uFEFFevent: x\ndata: [DONE]\n\n`],
  ])("with %s pass as plain ones", (_, text, payload = empty) => {
    for (const chunks of [[text], Array.from(text)]) {
      const { text: out, watch } = passed(...chunks);
      expect(out).toBe(plain(payload) + done);
      expect(watch).toMatchObject({ began: true, done: true, dropped: 0 });
    }
  });

  test("that are like the last pass as plain ones too", () => {
    const events = [chat("one"), chat(" two"), chat(" three"), done];
    expect(passed(...events.map((event) => `id: 1\n${event}`)).text).toBe(events.join(""));
    expect(passed(...events.map((event) => event.replaceAll("\n", "\r\n"))).text).toBe(events.join(""));
  });

  test("an answer is finished by a finish_reason, without [DONE]", () => {
    expect(passed(chat("one")).watch).toMatchObject({ finished: false, done: false });
    expect(passed(chat("one"), chat("", "length")).watch).toMatchObject({ finished: true, done: false });
  });

  test("a text that speaks of a finish_reason or [DONE] finishes nothing", () => {
    expect(passed(chat('"finish_reason":"stop"'), chat("data: [DONE]")).watch).toMatchObject({ finished: false, done: false });
  });

  test("nothing passes after [DONE]", () => {
    expect(passed(chat("one") + done + chat("two"), chat("three")).text).toBe(chat("one") + done);
  });
});

describe("Watch: what does not pass", () => {
  test.each([": \n\n", ": OPENROUTER PROCESSING\n\n", "\n\n", "retry: 100\n\n", ":\n\n: \n\n"])("%j is no part of an answer", (text) => {
    const { text: out, watch } = passed(chat("one"), text, done);
    expect(out).toBe(chat("one") + done);
    expect(watch.dropped).toBe(0);
  });

  test("comments are no progress, the beginning of an event is", () => {
    const watch = new Watch();
    watch.push(encode(": \n\n"));
    expect([watch.progressed, watch.began]).toEqual([false, false]);
    watch.push(encode("da"));
    expect([watch.progressed, watch.began]).toEqual([true, false]);
    watch.push(encode("ta: {}\n\n"));
    expect([watch.progressed, watch.began]).toEqual([true, true]);
  });

  const bad = ['{"id": "chatcmpl-, "choices" [{', "", "{}{}", "null", "42", "[]", '"hello"', '{"choices":[{"delta":{"content":"a}]}', "\u0000", '{"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"a"b"},"finish_reason":null}]}'];
  test.each(bad)("one event that is no JSON object is kept back and counted: %j", (payload) => {
    const { text, watch } = passed(chat("one") + `data: ${payload}\n\n` + chat("two"), done);
    expect(text).toBe(chat("one") + chat("two") + done);
    expect(watch).toMatchObject({ dropped: 1, fault: undefined, done: true });
  });

  test("two in a row are a fault, however they are cut", () => {
    for (const chunks of [["data: x\n\ndata: y\n\n"], ["data: x\n\n", "data: y\n\n"]]) {
      const { text, watch } = passed(chat("one"), ...chunks, chat("two"));
      expect(text).toBe(chat("one"));
      expect(watch.fault).toMatchObject({ kind: "malformed" });
    }
  });

  test("a control character that the text of an event may not hold is found in the quick look too", () => {
    const { text, watch } = passed(chat("one"), chat("two").replace("two", "t\u0001o"), chat("three"));
    expect(text).toBe(chat("one") + chat("three"));
    expect(watch.dropped).toBe(1);
  });

  test.each([
    ["bytes that are no UTF-8", [0xff, 0xfe], "\uFFFD\uFFFD"],
    ["half a character", [0xe2, 0x9a], "\uFFFD"],
    ["half a pair of surrogates", [0xed, 0xa0, 0x80], "\uFFFD\uFFFD\uFFFD"],
  ])("%s do not pass as they came, and what is around them does", (_, bytes, instead) => {
    const [before, after] = chat(" two").split(" two") as [string, string];
    const broken = Buffer.concat([Buffer.from(`${chat("one")}${before}`), Buffer.from(bytes), Buffer.from(`${after}${chat("three")}`)]);
    const out = new Watch().push(broken);
    expect(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(out)).toBe(chat("one") + chat(instead) + chat("three"));
  });

  test("a line that a lone carriage return would hide", () => {
    const { text, watch } = passed(chat("one"), `event: x\rdata: garbage\n${chat(" two")}`, chat("three"), done);
    expect(text).toBe(chat("one") + chat("three") + done);
    expect(watch.dropped).toBe(1);
  });

  test("a finish_reason by which an engine gives the answer up is a fault", () => {
    const { text, watch } = passed(chat("one"), chat("", "abort"), done);
    expect(text).toBe(chat("one"));
    expect(watch).toMatchObject({ finished: false, fault: { kind: "malformed" } });
  });

  test("an event longer than a mebibyte is a fault, and no more than that is held", () => {
    const watch = new Watch();
    const piece = encode("x".repeat(64 * 1024));
    watch.push(encode("data: "));
    let pushed = 0;
    for (; watch.fault === undefined && pushed < 100; pushed++) watch.push(piece);
    expect(watch.fault).toMatchObject({ kind: "malformed" });
    expect(pushed * piece.byteLength).toBeLessThanOrEqual(eventBytesMax + piece.byteLength);
  });
});

describe("Watch: errors in a stream", () => {
  const error = { error: { message: "the engine died", type: "InternalServerError", param: null, code: 500 } };

  test.each<[string, string, unknown]>([
    ["an error object", `data: ${JSON.stringify(error)}\n\n`, error.error],
    ["an event named error", `event: error\ndata: ${JSON.stringify(error.error)}\n\n`, error.error],
    ["an event named error that is no object", "event: error\ndata: the engine died\n\n", undefined],
    ["an event whose name a lone carriage return would hide", `id: 1\revent: error\ndata: ${JSON.stringify(error.error)}\n\n`, error.error],
  ])("%s is a fault, and never passes", (_, event, said) => {
    const { text, watch } = passed(chat("one") + event + done);
    expect(text).toBe(chat("one"));
    expect(watch.fault).toMatchObject({ kind: "error", error: said });
    expect(watch.done).toBe(false);
  });

  test("as the first event it leaves the answer unbegun", () => {
    expect(passed(`data: ${JSON.stringify(error)}\n\n`).watch.began).toBe(false);
  });

  test("an error that is null is none", () => {
    expect(passed('data: {"choices":[],"error":null}\n\n').watch).toMatchObject({ began: true, fault: undefined });
  });
});

test("whatever arrives, what passes are plain events of UTF-8, each with a JSON object or [DONE]", () => {
  const piece = fc.oneof(
    fc.constantFrom(chat("a"), chat("b"), done, "data: x\n\n", ": \n\n", "\r\n", "\n", "\r", "\uFEFF", "id: 1\n", "data: ", "data: 1\n\n", '{"', "\u0000", chat("ü")).map(encode),
    fc.string().map(encode),
    fc.uint8Array({ maxLength: 4 }),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
      const watch = new Watch();
      const out = Buffer.concat(pieces.map((bytes) => watch.push(bytes)));
      const events = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(out).split("\n\n");
      expect(events.pop()).toBe("");
      for (const event of events) {
        expect(event).toMatch(/^data: [^\r\n]+$/);
        if (event !== "data: [DONE]") expect(JSON.parse(event.slice(6))).toEqual(expect.any(Object));
      }
    }),
    { numRuns: 2_000 },
  );
});
