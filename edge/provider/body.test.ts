import { describe, expect, test } from "vitest";
import { changed, untypedChanges, vendorChanges } from "./body.ts";
import { isEngineField, unknownVendor, vendorOf, vendors } from "./vendors.ts";

const chat = "/v1/chat/completions";

/** What a vendor is sent for a body. */
function sent(hostname: string, body: Record<string, unknown>, path = chat): unknown {
  return JSON.parse(changed(JSON.stringify(body), vendorChanges(vendorOf(hostname), path, body)));
}

describe("vendorOf()", () => {
  test.each([
    ["api.openai.com", "openai"], ["eu.api.openai.com", "openai"], ["my-res.openai.azure.com", "azure"], ["my-res.services.ai.azure.com", "azure"], ["api.fireworks.ai", "fireworks"], ["api.together.xyz", "together"],
    ["bedrock-runtime.eu-west-1.amazonaws.com", "bedrock"], ["model-abc.api.baseten.co", "baseten-model"], ["vllm.example.com", "unknown"], ["api.openai.com.evil.example", "unknown"], ["notapi.openai.com", "unknown"], ["evilopenrouter.ai", "unknown"],
  ])("%s is %s", (hostname, name) => {
    expect(vendorOf(hostname).name).toBe(name);
  });

  test("each has a name of its own, and a base that can be joined", () => {
    expect(new Set(vendors.map(({ name }) => name)).size).toBe(vendors.length);
    for (const { base } of [...vendors, unknownVendor]) expect(base).toMatch(/^(\/[\w-]+)+$/);
  });
});

describe("vendorChanges()", () => {
  const engine = { top_k: 5, min_p: 0.1, guided_json: {}, chat_template_kwargs: { enable_thinking: false } };

  test.each<[string, string, Record<string, unknown>, Record<string, unknown>]>([
    ["OpenAI refuses engines' fields", "api.openai.com", { n: 1, ...engine }, { n: 1 }],
    ["Azure refuses them", "r.openai.azure.com", { n: 1, ...engine }, { n: 1 }],
    ["Groq refuses them, and probabilities", "api.groq.com", { n: 1, logprobs: true, top_logprobs: 3, ...engine }, { n: 1 }],
    ["Fireworks takes some", "api.fireworks.ai", { n: 1, ...engine }, { n: 1, top_k: 5, min_p: 0.1 }],
    ["OpenRouter takes all", "openrouter.ai", { n: 1, ...engine }, { n: 1, ...engine }],
    ["an unknown host takes all", "vllm.example.com", { n: 1, anything: { of: "mine" }, ...engine }, { n: 1, anything: { of: "mine" }, ...engine }],
    ["OpenAI knows the new name of the limit", "api.openai.com", { max_tokens: 5 }, { max_completion_tokens: 5 }],
    ["OpenAI keeps the new one of two", "api.openai.com", { max_tokens: 5, max_completion_tokens: 6 }, { max_completion_tokens: 6 }],
    ["Mistral knows the old one", "api.mistral.ai", { max_completion_tokens: 5 }, { max_tokens: 5 }],
    ["Mistral keeps the old one of two", "api.mistral.ai", { max_tokens: 5, max_completion_tokens: 6 }, { max_tokens: 5 }],
    ["Mistral has its own name for the seed, and refuses what it does not know", "api.mistral.ai", { seed: 1, store: false, stream: true, stream_options: { include_usage: true }, user: "u", tools: [] }, { random_seed: 1, stream: true }],
    ["DeepSeek knows the old one", "api.deepseek.com", { max_completion_tokens: 5 }, { max_tokens: 5 }],
    ["Together knows the old one", "api.together.ai", { max_completion_tokens: 5, top_k: 1 }, { max_tokens: 5, top_k: 1 }],
    ["engines take no nulls", "vllm.example.com", { temperature: null, n: null, stop: "x" }, { stop: "x" }],
    ["vendors take them", "openrouter.ai", { temperature: null }, { temperature: null }],
  ])("%s", (_, hostname, body, expected) => {
    expect(sent(hostname, { model: "m", ...body })).toEqual({ model: "m", ...expected });
  });

  test("text completions keep the old name of the limit", () => {
    expect(sent("api.openai.com", { max_tokens: 5 }, "/v1/completions")).toEqual({ max_tokens: 5 });
  });

  test("knows every guided_ field", () => {
    expect(isEngineField("guided_whatever")).toBe(true);
    expect(isEngineField("temperature")).toBe(false);
  });
});

describe("untypedChanges()", () => {
  test.each<[Record<string, unknown>, string[]]>([
    [{ encoding_format: null, dimensions: null, user: "" }, ["encoding_format", "dimensions", "user"]],
    [{ encoding_format: "" }, ["encoding_format"]],
    // no limit is something else than the default limit
    [{ max_tokens: null, max_completion_tokens: null, model: null, prompt: null, input: null, messages: null }, []],
    [{ tools: [], tool_choice: "auto", parallel_tool_calls: true }, ["tools", "tool_choice", "parallel_tool_calls"]],
    [{ tools: [{}], tool_choice: "auto" }, []],
    [{ messages: [], input: "", prompt: "", metadata: {}, n: 0, echo: false }, []],
    [{ stop: [], suffix: "", response_format: {} }, ["stop", "suffix", "response_format"]],
  ])("%j loses %j", (body, names) => {
    expect([...untypedChanges(body).keys()].sort()).toEqual([...names].sort());
  });
});
