import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { Delivered, type Chunk, type ChunkChoice } from "./delivered.ts";
import { FirstLeg, stripped, type Strip } from "./passage.ts";
import { askOf, type Ask } from "./resume.ts";
import { Watch } from "./watch.ts";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

function ask(body: Record<string, unknown> = {}): Ask {
  const parsed = { model: "m", messages: [], stream: true, ...body };
  const made = askOf("/v1/chat/completions", parsed, JSON.stringify(parsed));
  if (made === undefined) throw new Error("not a chat");
  return made;
}

function event(choice: Partial<ChunkChoice>, more: Partial<Chunk> = {}): Chunk {
  return { id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta: {}, logprobs: null, finish_reason: null, ...choice }], ...more };
}

const sse = (chunks: readonly Chunk[]): string => `${chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join("")}data: [DONE]\n\n`;

const both: Strip = { ids: true, usage: true };

/** Pushes a stream in pieces of these sizes. */
function push(text: string, strip: Strip | undefined, sizes: readonly number[] = [1_000_000]): { text: string; delivered: Delivered; watch: Watch } {
  const delivered = new Delivered();
  const watch = new Watch(new FirstLeg(ask(), delivered, strip));
  const bytes = encode(text);
  let out = "";
  for (let at = 0, i = 0; at < bytes.byteLength; i++) {
    const size = sizes[i % sizes.length] ?? 1;
    out += decode(watch.push(bytes.subarray(at, at + size)));
    at += size;
  }
  return { text: out, delivered, watch };
}

const word = fc.constantFrom("a", " tide", "", "é", " 🚢", 'a "quote"', "\n", "back\\slash", "token_ids", '"token_ids":[1]');
const ids = fc.oneof(fc.constant(undefined), fc.constant(null), fc.array(fc.nat(200_000), { minLength: 1, maxLength: 3 }));
const piece: fc.Arbitrary<Chunk> = fc.oneof(
  fc.record({ content: word, ids }).map(({ content, ids: token_ids }) => event({ delta: { content }, ...(token_ids === undefined ? {} : { token_ids }) }, { usage: null })),
  fc.record({ content: word, id: fc.nat(200_000) }).map(({ content, id }) => event({ delta: { content }, token_ids: [id] })),
  fc.record({ text: word, id: fc.nat(9) }).map(({ text, id }) => event({ delta: { reasoning_content: text }, token_ids: [id] })),
  fc.record({ content: word, index: fc.nat(1) }).map(({ content, index }) => event({ index, delta: { content }, token_ids: [7] })),
  fc.constantFrom(
    event({ delta: { role: "assistant", content: "" } }, { prompt_token_ids: [1, 2, 3] }),
    event({ delta: {}, token_ids: [9] }),
    event({ delta: { content: "x" }, logprobs: { content: [{ token: "x", logprob: -1 }] }, token_ids: [9] }),
    event({ delta: { tool_calls: [{ index: 0, id: "call_1", type: "function", function: { name: "f", arguments: "{" } }] } }),
    event({ delta: { tool_calls: [{ index: 0, function: { arguments: "}" } }] } }),
    event({}, { choices: [], usage: { prompt_tokens: 3, completion_tokens: 9 } }),
    event({ delta: { content: "x", reasoning_content: null } }),
  ),
);
const sizes = fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1 });

/** What is known when every chunk is looked at. */
function noted(chunks: readonly Chunk[]): Delivered {
  const delivered = new Delivered();
  for (const chunk of chunks) delivered.note(structuredClone(chunk));
  return delivered;
}

