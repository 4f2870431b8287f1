import { describe, expect, test } from "vitest";
import { Delivered } from "./delivered.ts";
import { askOf, exactLeg, exactRefusal, methodsOf, regenerateRefusal, textLeg, textRefusal, wantsIds, withIds, type Ask } from "./resume.ts";

function askFor(text: string, path = "/v1/chat/completions"): Ask {
  const ask = askOf(path, JSON.parse(text) as Record<string, unknown>, text);
  if (ask === undefined) throw new Error("neither a chat nor a completion");
  return ask;
}

const messages = [{ role: "user", content: "hi" }];
const chat = (more: Record<string, unknown> = {}): Ask => askFor(JSON.stringify({ model: "m", messages, stream: true, ...more }));

/** Three tokens of text, and one that has given none yet. */
function given({ ids = true, reasoning = false }: { ids?: boolean; reasoning?: boolean } = {}): Delivered {
  const delivered = new Delivered();
  delivered.note({ id: "a", prompt_token_ids: [1, 2], choices: [{ index: 0, delta: { role: "assistant", content: "" } }] });
  if (reasoning) delivered.note({ choices: [{ index: 0, delta: { reasoning_content: "hm" }, token_ids: [9] }] });
  for (const [i, content] of ["The", " sea", " is ", ""].entries()) delivered.note({ choices: [{ index: 0, delta: { content }, ...(ids ? { token_ids: [10 + i] } : {}) }] });
  return delivered;
}

test.each([["exact", ["exact", "regenerate"]], ["continue", ["exact", "text", "regenerate"]], ["error", []]] as const)("on_stream_loss: %s", (policy, methods) => {
  expect(methodsOf(policy)).toEqual(methods);
});

describe("asking for ids", () => {
  test.each([
    ['{"model":"m","seed":12345678901234567890 }\n', '{"model":"m","seed":12345678901234567890 ,"return_token_ids":true,"stream_options":{"include_usage":true}}'],
    ['{"stream_options":{"x":1},"model":"m","seed":12345678901234567890}', '{"stream_options":{"x":1,"include_usage":true},"model":"m","seed":12345678901234567890,"return_token_ids":true}'],
    ['{"model":"m","return_token_ids":null,"stream_options":null}', '{"model":"m","return_token_ids":true,"stream_options":{"include_usage":true}}'],
  ])("leaves everything else of %s as the client wrote it", (body, expected) => {
    const { body: text, parsed } = withIds(askFor(body));
    expect(text).toBe(expected);
    expect(parsed).toEqual(JSON.parse(expected));
  });

  test.each<[boolean, Record<string, unknown>]>([
    [true, {}],
    [true, { tools: [], response_format: { type: "text" }, n: 1, logprobs: false }],
    [true, { tools: [{}], tool_choice: "none" }],
    [false, { tools: [{}] }],
    [false, { n: 2 }],
    [false, { best_of: 2 }],
    [false, { logprobs: true }],
    [false, { response_format: { type: "json_object" } }],
    [false, { structured_outputs: { regex: "a" } }],
    [false, { guided_choice: ["a"] }],
    [false, { use_beam_search: true }],
    [false, { echo: true }],
    [false, { messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "data:" } }] }] }],
  ])("is %s for %j", (wanted, body) => {
    expect(wantsIds(chat(body))).toBe(wanted);
  });
});

