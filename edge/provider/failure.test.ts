import { describe, expect, test } from "vitest";
import { allowedParam, outcomeOf, type UpstreamOutcome } from "./failure.ts";
import { contentFilter, contextLength, matches } from "./phrases.ts";
import { said } from "./said.ts";

const outcome = (status: number, body?: unknown): UpstreamOutcome => outcomeOf(status, said(typeof body === "string" || body === undefined ? body : JSON.stringify(body)));
const coded = (code: string | number, message = "m"): object => ({ error: { message, type: "x", param: null, code } });

describe("outcomeOf()", () => {
  test.each<[number, UpstreamOutcome]>([
    [301, "unable"], [303, "unable"], [400, "caller"], [401, "credential"], [402, "credential"], [403, "credential"], [404, "credential"], [405, "credential"], [408, "unable"], [409, "unable"], [410, "credential"], [413, "caller"],
    [418, "unable"], [422, "caller"], [425, "unable"], [429, "throttled"], [451, "credential"], [498, "throttled"], [499, "unable"], [500, "unable"], [502, "unable"], [503, "unable"], [504, "unable"], [529, "unable"], [599, "unable"],
  ])("by a status of %d alone: %s", (status, expected) => {
    expect(outcome(status)).toBe(expected);
    expect(outcome(status, "<html>no</html>")).toBe(expected);
    expect(outcome(status, { error: { message: "whatever", type: "x", param: null, code: null } })).toBe(expected);
  });

  test.each<[string, number, unknown, UpstreamOutcome]>([
    ["OpenAI, too long", 400, coded("context_length_exceeded"), "context_length"],
    ["llama.cpp, too long", 400, { error: { code: 400, message: "x", type: "exceed_context_size_error" } }, "context_length"],
    ["OpenAI, content", 400, coded("content_policy_violation"), "content_filter"],
    ["Azure, content", 400, { error: { code: "content_filter", innererror: { code: "ResponsibleAIPolicyViolation" } } }, "content_filter"],
    ["OpenRouter, moderation", 403, { error: { code: 403, message: "flagged", metadata: { reasons: [], flagged_input: "" } } }, "content_filter"],
    ["OpenAI, empty account", 429, coded("insufficient_quota"), "credential"],
    ["OpenAI, rate", 429, coded("rate_limit_exceeded"), "throttled"],
    ["Groq, more tokens than a minute has", 413, coded("rate_limit_exceeded"), "throttled"],
    ["Anthropic, too large", 413, { type: "error", error: { type: "request_too_large", message: "x" } }, "caller"],
    ["Anthropic, empty account", 400, { type: "error", error: { type: "invalid_request_error", message: "Your credit balance is too low to access the Anthropic API." } }, "credential"],
    ["Gemini, bad key", 400, [{ error: { code: 400, message: "API key not valid.", status: "INVALID_ARGUMENT", details: [{ reason: "API_KEY_INVALID" }] } }], "credential"],
    ["xAI, bad key", 400, { code: "Client specified an invalid argument", error: "Incorrect API key provided: xx." }, "credential"],
    ["OpenAI, no such model", 400, coded("model_not_found"), "credential"],
    ["Fireworks, scaling up", 503, coded("DEPLOYMENT_SCALING_UP"), "unable"],
    ["AWS, throttled", 400, { __type: "ThrottlingException", message: "Too many tokens, please wait" }, "throttled"],
    ["an error after 200, by its code", 200, coded(429), "throttled"],
    ["an error after 200, by its word", 200, { type: "error", error: { type: "rate_limit_error", message: "x" } }, "throttled"],
    ["an error after 200, too long", 200, coded(400, "This model's maximum context length is 10 tokens"), "context_length"],
    ["an error after 200, of no kind", 200, { error: { message: "x" } }, "unable"],
    ["an overload after 200", 200, { type: "error", error: { type: "overloaded_error", message: "x" } }, "unable"],
    ["a caller who writes of keys", 400, coded("invalid_value", "Invalid 'messages[0].role': your credit balance is too low; incorrect api key provided"), "caller"],
    ["a caller's text in a server's error", 500, coded("server_error", "maximum context length content management policy"), "unable"],
    ["a bad key whatever its text", 401, coded("x", "maximum context length"), "credential"],
  ])("%s", (_, status, body, expected) => {
    expect(outcome(status, body)).toBe(expected);
  });

  test.each([
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 8545 tokens.",
    "max_tokens=5000 cannot be greater than max_model_len=4096. Please request fewer output tokens. (parameter=max_tokens, value=5000)",
    "Your input exceeds the context window of this model.",
    "prompt is too long: 213462 tokens > 200000 maximum",
    "input length and `max_tokens` exceed context limit: 170636 + 34048 > 200000",
    "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).",
    "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
    "Please reduce the length of the messages or completion.",
    "Input is too long for requested model.",
    "The input (263000 tokens) is longer than the model's context length (262144 tokens).",
    "the request exceeds the available context size, try increasing it",
    "The number of tokens to keep from the initial prompt is greater than the context length.",
    "the input length exceeds the context length",
    "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000",
    "Input length 131393 exceeds the maximum allowed input length of 131040 tokens.",
    "invalid params, context window exceeds limit",
    "Your request exceeded model token limit: 262144",
  ])("too long by its phrase: %s", (message) => {
    expect(outcome(400, { object: "error", message, type: "BadRequestError", param: null, code: 400 })).toBe("context_length");
    expect(outcome(422, { detail: message })).toBe("context_length");
    expect(outcome(400, message)).toBe("context_length");
  });

  test.each([
    "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
    "Your request was rejected as a result of our safety system.",
    "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
    "Output blocked by content filtering policy",
    "Content Exists Risk",
    "Input data may contain inappropriate content.",
  ])("content by its phrase: %s", (message) => {
    expect(outcome(400, coded("invalid_request_error", message))).toBe("content_filter");
  });

  test.each(["max_tokens must be positive", "too many tokens, please wait", "the tool's input is too long", "context is required", "policy is not a field"])("neither by: %s", (message) => {
    expect(matches(contextLength, message) || matches(contentFilter, message)).toBe(false);
  });
});

describe("allowedParam()", () => {
  test.each([
    ["max_tokens", "max_tokens"], ["messages", "messages"], ["messages[3]", "messages[3]"], ["messages[3].content[0].text", "messages[3]"], ["messages.3.content", "messages[3]"], ["body.temperature", "temperature"],
    ["tools[0].function.parameters", "tools[0]"], ["response_format.json_schema.schema", "response_format"], ["messages[99999]", "messages"],
    ["secret", null], ["", null], [undefined, null], ["messages<script>", null], ["max_tokens of sk-123", null], ["__proto__", null], ["constructor", null], ["MESSAGES", null],
  ])("%s is told as %s", (param, expected) => {
    expect(allowedParam(param)).toBe(expected);
  });
});