describe("an answer on its way to the client", () => {
  test("is told apart by short texts as it is when every event is parsed, however it is cut", () => {
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), sizes, fc.constantFrom(undefined, both), (chunks, cuts, strip) => {
        const { delivered } = push(sse(chunks), strip, cuts);
        const expected = noted(chunks);
        expect([...delivered.choices]).toEqual([...expected.choices]);
        expect({ promptIds: delivered.promptIds, odd: delivered.odd, head: delivered.head, usageTold: delivered.usageTold }).toEqual({ promptIds: expected.promptIds, odd: expected.odd, head: expected.head, usageTold: expected.usageTold });
      }),
      { numRuns: 1_500 },
    );
  });

  /** Any chunks, and one that ends them: what says that it is done without it is cut short. */
  const finished = fc.array(piece, { maxLength: 30 }).map((chunks) => [...chunks, event({ delta: {}, finish_reason: "stop" })]);

  test("passes byte for byte where nothing was asked for on its behalf", () => {
    fc.assert(fc.property(finished, sizes, (chunks, cuts) => {
      expect(push(sse(chunks), undefined, cuts).text).toBe(sse(chunks));
    }), { numRuns: 300 });
  });

  test("has nothing of what the client did not ask for, and all else", () => {
    fc.assert(
      fc.property(finished, sizes, (chunks, cuts) => {
        const { text } = push(sse(chunks), both, cuts);
        expect(text).toBe(sse(chunks.map((chunk) => stripped(structuredClone(chunk), both)).filter((chunk) => chunk !== undefined)));
      }),
      { numRuns: 1_000 },
    );
  });

  test("is not parsed event by event: one of a kind is enough", () => {
    const parse = vi.spyOn(JSON, "parse");
    try {
      const chunks = Array.from({ length: 500 }, (_, i) => event({ delta: { content: ` word${i}` }, token_ids: [i] }, { usage: null }));
      const { delivered, text } = push(sse(chunks), both, [300]);
      expect(parse).toHaveBeenCalledTimes(1);
      expect(delivered.had(0).ids).toEqual(chunks.map((_, i) => i));
      expect(delivered.textOf(0)).toBe(chunks.map((_, i) => ` word${i}`).join(""));
      expect(text).not.toMatch(/token_ids|usage/);
    } finally {
      parse.mockRestore();
    }
  });

  test("keeps what the client did ask for", () => {
    const chunks = [event({ delta: { content: "a" }, token_ids: [5] }, { usage: null }), event({ delta: { content: "b" }, token_ids: [6], finish_reason: "stop" }, { usage: null })];
    expect(push(sse(chunks), { ids: false, usage: true }).text).toBe(sse(chunks.map((chunk) => stripped(structuredClone(chunk), { ids: false, usage: true }) ?? chunk)));
    expect(push(sse(chunks), { ids: true, usage: false }).text).toBe(sse(chunks.map((chunk) => stripped(structuredClone(chunk), { ids: true, usage: false }) ?? chunk)));
  });

  test.each([[[]], [["a", "b"]]])("that is said to be done and of no choice to be finished is lost: after %j", (words: string[]) => {
    const watch = new Watch(new FirstLeg(ask({}), new Delivered(), undefined));
    const given = decode(watch.push(encode(sse(words.map((content) => event({ delta: { content } }))))));
    expect(given).toBe(words.length === 0 ? "data: [DONE]\n\n" : words.map((content) => `data: ${JSON.stringify(event({ delta: { content } }))}\n\n`).join(""));
    expect([watch.finished, watch.fault?.kind]).toEqual(words.length === 0 ? [true, undefined] : [false, "malformed"]);
  });

  test("is finished when every choice is", () => {
    const watch = new Watch(new FirstLeg(ask({ n: 2 }), new Delivered(), undefined));
    watch.push(encode(`data: ${JSON.stringify(event({ index: 1, finish_reason: "stop" }))}\n\n`));
    expect(watch.finished).toBe(false);
    watch.push(encode(`data: ${JSON.stringify(event({ index: 0, finish_reason: "stop" }))}\n\n`));
    expect(watch.finished).toBe(true);
  });

  test("that was finished and broke off before its usage gets the usage that its ids tell", () => {
    const delivered = new Delivered();
    const watch = new Watch(new FirstLeg(ask({ stream_options: { include_usage: true } }), delivered, { ids: true, usage: false }));
    watch.push(encode(`data: ${JSON.stringify(event({ delta: { role: "assistant", content: "" } }, { prompt_token_ids: [1, 2] }))}\n\n`));
    watch.push(encode(`data: ${JSON.stringify(event({ delta: { content: "a" }, token_ids: [3], finish_reason: "stop" }))}\n\n`));
    expect(decode(watch.ending())).toBe('data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":2,"total_tokens":3,"completion_tokens":1}}\n\ndata: [DONE]\n\n');
  });
});