describe("exact", () => {
  test.each<[string, Ask, Delivered]>([
    ["token ids are missing", chat(), given({ ids: false })],
    ["tools", chat({ tools: [{}] }), given()],
    ["it has several choices", chat({ n: 3 }), given()],
    ["response_format", chat({ response_format: { type: "json_schema" } }), given()],
    ["logprobs", chat({ logprobs: true }), given()],
    ["ids without text were delivered", chat({ return_token_ids: true }), given()],
    ["stop strings do not count yet", chat({ stop: "x", min_tokens: 10 }), given()],
    ["nothing is left to generate", chat({ max_tokens: 3 }), given()],
    ["no text of the answer was delivered", chat(), new Delivered()],
    ["its prompt is more than text", chat({ messages: [{ role: "user", content: [{ type: "image_url" }] }] }), given()],
  ])("is refused: %s", (why, ask, delivered) => {
    expect(exactRefusal(ask, delivered)).toBe(why);
  });

  test("is refused while the engine's parser is inside reasoning", () => {
    const delivered = new Delivered();
    delivered.note({ id: "a", prompt_token_ids: [1], choices: [{ index: 0, delta: { reasoning_content: "hm" }, token_ids: [9] }] });
    expect(exactRefusal(chat(), delivered)).toBe("no text of the answer was delivered");
    expect(exactRefusal(chat(), given({ reasoning: true }))).toBeUndefined();
  });

  test("row 37: is refused when there were more ids than are kept, and with more text nothing goes on", () => {
    const tiny = new Delivered({ text: 4, ids: 2 });
    tiny.note({ id: "a", prompt_token_ids: [1], choices: [] });
    for (const [i, content] of ["ab", "cd"].entries()) tiny.note({ choices: [{ index: 0, delta: { content }, token_ids: [i] }] });
    expect(exactRefusal(chat(), tiny)).toBe("token ids are missing");
    expect(regenerateRefusal(tiny)).toBeUndefined();
    tiny.note({ choices: [{ index: 0, delta: { content: "e" }, token_ids: [3] }] });
    expect([exactRefusal(chat(), tiny), textRefusal(chat(), tiny), regenerateRefusal(tiny)]).toEqual(Array.from({ length: 3 }, () => "what was delivered is not known"));
  });

  test("is a completion of the prompt's ids and of those that gave text, with what is left of the limits", () => {
    const ask = askFor('{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true,"seed":12345678901234567890,"max_tokens":20,"min_tokens":5,"temperature":0.5,"chat_template_kwargs":{"a":1},"parallel_tool_calls":true,"stream_options":{"include_usage":false}}');
    const { path, body, parsed } = exactLeg(ask, given());
    expect(path).toBe("/v1/completions");
    expect(body).toContain('"seed":12345678901234567890');
    expect(parsed).toMatchObject({ model: "m", stream: true, prompt: [1, 2, 10, 11, 12], max_tokens: 17, min_tokens: 2, temperature: 0.5, add_special_tokens: false, return_token_ids: true, stream_options: { include_usage: true } });
    for (const name of ["messages", "chat_template_kwargs", "parallel_tool_calls"]) expect(parsed).not.toHaveProperty(name);
  });

  test("keeps all ids when stop strings hold text back, and looks for those itself", () => {
    const { parsed } = exactLeg(chat({ stop: ["x"] }), given());
    expect(parsed["prompt"]).toEqual([1, 2, 10, 11, 12, 13]);
    expect(parsed).not.toHaveProperty("stop");
  });

  test.each<[string, unknown, Ask]>([
    ["a chat without a limit goes on to the end of the context", null, chat()],
    ["the new name of the limit counts first", 7, chat({ max_completion_tokens: 10, max_tokens: 99 })],
    ["a completion's default is 16", 13, askFor('{"model":"m","prompt":"a"}', "/v1/completions")],
    ["a completion's null is no limit", null, askFor('{"model":"m","prompt":"a","max_tokens":null}', "/v1/completions")],
  ])("%s", (_, most, ask) => {
    expect(exactLeg(ask, given()).parsed["max_tokens"]).toBe(most);
  });
});

describe("from text", () => {
  test.each<[string, Ask, Delivered]>([
    ["tools", chat({ tools: [{}] }), given()],
    ["stop strings may lie over the seam", chat({ stop: "x" }), given()],
    ["its reasoning would have to be repeated", chat(), given({ reasoning: true })],
    ["its last message is the assistant's", chat({ messages: [...messages, { role: "assistant", content: "So" }] }), given()],
    ["token ids are wanted", chat({ return_token_ids: true }), given()],
    ["its prompt is no text", askFor('{"model":"m","prompt":[1,2]}', "/v1/completions"), given()],
    ["nothing is left to generate", chat({ max_completion_tokens: 3 }), given({ ids: false })],
  ])("is refused: %s", (why, ask, delivered) => {
    expect(textRefusal(ask, delivered)).toBe(why);
  });

  test.each([
    ["prefix", { role: "assistant", content: "The sea is", prefix: true }, {}],
    ["continue_final_message", { role: "assistant", content: "The sea is" }, { continue_final_message: true, add_generation_prompt: false }],
    ["plain", { role: "assistant", content: "The sea is" }, {}],
  ] as const)("%s: the delivered text without its space is the last message", (prefill, last, more) => {
    const { path, parsed } = textLeg(chat({ max_tokens: 20 }), given({ ids: false }), prefill);
    expect({ path, parsed }).toEqual({ path: "/v1/chat/completions", parsed: { model: "m", stream: true, max_tokens: 17, messages: [...messages, last], ...more } });
  });

  test("a completion's prompt has it at its end", () => {
    expect(textLeg(askFor('{"model":"m","prompt":"Tell:"}', "/v1/completions"), given({ ids: false }), "plain").parsed).toEqual({ model: "m", prompt: "Tell:The sea is", max_tokens: 13 });
  });
});

test("what is neither a chat nor a completion is not taken up", () => {
  expect(askOf("/v1/embeddings", { model: "m" }, "{}")).toBeUndefined();
});

test.each([["/v1/chat/completions", { n: 3 }, 3], ["/v1/completions", { prompt: ["a", "b"], n: 2 }, 4], ["/v1/completions", { prompt: [1, 2] }, 1], ["/v1/completions", { prompt: [[1], [2]] }, 2]])("%s with %j has so many choices", (path, body, choices) => {
  expect(askFor(JSON.stringify({ model: "m", ...body }), path).choices).toBe(choices);
});
