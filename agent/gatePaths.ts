import type { Task } from "../schema/task.ts";

/**
 * What the gate lets through to an engine: OpenAI's API as the engines serve it, the tokenizer beside it, and what says that it is
 * alive. Never what changes the engine or the host: LoRA adapters, sleep and wake, weights, profiling, remote calls, shutdown, and
 * never what one could find by another spelling of a path (facts/engines.md §9: vLLM's own key does not guard them).
 */
const inference = [
  "chat/completions", "chat/completions/input_tokens", "chat/completions/render", "chat/completions/derender", "completions", "completions/render", "embeddings", "responses", "responses/input_tokens",
  "messages", "messages/count_tokens", "moderations", "rerank", "score", "classify", "pooling", "realtime",
  "audio/transcriptions", "audio/translations", "audio/speech", "images/generations", "images/edits", "images/variations", "files", "batches",
];
const posts = new Set([
  ...inference.map((path) => `/v1/${path}`),
  // beside /v1: vLLM, SGLang, llama.cpp, TGI, Ollama
  "/tokenize", "/detokenize", "/rerank", "/v2/rerank", "/score", "/classify", "/pooling", "/inference/v1/generate",
  "/completion", "/completions", "/embedding", "/embeddings", "/apply-template", "/infill",
  "/generate", "/generate_stream", "/encode", "/chat_tokenize",
  "/api/chat", "/api/generate", "/api/embed", "/api/embeddings", "/api/show",
]);
const gets = new Set([
  "/", "/v1", "/v1/models", "/v1/realtime", "/v1/files", "/v1/batches", "/models", "/version", "/api/version", "/api/tags", "/api/ps",
  "/health", "/healthz", "/health_generate", "/v1/health/live", "/v1/health/ready", "/v2/health/live", "/v2/health/ready", "/live", "/ready", "/readyz", "/livez", "/ping", "/get_model_info", "/model_info", "/info", "/tokenizer_info",
]);
/** Below these a thing is named: one or more plain segments, of which none leads up. */
const named = [
  { prefix: "/v1/models/", methods: ["GET", "HEAD"] },
  { prefix: "/v1/responses/", methods: ["GET", "HEAD", "POST", "DELETE"] },
  { prefix: "/v1/chat/completions/", methods: ["GET", "HEAD", "DELETE"] },
  { prefix: "/v1/files/", methods: ["GET", "HEAD", "DELETE"] },
  { prefix: "/v1/batches/", methods: ["GET", "HEAD", "POST"] },
];
const plainSegments = /^[A-Za-z0-9_.:@~-]+(?:(?:\/|%2[Ff])[A-Za-z0-9_.:@~-]+)*$/;

export interface Asked {
  method: string;
  /** Path and query. */
  path: string;
}

/** Whether a task's replica is an engine whose other paths are nobody's to call. */
export function isGuarded({ gate, probe }: Pick<Task, "gate" | "probe">): boolean {
  return (gate ?? (probe.path.startsWith("/v1") ? "openai" : "any")) === "openai";
}

/**
 * Whether the gate lets a request through to a replica.
 *
 * @param extra what the host's owner allows beside the list: whole paths, or with `*` at the end all that begin so
 * @example mayPass({ gate: "openai", probe }, { method: "POST", path: "/sleep" }, []) // false
 */
export function mayPass(task: Pick<Task, "gate" | "probe">, { method, path }: Asked, extra: readonly string[]): boolean {
  if (!isGuarded(task)) return true;
  const [plain = ""] = path.split("?", 1);
  if (extra.some((one) => (one.endsWith("*") ? plain.startsWith(one.slice(0, -1)) && !leadsUp(plain) : plain === one))) return true;
  if (method === "POST" || method === "OPTIONS") if (posts.has(plain)) return true;
  if (method === "GET" || method === "HEAD" || method === "OPTIONS") if (gets.has(plain)) return true;
  return named.some(({ prefix, methods }) => methods.includes(method) && plain.startsWith(prefix) && plainSegments.test(plain.slice(prefix.length)) && !leadsUp(plain));
}

/** A segment of dots, written out or encoded, that another reader of the path may take for a step up. */
function leadsUp(path: string): boolean {
  return path.split(/\/|%2[Ff]|\\|%5[Cc]/).some((segment) => /^(?:\.|%2[Ee]){1,2}$/.test(segment));
}

/** The answer to a request that the gate does not let through: OpenAI's envelope with the status 403. */
export function refusal({ method, path }: Asked): { status: number; headers: [string, string][]; body: string } {
  const [plain = ""] = path.split("?", 1);
  const message = `Cannot ${method.slice(0, 16)} ${plain.slice(0, 200)}: the host's gate lets only inference through to this service; its owner can allow more with paths: in the agent's configuration`;
  const body = JSON.stringify({ error: { message, type: "invalid_request_error", param: null, code: "permission_denied" } });
  return { status: 403, headers: [["content-type", "application/json"], ["x-should-retry", "false"]], body };
}
