import { describe, expect, test } from "vitest";
import { said } from "./said.ts";

describe("said()", () => {
  test.each<[string, unknown, object]>([
    ["OpenAI", { error: { message: "no", type: "invalid_request_error", param: "max_tokens", code: "unsupported_parameter" } }, { words: ["unsupported_parameter", "invalid_request_error"], param: "max_tokens", text: "no", status: undefined }],
    ["Anthropic", { type: "error", error: { type: "overloaded_error", message: "Overloaded" } }, { words: ["overloaded_error"], text: "Overloaded" }],
    ["vLLM, flat", { object: "error", message: "too long", type: "BadRequestError", param: null, code: 400 }, { words: ["badrequesterror"], text: "too long", status: 400, param: undefined }],
    ["vLLM, with error", { error: { message: "too long", type: "BadRequestError", param: "input_tokens", code: 400 } }, { text: "too long", status: 400, param: "input_tokens" }],
    ["FastAPI, text", { detail: "Not Found" }, { text: "Not Found", words: [] }],
    ["FastAPI, list", { detail: [{ type: "extra_forbidden", loc: ["body", "messages", 2, "name"], msg: "Extra inputs are not permitted" }] }, { words: ["extra_forbidden"], param: "messages[2]", text: "Extra inputs are not permitted" }],
    ["Mistral", { object: "error", message: { detail: [{ type: "extra_forbidden", loc: ["body", "store"], msg: "Extra" }] }, type: "invalid_request_error", param: null, code: null }, { words: ["invalid_request_error", "extra_forbidden"], param: "store", text: "Extra" }],
    ["Google", [{ error: { code: 400, message: "API key not valid", status: "INVALID_ARGUMENT", details: [{ reason: "API_KEY_INVALID" }] } }], { words: ["invalid_argument", "api_key_invalid"], status: 400 }],
    ["Azure", { error: { code: "content_filter", status: 400, innererror: { code: "ResponsibleAIPolicyViolation" } } }, { words: ["content_filter", "responsibleaipolicyviolation"], status: 400 }],
    ["OpenRouter, moderation", { error: { code: 403, message: "flagged", metadata: { reasons: ["x"], flagged_input: "y" } } }, { words: ["content_filter"], status: 403 }],
    ["AWS", { __type: "com.amazon.coral#ThrottlingException", message: "Too many tokens" }, { words: ["throttlingexception"], text: "Too many tokens" }],
    ["Ollama", { error: "model 'x' not found" }, { text: "model 'x' not found" }],
    ["RFC 9457", { type: "about:blank", title: "Throttled", status: 429, detail: "Slow down" }, { status: 429, text: "Slow down" }],
    ["a code that is a status", { error: { message: "m", code: "400" } }, { status: 400 }],
  ])("reads %s", (_, body, expected) => {
    expect(said(JSON.stringify(body))).toMatchObject(expected);
  });

  test.each([[undefined], [""], ["<html>502 Bad Gateway</html>"], ["null"], ["[]"], ["7"], ['"text"'], ['{"error":null}'], ['{"error":[1]}'], ['{"detail":[null,1,{}]}'], ["{"], ['{"error":{"details":{"x":1},"metadata":5}}']])("survives %j", (body) => {
    expect(said(body)).toMatchObject({ words: [], param: undefined, status: undefined });
  });

  test("does not take a large body apart, and keeps its beginning only", () => {
    expect(said(JSON.stringify({ error: { code: "x", message: "y".repeat(100_000) } }))).toMatchObject({ words: [] });
    expect(said("z".repeat(100_000)).text).toHaveLength(2_000);
    expect(said(JSON.stringify({ message: "y".repeat(10_000) })).text).toHaveLength(2_000);
  });
});
