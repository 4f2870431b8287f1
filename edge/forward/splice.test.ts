import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Again } from "./again.ts";
import { Delivered, type Chunk, type ChunkChoice, type Delta } from "./delivered.ts";
import { askOf, type Ask } from "./resume.ts";
import { Exact, FromText } from "./splice.ts";

function ask(more: Record<string, unknown> = {}, path = "/v1/chat/completions"): Ask {
  const parsed = { model: "m", messages: [], stream: true, ...more };
  const made = askOf(path, parsed, JSON.stringify(parsed));
  if (made === undefined) throw new Error("neither a chat nor a completion");
  return made;
}

const head = { id: "first", object: "chat.completion.chunk", created: 1, model: "m" };

function delivered(...choices: Partial<ChunkChoice>[]): Delivered {
  const made = new Delivered();
  made.note({ ...head, prompt_token_ids: [1, 2, 3], choices: [{ index: 0, delta: { role: "assistant", content: "" } }] });
  for (const choice of choices) made.note({ ...head, choices: [{ index: 0, ...choice }] });
  return made;
}

const text = (content: string, id?: number): Partial<ChunkChoice> => ({ delta: { content }, ...(id === undefined ? {} : { token_ids: [id] }) });

/** A chunk of the new stream. */
const chunk = (choice: Partial<ChunkChoice>, more: Partial<Chunk> = {}): Chunk => ({ id: "second", object: "x", created: 2, model: "other", choices: [{ index: 0, logprobs: null, finish_reason: null, ...choice }], ...more });

/** All that came of it, as a client puts it together. */
function together(deltas: readonly Delta[]): Record<string, unknown> {
  const all: Record<string, unknown> = {};
  const tools: { id: string; name: string; arguments: string }[] = [];
  for (const delta of deltas) {
    for (const name of ["content", "reasoning_content"]) if (typeof delta[name] === "string") all[name] = `${(all[name] as string | undefined) ?? ""}${delta[name]}`;
    for (const { index = 0, id, function: called } of delta.tool_calls ?? []) {
      const tool = (tools[index] ??= { id: "", name: "", arguments: "" });
      tool.id += id ?? "";
      tool.name += called?.name ?? "";
      tool.arguments += called?.arguments ?? "";
    }
  }
  return { ...all, tools };
}

const deltasOf = (chunks: readonly Chunk[]): Delta[] => chunks.flatMap(({ choices }) => (choices ?? []).map(({ delta }) => delta ?? {}));

describe("exact", () => {
  test("a completion's chunks become the chat's, without a second beginning, and usage counts all legs", () => {
    const had = delivered(text("One", 10), text(" two", 11), text("", 12));
    const splice = new Exact(ask({ stream_options: { include_usage: true } }), had, "");
    expect(splice.pass({ id: "cmpl", object: "text_completion", choices: [{ index: 0, text: " three", token_ids: [13], prompt_token_ids: [1], finish_reason: null }], usage: null })).toEqual([{ ...head, choices: [{ index: 0, delta: { content: " three" }, logprobs: null, finish_reason: null }], usage: null }]);
    expect(splice.pass({ choices: [{ index: 0, text: "", token_ids: [14], finish_reason: "length", stop_reason: null }] })).toEqual([{ ...head, choices: [{ index: 0, delta: {}, logprobs: null, finish_reason: "length", stop_reason: null }], usage: null }]);
    expect(splice.pass({ choices: [], usage: { prompt_tokens: 5, completion_tokens: 2, total_tokens: 7 } })).toEqual([{ ...head, choices: [], usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 } }]);
    expect(splice.ending()).toBe(": x-fairlead-resumed: 1 exact\n\n");
    // the id that had given no text was generated again
    expect(had.had(0).ids).toEqual([10, 11, 13, 14]);
  });

  test("a text completion stays one", () => {
    const had = new Delivered();
    had.note({ id: "c", object: "text_completion", choices: [{ index: 0, text: "One", token_ids: [10], prompt_token_ids: [1] }] });
    const splice = new Exact(ask({ prompt: "a" }, "/v1/completions"), had, "");
    expect(splice.pass({ choices: [{ index: 0, text: " two", token_ids: [11] }] })).toEqual([{ id: "c", object: "text_completion", choices: [{ index: 0, text: " two", logprobs: null, finish_reason: null }] }]);
  });

  test("a stop string over the seam ends the answer, and nobody waits for more", () => {
    const splice = new Exact(ask({ stop: "END", stream_options: { include_usage: true } }), delivered(text("One", 10), text("", 11)), " E");
    expect(deltasOf(splice.pass({ choices: [{ index: 0, text: "N", token_ids: [12] }] }))).toEqual([{ content: " " }]);
    const end = splice.pass({ choices: [{ index: 0, text: "D of it", token_ids: [13] }] });
    expect(end).toEqual([
      { ...head, choices: [{ index: 0, delta: {}, logprobs: null, finish_reason: "stop", stop_reason: "END" }], usage: null },
      { ...head, choices: [], usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 } },
    ]);
    expect(splice.over).toBe(true);
  });

  test("one that finished and broke off still tells its usage, once", () => {
    const splice = new Exact(ask({ stream_options: { include_usage: true } }), delivered(text("One", 10)), "");
    splice.pass({ choices: [{ index: 0, text: " two", token_ids: [11], finish_reason: "stop" }] });
    expect(splice.ending()).toBe(`data: ${JSON.stringify({ ...head, choices: [], usage: { prompt_tokens: 3, total_tokens: 5, completion_tokens: 2 } })}\n\n: x-fairlead-resumed: 1 exact\n\n`);
    expect(splice.ending()).toBe(": x-fairlead-resumed: 1 exact\n\n");
  });

  test("a stream that was tried and never began leaves no trace", () => {
    const had = delivered(text("One", 10), text("", 11));
    const before = structuredClone([...had.choices]);
    for (const splice of [new Exact(ask(), had, ""), new FromText(ask(), had, true), new Again(ask(), had)]) expect(splice.over).toBe(false);
    expect([...had.choices]).toEqual(before);
    expect(had.resumed).toBe(0);
  });
});

