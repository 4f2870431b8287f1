import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isGuarded, mayPass, refusal } from "./gatePaths.ts";

const probe = { path: "/health", initialDelayMs: 0, timeoutMs: 1, intervalMs: 1, failureThresholdMs: 0, headers: {} };
const engine = { gate: "openai" as const, probe };
const passes = (method: string, path: string, extra: string[] = []): boolean => mayPass(engine, { method, path }, extra);

describe("mayPass()", () => {
  test.each([
    ["POST", "/v1/chat/completions"], ["POST", "/v1/completions?x=1"], ["POST", "/v1/embeddings"], ["GET", "/v1/models"], ["GET", "/v1/models/meta-llama/Llama-3.3-70B"],
    ["GET", "/v1/models/meta-llama%2FLlama"], ["POST", "/v1/responses"], ["GET", "/v1/responses/resp_1"], ["POST", "/v1/responses/resp_1/cancel"], ["POST", "/v1/messages"], ["POST", "/v1/rerank"],
    ["POST", "/v1/audio/transcriptions"], ["GET", "/v1/realtime"], ["POST", "/tokenize"], ["POST", "/detokenize"], ["GET", "/health"], ["HEAD", "/"], ["GET", "/version"],
  ])("lets %s %s through to an engine", (method, path) => {
    expect(passes(method, path)).toBe(true);
  });

  // facts/engines.md §9, and each engine's own administration
  test.each([
    "/collective_rpc", "/sleep", "/wake_up", "/is_sleeping", "/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/invocations", "/pause", "/resume", "/update_weights", "/scale_elastic_ep", "/reset_prefix_cache",
    "/start_profile", "/server_info", "/abort_requests", "/update_weights_from_disk", "/flush_cache", "/release_memory_occupation", "/init_weights_update_group", "/load_lora_adapter", "/lora-adapters", "/slots/0?action=erase",
    "/props", "/models/load", "/api/pull", "/api/push", "/api/create", "/api/delete", "/api/copy", "/api/blobs/sha256:0", "/shutdown", "/docs", "/openapi.json", "/metrics", "/v2/repository/models/x/load",
  ])("lets nobody reach %s", (path) => {
    for (const method of ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]) expect(passes(method, path)).toBe(false);
  });

  test.each([
    "//v1/chat/completions", "/v1/chat/completions/", "/v1/chat/../../sleep", "/v1/models/../../sleep", "/v1/models/%2e%2e/%2e%2e/sleep", "/v1/models/..%2f..%2fsleep", "/v1/models/.%2e/sleep", "/v1/models/a\\..\\sleep", "/v1/models//x",
    "/%76%31/chat/completions", "/V1/chat/completions", "/v1/chat/completions;x=1", "/v1/chat/completions%00", "/v1/chat/completions#x", "/v1/responses/../../pause", "/v1/files/%252e%252e/x%",
  ])("knows no other spelling: %s", (path) => {
    expect(passes("POST", path)).toBe(false);
    expect(passes("GET", path)).toBe(false);
  });

  test("by whatever method and path, nothing passes whose normal form is not on the list", () => {
    const part = fc.constantFrom("v1", "models", "responses", "..", ".", "%2e%2e", "sleep", "collective_rpc", "x", "", "%2f", "\\", "a%2F..");
    fc.assert(
      fc.property(fc.constantFrom("GET", "POST", "DELETE"), fc.array(part, { maxLength: 7 }), (method, parts) => {
        const path = `/${parts.join("/")}`;
        if (!passes(method, path)) return;
        const normal = new URL(decodeURIComponent(path).replaceAll("\\", "/"), "http://engine").pathname;
        expect(normal).not.toMatch(/^\/+(sleep|collective_rpc)/);
        expect(decodeURIComponent(path).split(/[/\\]/)).not.toContain("..");
      }),
      { numRuns: 5_000 },
    );
  });

  test("lets through what the host's owner allows beside it, and no more", () => {
    expect(passes("POST", "/v1/custom", ["/v1/custom"])).toBe(true);
    expect(passes("GET", "/extra/a/b?c", ["/extra/*"])).toBe(true);
    expect(passes("GET", "/extra/../sleep", ["/extra/*"])).toBe(false);
    expect(passes("GET", "/extra/%2e%2e/sleep", ["/extra/*"])).toBe(false);
    expect(passes("POST", "/v1/custom/more", ["/v1/custom"])).toBe(false);
  });

  test("lets everything through to a service that is no engine", () => {
    for (const path of ["/", "/any/path", "/sleep"]) expect(mayPass({ gate: "any", probe }, { method: "PATCH", path }, [])).toBe(true);
  });
});

test.each([
  ["openai", "/health", true], ["any", "/v1/models", false], [undefined, "/v1/models", true], [undefined, "/", false],
] as const)("isGuarded() takes the task's word %s before its probe's path %s", (gate, path, guarded) => {
  expect(isGuarded({ probe: { ...probe, path }, ...(gate === undefined ? {} : { gate }) })).toBe(guarded);
});

test("refusal() is OpenAI's envelope with 403, and does not repeat the query", () => {
  const { status, body } = refusal({ method: "POST", path: "/sleep?secret=1" });
  expect([status, JSON.parse(body)]).toEqual([403, { error: { message: expect.stringContaining("Cannot POST /sleep: the host's gate") as string, type: "invalid_request_error", param: null, code: "permission_denied" } }]);
});
