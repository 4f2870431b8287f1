import { describe, expect, test } from "vitest";
import { callUrl } from "./endpoint.ts";

describe("callUrl()", () => {
  test.each([
    ["https://api.openai.com/v1", "/v1", "/v1/chat/completions", "https://api.openai.com/v1/chat/completions"],
    ["https://api.openai.com/v1/", "/v1", "/v1/chat/completions", "https://api.openai.com/v1/chat/completions"],
    ["https://api.openai.com", "/v1", "/v1/embeddings", "https://api.openai.com/v1/embeddings"],
    ["https://api.openai.com//", "/v1", "/v1/embeddings", "https://api.openai.com/v1/embeddings"],
    ["http://127.0.0.1:8000", "/v1", "/v1/completions", "http://127.0.0.1:8000/v1/completions"],
    ["https://api.groq.com/openai", "/openai/v1", "/v1/chat/completions", "https://api.groq.com/openai/v1/chat/completions"],
    ["https://api.groq.com", "/openai/v1", "/v1/chat/completions", "https://api.groq.com/openai/v1/chat/completions"],
    ["https://openrouter.ai/api/v1", "/api/v1", "/v1/chat/completions", "https://openrouter.ai/api/v1/chat/completions"],
    ["https://api.deepseek.com/beta", "/v1", "/v1/chat/completions", "https://api.deepseek.com/beta/chat/completions"],
    ["https://gateway.example.com/llm", "/v1", "/v1/chat/completions", "https://gateway.example.com/llm/chat/completions"],
    ["https://a.example/version", "/v1", "/v1/models", "https://a.example/version/models"],
    ["https://res.openai.azure.com/openai/deployments/dep?api-version=2026-01-01", "/openai/v1", "/v1/chat/completions", "https://res.openai.azure.com/openai/deployments/dep/chat/completions?api-version=2026-01-01"],
    ["https://res.openai.azure.com/openai/deployments/dep/chat/completions?api-version=1", "/openai/v1", "/v1/chat/completions?api-version=2&x=y", "https://res.openai.azure.com/openai/deployments/dep/chat/completions?api-version=1&x=y"],
    ["https://a.example/v1#frag", "/v1", "/v1/models", "https://a.example/v1/models"],
    ["https://a.example/v1", "/v1", "/v1/models/org%2Fname", "https://a.example/v1/models/org%2Fname"],
    ["https://a.example/v1", "/v1", "/v1/a?next=//evil.example", "https://a.example/v1/a?next=%2F%2Fevil.example"],
  ])("%s, whose API is at %s, takes %s at %s", (endpoint, base, path, url) => {
    expect(callUrl(endpoint, base, path).href).toBe(url);
  });

  test.each(["/v1/../admin", "/v1/%2e%2e/admin", "/v1/..\\admin", "/v1/a/../../x"])("does not leave the API by %s", (path) => {
    expect(() => callUrl("https://a.example/v1", "/v1", path)).toThrow(/leads out/);
  });

  test.each(["//evil.example/v1", "/v1//evil.example", "/v1@evil.example", "https://evil.example/v1", "\\\\evil.example", ":@evil.example/"])("does not leave the host by %s", (path) => {
    let host = "a.example";
    try {
      host = callUrl("https://a.example/v1", "/v1", path).host;
    } catch {
      // refused is as good
    }
    expect(host).toBe("a.example");
  });
});