describe("from text", () => {
  test.each([
    [" \n", [" \n", "two"], "two"],
    [" \n", [" ", "\ntwo"], "two"],
    [" ", ["two"], "two"],
    ["\n\n", ["\n", "Two\n\n"], "Two\n\n"],
    ["", [" two"], " two"],
  ])("space at the seam (%j) is not given twice: %j", (space, pieces, rest) => {
    const splice = new FromText(ask(), delivered(text(`One${space}`)), true);
    expect(together(pieces.flatMap((piece) => deltasOf(splice.pass(chunk(text(piece)))))).content).toBe(rest);
  });

  // llama.cpp without continue_final_message does so, and Ollama, which does not hand that on: "abc" came back as "abc[", "\\", "["
  test.each<[string, string, string[], string]>([
    ["with its first piece", "It was a dark night", ["It was a dark night[", "\\", "["], "[\\["],
    ["without the space that was not sent", "It was a dark night \n", ["It was a dark night and"], "and"],
    ["alone", "It was a dark night", ["It was a dark night", " and"], " and"],
    ["once", "It was a dark night", [" and.", "It was a dark night"], " and.It was a dark night"],
    ["in part, which is no repetition", "It was a dark night", ["It was a dark"], "It was a dark"],
    ["and which may be one token's text, is none", "ha", ["ha!"], "ha!"],
  ])("what an upstream repeats %s is not given twice: %j, then %j", (_, had, pieces, rest) => {
    const splice = new FromText(ask(), delivered(text(had)), true);
    expect(together(pieces.flatMap((piece) => deltasOf(splice.pass(chunk(text(piece)))))).content).toBe(rest);
  });

  test("the role is not said again, and the id is the first stream's; another model names itself", () => {
    const splice = new FromText(ask(), delivered(text("One")), false);
    expect(splice.pass(chunk({ delta: { role: "assistant", content: "" } }))).toEqual([]);
    expect(splice.pass(chunk(text(" two")))).toEqual([{ ...head, model: "other", choices: [{ index: 0, delta: { content: " two" }, logprobs: null, finish_reason: null }] }]);
  });

  test("usage: what was delivered counts as output, whatever the upstream took it for", () => {
    const splice = new FromText(ask({ stream_options: { include_usage: true } }), delivered(text("One"), text(" two")), true);
    splice.pass(chunk(text(" three")));
    expect(splice.pass({ choices: [], usage: { prompt_tokens: 12, completion_tokens: 5, total_tokens: 17 } })[0]?.usage).toEqual({ prompt_tokens: 10, completion_tokens: 7, total_tokens: 17 });
  });

  test.each<[string, Delta]>([["reasoning", { reasoning_content: "hm" }], ["a tool call", { tool_calls: [{ index: 0, function: { name: "f" } }] }]])("one that begins %s is no continuation", (_, delta) => {
    const splice = new FromText(ask(), delivered(text("One")), true);
    splice.pass(chunk({ delta }));
    expect(splice.diverged).toBeDefined();
  });
});

