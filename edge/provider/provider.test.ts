import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { providerSchema, type Provider } from "../../schema/bundle.ts";
import { errorEnvelope } from "../../schema/errors.ts";
import { endsStream, providerRequest, upstreamError, type Sending } from "./provider.ts";

const provider = (fields: Partial<Provider> = {}): Provider => providerSchema.parse({ name: "p", endpoint: "https://api.example.com/v1", dialect: "openai", ...fields });

function sending(parsed: Record<string, unknown>, fields: Partial<Sending> = {}): Sending {
  return { path: "/v1/chat/completions", method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(parsed), parsed, ...fields };
}

describe("providerRequest()", () => {
  test("sends the same text when nothing has to change", () => {
    const given = sending({ model: "m", top_k: 3 });
    expect(providerRequest(provider(), "k", given).body).toBe(given.body);
    expect(providerRequest(provider({ model: "m" }), "k", given).body).toBe(given.body);
  });

  test("gives the provider its own name for the model, and keeps everything else as it was written", () => {
    const text = '{"model":"ours", "seed": 9007199254740993,\n"messages":[]}';
    const request = providerRequest(provider({ model: "org/theirs" }), "k", sending({}, { body: text, parsed: JSON.parse(text) as Record<string, unknown> }));
    expect(request.body).toBe('{"model":"org/theirs","seed": 9007199254740993,"messages":[]}');
  });

  test("passes on what it cannot read: a stream, no body, a body that is no object", () => {
    const stream = new ReadableStream();
    expect(providerRequest(provider({ model: "b" }), "k", sending({ model: "a" }, { body: stream })).body).toBe(stream);
    expect(providerRequest(provider({ model: "b" }), "k", sending({}, { body: null, parsed: undefined })).body).toBeNull();
    expect(providerRequest(provider({ model: "b" }), "k", sending({}, { body: "not JSON", parsed: undefined })).body).toBe("not JSON");
  });

  test.each([
    ["https://api.openai.com/v1", "sk-1", { authorization: "Bearer sk-1" }],
    ["https://res.openai.azure.com/openai/v1", "abc", { "api-key": "abc" }],
    ["https://res.openai.azure.com/openai/v1", "eyJhbGciOi.eyJzdWIi.c2ln", { authorization: "Bearer eyJhbGciOi.eyJzdWIi.c2ln" }],
    ["https://fal.run/openrouter/router/openai/v1", "k", { authorization: "Key k" }],
    ["https://model-x.api.baseten.co/environments/e/sync/v1", "k", { authorization: "Api-Key k" }],
    ["https://ws--app-fn.modal.run/v1", "wk-1ws-2", { authorization: "Bearer wk-1ws-2" }],
    ["https://vllm.example.com/v1", undefined, {}],
  ])("proves itself to %s with %s", (endpoint, key, expected) => {
    const { headers } = providerRequest(provider({ endpoint }), key, sending({}));
    expect(headers).toEqual({ "content-type": "application/json", ...expected });
  });

  test("keeps what the client proved itself with, and what proxies noted", () => {
    const client = Object.fromEntries(["Authorization", "x-api-key", "api-key", "Cookie", "Host", "Connection", "Content-Length", "Transfer-Encoding", "x-forwarded-for", "x-real-ip", "cf-connecting-ip", "proxy-authorization", "x-fairlead-request", "x-stainless-os", "forwarded"].map((name) => [name, "client's"]));
    const { headers } = providerRequest(provider(), undefined, sending({}, { headers: { ...client, Accept: "text/event-stream", "openai-beta": "x" } }));
    expect(headers).toEqual({ accept: "text/event-stream", "openai-beta": "x" });
  });

  test("of headers that nobody changes what is made is remembered, for one key of one provider", () => {
    const headers = Object.freeze({ "content-type": "application/json" });
    const [one, other] = [provider(), provider()];
    const { headers: first } = providerRequest(one, "k", sending({}, { headers }));
    expect(Object.fromEntries(first as Headers)).toEqual({ "content-type": "application/json", authorization: "Bearer k" });
    expect(providerRequest(one, "k", sending({}, { headers })).headers).toBe(first);
    expect(providerRequest(other, "k", sending({}, { headers })).headers).not.toBe(first);
    expect((providerRequest(one, "l", sending({}, { headers })).headers as Headers).get("authorization")).toBe("Bearer l");
    expect(providerRequest(one, "l", sending({}, { headers: { ...headers, "openai-beta": "x" } })).headers).toHaveProperty("openai-beta", "x");
  });

  test("adds the provider's headers, which cannot set the credential, the host or the connection's", () => {
    const own = { "OpenAI-Organization": "org", "Modal-Key": "wk", Authorization: "Bearer stolen", HOST: "evil.example", Connection: "close", "transfer-encoding": "chunked", "Content-Length": "0", Upgrade: "x", TE: "x", "bad name": "x", "x-bad": "a\r\nb: c" };
    expect(providerRequest(provider({ headers: own }), "k", sending({})).headers).toEqual({ "content-type": "application/json", "openai-organization": "org", "modal-key": "wk", authorization: "Bearer k" });
    expect(providerRequest(provider({ endpoint: "https://r.openai.azure.com", headers: { "Api-Key": "stolen" } }), "k", sending({})).headers).toHaveProperty("api-key", "k");
    expect(providerRequest(provider({ headers: own }), undefined, sending({})).headers).not.toHaveProperty("authorization");
  });

  test("whatever a request says, it goes to the provider's host", () => {
    const endpoint = fc.constantFrom("https://api.openai.com/v1", "https://api.openai.com", "https://gpu.example.com:8443/a/b", "http://127.0.0.1:8000", "https://res.openai.azure.com/openai/deployments/d?api-version=1");
    const hint = fc.constantFrom("api_base", "base_url", "host", "url", "endpoint", "model", "organization", "proxy", "custom_llm_provider", "azure_endpoint", "user");
    const value = fc.oneof(fc.webUrl(), fc.constantFrom("//evil.example", "@evil.example", "https://evil.example\\@x", "/../..", "\r\nhost: evil.example"), fc.jsonValue());
    const path = fc.oneof(fc.constantFrom("/v1/chat/completions", "/v1/embeddings", "//evil.example", "/v1//evil.example/x", "https://evil.example/", "@evil.example", ":80@evil.example", "/v1/\\evil.example", "?x=https://evil.example", "/v1/x?api-version=//evil"), fc.string(), fc.webPath());
    fc.assert(
      fc.property(endpoint, fc.dictionary(hint, value, { noNullPrototype: true }), path, fc.option(fc.string(), { nil: undefined }), fc.dictionary(hint, fc.webUrl(), { noNullPrototype: true }), (given, body, called, model, headers) => {
        let url: string;
        try {
          ({ url } = providerRequest(provider({ endpoint: given, model }), "k", sending(body, { path: called, headers })));
        } catch (error) {
          expect(error).toMatchObject({ code: "not_found" });
          return;
        }
        const expected = new URL(given);
        const actual = new URL(url);
        expect([actual.protocol, actual.host, actual.username, actual.password]).toEqual([expected.protocol, expected.host, "", ""]);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe("upstreamError()", () => {
  test.each([
    [400, { error: { message: "m", code: "context_length_exceeded", param: "messages" } }, {}, "context_length", 400, "context_length_exceeded", "messages"],
    [400, { object: "error", message: "maximum context length", code: 400 }, { path: "/v1/completions" }, "context_length", 400, "context_length_exceeded", "prompt"],
    [400, { object: "error", message: "maximum context length", code: 400 }, { path: "/v1/chat/completions" }, "context_length", 400, "context_length_exceeded", "messages"],
    [400, { object: "error", message: "maximum context length", code: 400 }, { path: "/v1/embeddings" }, "context_length", 400, "context_length_exceeded", "input"],
    [400, { error: { code: "content_filter", param: "prompt" } }, {}, "content_filter", 400, "content_filter", "prompt"],
    [400, { error: { message: "m", code: "unsupported_parameter", param: "top_k" } }, {}, "caller", 400, "unsupported_parameter", "top_k"],
    [422, { detail: [{ type: "missing", loc: ["body", "messages", 0, "role"], msg: "Field required" }] }, {}, "caller", 400, "invalid_request", "messages[0]"],
    [413, undefined, {}, "caller", 413, "body_too_large", null],
    [400, "<html>", {}, "caller", 400, "invalid_request", null],
    [401, { error: { code: "invalid_api_key", message: "Incorrect API key provided: sk-secret" } }, {}, "credential", 502, "provider_refused", null],
    [404, { error: { code: "model_not_found", param: "model" } }, {}, "credential", 502, "provider_refused", null],
    [429, {}, { retryAfterMs: 7_000 }, "throttled", 429, "saturated", null],
    [503, undefined, {}, "unable", 502, "provider_error", null],
  ] as const)("%d %j with %j is %s, told as %d %s", (status, body, options, outcome, told, code, param) => {
    const result = upstreamError(status, typeof body === "string" || body === undefined ? body : JSON.stringify(body), options);
    expect(result.outcome).toBe(outcome);
    expect(result.error).toMatchObject({ status: told, code, param });
  });

  test.each([[404, "does not know the model by the name that it was sent"], [401, "does not grant us the call"]])("%d: says that the upstream %s", (status, says) => {
    expect(upstreamError(status, "").error.message).toContain(says);
  });

  test("waits as long as the provider asks", () => {
    expect(upstreamError(429, "", { retryAfterMs: 7_000 }).error.retryAfterMs).toBe(7_000);
    expect(upstreamError(429, "").error.retryAfterMs).toBe(1_000);
  });

  test("never repeats what an upstream wrote, nor answers with its 401", () => {
    const secret = fc.constantFrom("0x7f3a heap", "sk-live-123", "\u001b[31mred", "http://10.0.0.1:8000/internal", "Bearer abc");
    const status = fc.constantFrom(200, 302, 400, 401, 402, 403, 404, 409, 413, 422, 429, 498, 500, 503, 529);
    fc.assert(
      fc.property(status, secret, fc.jsonValue(), (given, text, other) => {
        const bodies = [text, { error: { message: text, code: text, type: text, param: text, status: text } }, { detail: [{ loc: ["body", text], msg: text, type: text }] }, { object: "error", message: text, param: text }, { error: text }, { type: "error", error: { type: text, message: text } }, other];
        for (const body of bodies) {
          const { error } = upstreamError(given, typeof body === "string" ? body : JSON.stringify(body));
          expect(JSON.stringify(errorEnvelope(error))).not.toContain(JSON.stringify(text).slice(1, -1));
          expect([401, 402, 403, 404]).not.toContain(error.status);
          expect(error.cause).toBeUndefined();
        }
      }),
    );
  });
});

test.each([
  [{ data: "[DONE]" }, true], [{ data: " [DONE]\n" }, true], [{ data: "{}" }, false], [{ data: "" }, false], [{ data: '{"choices":[{"finish_reason":"stop"}]}' }, false],
  [{ event: "response.completed", data: "{}" }, true], [{ event: "response.failed", data: "{}" }, true], [{ event: "response.incomplete", data: "{}" }, true], [{ event: "response.output_text.done", data: "{}" }, false],
])("endsStream() of %j is %s", (event, expected) => {
  expect(endsStream("openai", event)).toBe(expected);
});
