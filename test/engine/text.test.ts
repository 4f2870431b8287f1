import { assert, pre, property, string } from "fast-check";
import { expect, test } from "vitest";
import type { Body } from "./ask.ts";
import { planRequest } from "./plan.ts";
import { answer, decode, encode, expectedAnswer } from "./text.ts";
import { endsInsideCharacter, TextStream } from "./tokenizer.ts";
import { TURN_END } from "./vocabulary.ts";

const model = "demo";
const ask = (content: string, more: object = {}): Body => ({ model, messages: [{ role: "user", content }], ...more });
const first = <T>(list: readonly T[]): T => list[0] as T;

test("decode() undoes encode() for every well-formed text", () => {
  assert(
    property(string({ unit: "binary" }), (text) => {
      pre(text.isWellFormed());
      expect(decode(encode(text))).toBe(text);
    }),
  );
});

test("encode() undoes decode() for what the model generates", () => {
  for (let i = 0; i < 200; i++) {
    const { tokenIds, text } = first(expectedAnswer(ask(`question ${i}`, { min_tokens: 80 }), { model }).choices);
    expect(encode(decode(tokenIds))).toEqual(tokenIds);
    expect(decode(tokenIds).startsWith(text)).toBe(true);
  }
});

test("answers are about 30 to 60 tokens with the end-of-sequence token, and differ", () => {
  const answers = Array.from({ length: 200 }, (_, i) => first(expectedAnswer(ask(`question ${i}`), { model }).choices));
  for (const { tokenIds, finishReason } of answers) {
    expect(tokenIds.length).toBeGreaterThan(28);
    expect(tokenIds.length).toBeLessThan(66);
    expect(tokenIds.at(-1)).toBe(TURN_END);
    expect(finishReason).toBe("stop");
  }
  expect(new Set(answers.map(({ text }) => text)).size).toBe(200);
});

test("some tokens end inside a character", () => {
  const ids = Array.from({ length: 20 }, (_, i) => first(expectedAnswer(ask(`question ${i}`), { model }).choices).tokenIds);
  expect(ids.some((list) => list.some((_, at) => endsInsideCharacter(list.slice(0, at + 1))))).toBe(true);
});

test("a continuation from ids gives the rest, from every token", () => {
  for (const reasoning of [false, true]) {
    for (const question of ["hi", "a longer question about the sea", "港"]) {
      const whole = first(expectedAnswer(ask(question), { model, reasoning }).choices);
      for (let at = 1; at < whole.tokenIds.length; at++) {
        const prompt = [...whole.promptTokenIds, ...whole.tokenIds.slice(0, at)];
        const rest = first(expectedAnswer({ prompt, max_tokens: 100 }, { model, reasoning }).choices);
        expect(rest.tokenIds).toEqual(whole.tokenIds.slice(at));
        const stream = new TextStream(whole.promptTokenIds);
        const sent = whole.tokenIds.slice(0, at).map((id) => stream.push(id)).join("");
        expect(sent + rest.text).toBe(whole.text);
      }
    }
  }
});

test("a continuation from text gives the rest, from every place where text was sent", () => {
  const whole = first(expectedAnswer(ask("hello"), { model }).choices);
  const stream = new TextStream(whole.promptTokenIds);
  let sent = "";
  for (const id of whole.tokenIds.slice(0, -1)) {
    sent += stream.push(id);
    const messages = [{ role: "user", content: "hello" }, { role: "assistant", content: sent }];
    const rest = first(expectedAnswer({ messages, continue_final_message: true, add_generation_prompt: false }, { model }).choices);
    if (sent !== "") expect(sent + rest.text).toBe(whole.text);
  }
});

test("a plain completion continues too", () => {
  const whole = first(expectedAnswer({ prompt: "Once upon a time", max_tokens: 200 }, { model }).choices);
  for (let at = 1; at < whole.tokenIds.length; at++) {
    const rest = first(expectedAnswer({ prompt: [...whole.promptTokenIds, ...whole.tokenIds.slice(0, at)], max_tokens: 200 }, { model }).choices);
    expect(rest.tokenIds).toEqual(whole.tokenIds.slice(at));
  }
});

test("model, seed and choice change the text; nothing else of the body does", () => {
  const text = (body: Body, options = {}) => first(expectedAnswer(body, { model, ...options }).choices).text;
  expect(text(ask("x"))).not.toBe(text(ask("x"), { seed: 1 }));
  expect(text(ask("x"))).not.toBe(text(ask("x"), { model: "other" }));
  expect(text(ask("x"))).toBe(text(ask("x", { temperature: 0.3, top_k: 4, stream: true })));
  const { choices } = expectedAnswer(ask("x", { n: 3 }), { model });
  expect(new Set(choices.map((choice) => choice.text)).size).toBe(3);
  expect(first(choices).text).toBe(text(ask("x")));
});

