import { expect, test } from "vitest";
import { unknownPath } from "./unknownPath.ts";

test.each<[string, string, string, string | undefined]>([
  ["GET", "/v1/chat/completions", "Cannot GET /v1/chat/completions: use POST", "POST"],
  ["POST", "/v1/models", "Cannot POST /v1/models: use GET", "GET, HEAD"],
  ["DELETE", "/v1/models/org/model", "Cannot DELETE /v1/models/org/model: use GET", "GET, HEAD"],
  ["POST", "/metrics", "Cannot POST /metrics: use GET", "GET, HEAD"],
  ["POST", "/chat/completions", "Cannot POST /chat/completions: there is no such path; did you mean /v1/chat/completions?", undefined],
  ["POST", "/v1/v1/embeddings", "Cannot POST /v1/v1/embeddings: there is no such path; did you mean /v1/embeddings?", undefined],
  ["POST", "//v1//completions/", "Cannot POST //v1//completions/: there is no such path; did you mean /v1/completions?", undefined],
  ["POST", "/v1/responses", "Cannot POST /v1/responses: there is no such path; of OpenAI's, chat/completions, completions, embeddings and models are served", undefined],
  ["GET", "/", "Cannot GET /: there is no such path", undefined],
  ["GET", "/favicon.ico", "Cannot GET /favicon.ico: there is no such path", undefined],
])("unknownPath(%s %s)", (method, path, message, allow) => {
  const { error, allow: methods } = unknownPath(method, path);
  expect([error.status, error.message, methods]).toEqual([allow === undefined ? 404 : 405, message, allow]);
});