/** An answer, in deltas as an engine may cut it. */
interface Piece {
  field: "reasoning_content" | "content" | "tool";
  text: string;
  index: number;
}

const words = fc.string({ unit: fc.constantFrom("a", "b", "é", "🚢", " ", '"'), minLength: 1, maxLength: 8 });
const answer: fc.Arbitrary<Piece[]> = fc.tuple(fc.option(words), fc.option(words), fc.array(words, { maxLength: 2 })).map(([reasoning, content, tools]) => [
  ...(reasoning === null ? [] : [{ field: "reasoning_content" as const, text: reasoning, index: 0 }]),
  ...(content === null ? [] : [{ field: "content" as const, text: content, index: 0 }]),
  ...tools.map((args, index) => ({ field: "tool" as const, text: args, index })),
]);

function cut(pieces: readonly Piece[], sizes: readonly number[], id: string): Delta[] {
  const deltas: Delta[] = [];
  let i = 0;
  for (const { field, text: whole, index } of pieces) {
    if (field === "tool") deltas.push({ tool_calls: [{ index, id: `${id}${index}`, type: "function", function: { name: `f${index}`, arguments: "" } }] });
    for (let at = 0; at < whole.length; ) {
      const part = whole.slice(at, (at += sizes[i++ % sizes.length] ?? 1));
      deltas.push(field === "tool" ? { tool_calls: [{ index, function: { arguments: part } }] } : { [field]: part });
    }
  }
  return deltas;
}