const whole = first(expectedAnswer(ask("limits"), { model }).choices);
const LIMITS: [string, object, Partial<{ text: string; tokens: number; atLeast: number; finish: string }>][] = [
  ["max_tokens", { max_tokens: 5 }, { tokens: 5, finish: "length" }],
  ["max_completion_tokens wins", { max_completion_tokens: 6, max_tokens: 5 }, { tokens: 6, finish: "length" }],
  ["min_tokens holds the end back", { min_tokens: 90, stop: "." }, { atLeast: 90, finish: "stop" }],
  ["ignore_eos", { ignore_eos: true, max_tokens: 120 }, { tokens: 120, finish: "length" }],
  ["a stop string is cut", { stop: whole.text.slice(20, 26) }, { text: whole.text.slice(0, whole.text.indexOf(whole.text.slice(20, 26))), finish: "stop" }],
  ["a stop string that never comes", { stop: ["no such text"] }, { text: whole.text, finish: "stop" }],
];
test.each(LIMITS)("limits: %s", (_, more, wanted) => {
  const { text, tokenIds, finishReason } = first(expectedAnswer(ask("limits", more), { model }).choices);
  if (wanted.text !== undefined) expect(text).toBe(wanted.text);
  if (wanted.tokens !== undefined) expect(tokenIds).toHaveLength(wanted.tokens);
  if (wanted.atLeast !== undefined) expect(tokenIds.length).toBeGreaterThan(wanted.atLeast);
  expect(finishReason).toBe(wanted.finish);
});

test("no part of a stop string is ever sent", () => {
  const stop = whole.text.slice(20, 40);
  const plan = planRequest(ask("limits", { stop }), { model: { name: model, seed: 0, reasoning: false } });
  let sent = "";
  for (const step of answer(first(plan.sequences), plan.model)) {
    sent += step.text;
    expect(whole.text.slice(0, 20).startsWith(sent)).toBe(true);
  }
  expect(sent).toBe(whole.text.slice(0, 20));
});

const tool = { type: "function" as const, function: { name: "get_weather", parameters: { type: "object", properties: { city: { type: "string" }, days: { type: "integer" } } } } };
test.each([
  ["the user says tool", ask("use the tool", { tools: [tool] }), 1],
  ["the user says tools", ask("use both tools", { tools: [tool, tool] }), 2],
  ["required", ask("hello", { tools: [tool], tool_choice: "required" }), 1],
  ["named", ask("hello", { tools: [tool], tool_choice: { type: "function", function: { name: "get_weather" } } }), 1],
  ["none", ask("use the tool", { tools: [tool], tool_choice: "none" }), 0],
  ["no word of it", ask("hello", { tools: [tool] }), 0],
  ["the tool has answered", { messages: [{ role: "user", content: "tool" }, { role: "tool", content: "sunny" }], tools: [tool] }, 0],
] as const)("tool calls: %s", (_, body, calls) => {
  const choice = first(expectedAnswer(body as unknown as Parameters<typeof expectedAnswer>[0], { model }).choices);
  expect(choice.toolCalls).toHaveLength(calls);
  for (const call of choice.toolCalls) expect(Object.keys(JSON.parse(call.arguments) as object)).toEqual(["city", "days"]);
  expect(choice.finishReason).toBe(calls > 0 ? "tool_calls" : "stop");
  expect(choice.content === null).toBe(calls > 0);
});

test("response_format gives valid JSON", () => {
  for (let i = 0; i < 20; i++) JSON.parse(first(expectedAnswer(ask(`${i}`, { response_format: { type: "json_object" } }), { model }).choices).text);
  const schema = { type: "object", properties: { kind: { enum: ["a", "b"] }, list: { type: "array", items: { type: "number" }, minItems: 3 } } };
  const value = JSON.parse(first(expectedAnswer(ask("x", { response_format: { type: "json_schema", json_schema: { schema } } }), { model }).choices).text) as { kind: string; list: number[] };
  expect(["a", "b"]).toContain(value.kind);
  expect(value.list).toHaveLength(3);
});

test("reasoning comes before the content and is taken out of it", () => {
  const choice = first(expectedAnswer(ask("think"), { model, reasoning: true }).choices);
  expect(choice.text).toBe(`<think>${choice.reasoning}</think>${choice.content}`);
});

test("usage adds up over prompts and choices", () => {
  const { usage, choices } = expectedAnswer({ prompt: ["one", "two words"], n: 2, max_tokens: 4 }, { model });
  expect(choices.map((choice) => choice.index)).toEqual([0, 1, 2, 3]);
  expect(usage).toEqual({ prompt_tokens: encode("one").length + encode("two words").length, completion_tokens: 16, total_tokens: encode("one").length + encode("two words").length + 16 });
});
