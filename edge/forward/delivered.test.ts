import { describe, expect, test } from "vitest";
import { Delivered, type ChunkChoice } from "./delivered.ts";

function told(choices: Partial<ChunkChoice>[], max?: ConstructorParameters<typeof Delivered>[0]): Delivered {
  const delivered = max === undefined ? new Delivered() : new Delivered(max);
  for (const choice of choices) delivered.note({ id: "a", choices: [{ index: 0, ...choice }] });
  return delivered;
}

const call = (index: number, more: { id?: string; name?: string; arguments?: string }): Partial<ChunkChoice> => ({
  delta: { tool_calls: [{ index, ...(more.id === undefined ? {} : { id: more.id }), function: { ...(more.name === undefined ? {} : { name: more.name }), arguments: more.arguments ?? "" } }] },
});

describe("Delivered", () => {
  test("keeps texts in the order in which they came, field by field", () => {
    const { choices } = told([{ delta: { role: "assistant", content: "" } }, { delta: { reasoning_content: "I " } }, { delta: { reasoning_content: "think" } }, { delta: { content: "so" } }, call(0, { id: "c1", name: "f", arguments: "{" }), call(0, { arguments: "}" })]);
    expect(choices.get(0)).toMatchObject({ role: true, segments: [{ field: "reasoning", text: "I think" }, { field: "content", text: "so" }, { field: "tool:0:f", text: "{}", id: "c1" }] });
  });

  test("knows how many ids had given their text", () => {
    expect(told([{ delta: { content: "a" }, token_ids: [1] }, { delta: { content: "" }, token_ids: [2] }, { delta: {}, token_ids: [3] }]).had(0)).toMatchObject({ ids: [1, 2, 3], idsKnown: true, idsAtText: 1 });
  });

  test("does not trust ids when a text came without", () => {
    expect(told([{ delta: { content: "a" }, token_ids: [1] }, { delta: { content: "b" } }]).had(0).idsKnown).toBe(false);
    expect(told([{ delta: { role: "assistant", content: "" } }, { delta: { content: "a" }, token_ids: [1] }]).had(0).idsKnown).toBe(true);
  });

  test.each<[string, Partial<ChunkChoice>[]]>([
    ["a field that nobody here knows", [{ delta: { audio: { data: "UklGRg" } } }]],
    ["the old form of a tool call", [{ delta: { function_call: { name: "f" } } }]],
    ["a call that goes on after another began", [call(0, { id: "a", name: "f" }), call(1, { id: "b", name: "g" }), call(0, { arguments: "{" })]],
    ["a call that begins twice", [call(0, { id: "a", name: "f" }), call(0, { id: "b", name: "f" })]],
  ])("%s cannot be compared", (_, choices) => {
    expect(told(choices).odd).toBe(true);
  });

  test("empty values of such fields are nothing", () => {
    expect(told([{ delta: { content: "a", tool_calls: [], annotations: [], function_call: null, refusal: null } }]).odd).toBe(false);
  });

  test("row 37: of an answer that is longer than may be kept nothing is kept, and that is known", () => {
    const delivered = told([{ delta: { content: "12345" }, token_ids: [1] }, { delta: { content: "67890" }, token_ids: [2] }], { text: 8, ids: 100 });
    expect({ overfull: delivered.overfull, some: delivered.some, text: delivered.textOf(0), ids: delivered.had(0).ids }).toEqual({ overfull: true, some: true, text: "", ids: [] });
    delivered.note({ choices: [{ index: 0, delta: { content: "more" } }] });
    expect(delivered.textOf(0)).toBe("");
  });

  test("row 37: ids beyond what may be kept are forgotten, and the text stays", () => {
    const delivered = new Delivered({ text: 100, ids: 4 });
    delivered.note({ id: "a", prompt_token_ids: [1, 2], choices: [{ index: 0, delta: { role: "assistant", content: "" } }] });
    delivered.note({ choices: [{ index: 0, delta: { content: "a" }, token_ids: [3] }] });
    for (const id of ["4", "5"]) delivered.more("b", id);
    expect({ promptIds: delivered.promptIds, known: delivered.had(0).idsKnown, ids: delivered.had(0).ids, text: delivered.textOf(0) }).toEqual({ promptIds: undefined, known: false, ids: [], text: "abb" });
  });

  test("has nothing of an answer that only said who speaks", () => {
    expect(told([{ delta: { role: "assistant", content: "" } }]).some).toBe(false);
    expect(told([{ delta: { content: "a" } }]).some).toBe(true);
  });
});