describe("the same answer again", () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1 });

  test("however both are cut, the client has it once and whole, its tool calls with their first ids", () => {
    fc.assert(
      fc.property(answer, sizes, sizes, fc.nat(40), (pieces, first, second, lostAt) => {
        const before = cut(pieces, first, "one").slice(0, lostAt);
        const had = delivered(...before.map((delta) => ({ delta })));
        const splice = new Again(ask(), had);
        const passed = [{ role: "assistant", content: "" }, ...cut(pieces, second, "two")].flatMap((delta) => deltasOf(splice.pass(chunk({ delta }))));
        passed.push(...deltasOf(splice.pass(chunk({ delta: {}, finish_reason: "stop" }))));
        expect(splice.diverged).toBeUndefined();
        const known = (delta: Delta): number[] => (delta.tool_calls ?? []).flatMap(({ id, index = 0 }) => (id === undefined ? [] : [index]));
        const early = new Set(before.flatMap(known));
        const all = together([...before, ...passed]);
        const expected = together(cut(pieces, first, "one"));
        for (const [index, tool] of (expected.tools as { id: string }[]).entries()) if (!early.has(index)) tool.id = `two${index}`;
        expect(all).toEqual(expected);
        expect(passed.some(({ role }) => role !== undefined)).toBe(false);
      }),
      { numRuns: 3_000 },
    );
  });

  test("another answer is given up at its first difference, and nothing of it passes before", () => {
    fc.assert(
      fc.property(answer, answer, sizes, sizes, (one, two, first, second) => {
        const before = cut(one, first, "one");
        const had = delivered(...before.map((delta) => ({ delta })));
        const splice = new Again(ask(), had);
        const passed: Delta[] = [];
        for (const delta of cut(two, second, "two")) {
          passed.push(...deltasOf(splice.pass(chunk({ delta }))));
          if (splice.diverged !== undefined) break;
        }
        if (splice.diverged === undefined) splice.pass(chunk({ delta: {}, finish_reason: "stop" }));
        const begins = JSON.stringify(together(cut(two, [1], "x").slice(0, cut(one, [1], "x").length))) === JSON.stringify(together(cut(one, [1], "x")));
        expect(splice.diverged === undefined).toBe(begins);
        if (splice.diverged !== undefined) expect(passed).toEqual([]);
      }),
      { numRuns: 2_000 },
    );
  });

  test.each<[string, Partial<ChunkChoice>[], Delta[], string | null]>([
    ["a shorter answer", [text("One two")], [{ content: "One" }], "stop"],
    ["another word", [text("One two")], [{ content: "One three" }], null],
    ["longer reasoning", [{ delta: { reasoning_content: "a" } }, text("x")], [{ reasoning_content: "ab" }], null],
    ["no reasoning", [{ delta: { reasoning_content: "a" } }], [{ content: "a" }], null],
    ["another tool", [{ delta: { tool_calls: [{ index: 0, id: "a", function: { name: "f", arguments: "" } }] } }], [{ tool_calls: [{ index: 0, id: "b", function: { name: "g", arguments: "" } }] }], null],
    ["text instead of a tool", [{ delta: { tool_calls: [{ index: 0, id: "a", function: { name: "f", arguments: "" } }] } }], [{ content: "x" }], null],
    ["an end instead of a tool", [{ delta: { tool_calls: [{ index: 0, id: "a", function: { name: "f", arguments: "" } }] } }], [], "stop"],
    ["another end", [text("One"), { delta: {}, finish_reason: "stop" }], [{ content: "One" }], "length"],
  ])("%s is another answer", (_, before, deltas, finish) => {
    const splice = new Again(ask({ n: 2 }), delivered(...before));
    for (const delta of deltas) expect(splice.pass(chunk({ delta }))).toEqual([]);
    if (finish !== null) expect(splice.pass(chunk({ delta: {}, finish_reason: finish }))).toEqual([]);
    expect(splice.diverged).toBeDefined();
  });

  test("a choice that was over stays over, the other goes on", () => {
    const had = delivered(text("One"), { delta: {}, finish_reason: "stop" }, { index: 1, delta: { content: "Tw" } });
    const splice = new Again(ask({ n: 2 }), had);
    expect(splice.pass(chunk(text("One")))).toEqual([]);
    expect(splice.pass(chunk({ delta: {}, finish_reason: "stop" }))).toEqual([]);
    expect(splice.pass(chunk({ index: 1, delta: { content: "Two" } }))).toEqual([{ ...head, choices: [{ index: 1, delta: { content: "o" }, logprobs: null, finish_reason: null }] }]);
    expect(deltasOf(splice.pass(chunk({ index: 1, delta: {}, finish_reason: "length" })))).toEqual([{}]);
  });

  test("logprobs that were given are not given again", () => {
    const scored = (token: string): Partial<ChunkChoice> => ({ delta: { content: token }, logprobs: { content: [{ token, logprob: -1 }] } });
    const splice = new Again(ask({ logprobs: true }), delivered(scored("a"), scored("b")));
    expect(splice.pass(chunk({ delta: { content: "abc" }, logprobs: { content: [{ token: "a" }, { token: "b" }, { token: "c" }] } }))[0]?.choices).toEqual([{ index: 0, delta: { content: "c" }, logprobs: { content: [{ token: "c" }] }, finish_reason: null }]);
  });

  test("a completion's logprobs are lists side by side, each without what was given", () => {
    const had = new Delivered();
    had.note({ id: "c", object: "text_completion", choices: [{ index: 0, text: "ab", logprobs: { tokens: ["a", "b"], token_logprobs: [-1, -2], text_offset: [0, 1], top_logprobs: null } }] });
    const splice = new Again(ask({ prompt: "x", logprobs: 1 }, "/v1/completions"), had);
    expect(splice.pass({ choices: [{ index: 0, text: "abc", logprobs: { tokens: ["a", "b", "c"], token_logprobs: [-1, -2, -3], text_offset: [0, 1, 2], top_logprobs: null }, finish_reason: null }] })[0]?.choices).toEqual([{ index: 0, text: "c", logprobs: { tokens: ["c"], token_logprobs: [-3], text_offset: [2], top_logprobs: null }, finish_reason: null }]);
  });

  test("when all has come again, its ids are known from the beginning", () => {
    const had = delivered(text("One"));
    const splice = new Again(ask(), had);
    splice.pass(chunk({ delta: { role: "assistant", content: "" } }, { prompt_token_ids: [7] }));
    splice.pass(chunk(text("O", 1)));
    expect(had.had(0).idsKnown).toBe(false);
    splice.pass(chunk(text("ne", 2)));
    splice.pass(chunk(text(" two", 3)));
    expect({ promptIds: had.promptIds, ...had.had(0) }).toMatchObject({ promptIds: [7], ids: [1, 2, 3], idsKnown: true, idsAtText: 3 });
  });
});
