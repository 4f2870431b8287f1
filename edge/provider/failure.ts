import { FairleadError } from "../../schema/errors.ts";
import type { Said } from "./dialect.ts";
import { contentFilter, contextLength, credential, matches } from "./phrases.ts";

/**
 * Whose fault an upstream's error is, and so what becomes of the request (facts/openai-wire.md section 12):
 * `caller` and `content_filter` go back as they are, `context_length` may go to a larger window, `credential` (a key, an account, a
 * model or a path that the provider does not grant us) parks the provider, `throttled` parks it until it has room, `unable` counts
 * against it.
 */
export type UpstreamOutcome = "caller" | "context_length" | "content_filter" | "credential" | "throttled" | "unable";

/** Codes, types and reasons that say what happened, whatever the status says. */
const words: Readonly<Record<Exclude<UpstreamOutcome, "caller">, readonly string[]>> = {
  content_filter: ["content_filter", "content_policy_violation", "responsibleaipolicyviolation", "data_inspection_failed", "moderation_blocked"],
  context_length: ["context_length_exceeded", "exceed_context_size_error", "context_window_exceeded"],
  credential: [
    "invalid_api_key", "api_key_invalid", "incorrect_api_key", "authentication_error", "invalid_authentication_error", "unauthenticated", "unauthorized", "permission_error", "permission_denied", "access_terminated", "account_deactivated",
    "insufficient_quota", "insufficient_balance", "insufficient_credits", "billing_error", "billing_hard_limit_reached", "billing_not_active", "arrearage",
    "model_not_found", "deploymentnotfound", "not_found_error", "accessdeniedexception", "unrecognizedclientexception", "expiredtokenexception",
  ],
  throttled: ["rate_limit_exceeded", "rate_limit_error", "rate_limited", "too_many_requests", "resource_exhausted", "throttlingexception"],
  unable: ["overloaded_error", "engine_overloaded", "deployment_scaling_up", "server_error", "api_error", "internal_server_error", "internalservererror", "internal_error_proxy", "internal", "service_unavailable", "unavailable", "timeout_error", "modelnotreadyexception"],
};

function by(said: Said, ...outcomes: Exclude<UpstreamOutcome, "caller">[]): UpstreamOutcome | undefined {
  return outcomes.find((outcome) => words[outcome].some((word) => said.words.includes(word)));
}

function byRequest(said: Said): UpstreamOutcome {
  const word = by(said, "content_filter", "context_length", "credential", "throttled", "unable");
  if (word !== undefined) return word;
  if (matches(credential, said.text)) return "credential";
  if (matches(contentFilter, said.text)) return "content_filter";
  if (matches(contextLength, said.text)) return "context_length";
  return "caller";
}

export function outcomeOf(status: number, said: Said): UpstreamOutcome {
  switch (status) {
    case 400:
    case 413:
    case 422:
      return byRequest(said);
    case 403:
    case 451:
      return by(said, "content_filter") ?? "credential";
    case 401:
    case 402:
    case 404:
    case 405:
    case 407:
    case 410:
      return "credential";
    case 429:
      // an empty account is no crowd: waiting does not help
      return by(said, "credential") ?? "throttled";
    // Groq: its flexible tier has no room
    case 498:
      return "throttled";
  }
  if (status >= 200 && status < 300) return said.status === undefined ? (by(said, "content_filter", "context_length", "credential", "throttled") ?? "unable") : outcomeOf(said.status, said);
  return by(said, "content_filter", "context_length") ?? "unable";
}

/** Request fields that may be named to the caller. */
const params = new Set([
  "model", "messages", "prompt", "input", "instructions", "max_tokens", "max_completion_tokens", "max_output_tokens", "temperature", "top_p", "top_k", "min_p", "n", "stop", "stream", "stream_options", "seed", "user",
  "frequency_penalty", "presence_penalty", "repetition_penalty", "logit_bias", "logprobs", "top_logprobs", "response_format", "tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "modalities", "audio",
  "prediction", "reasoning", "reasoning_effort", "verbosity", "metadata", "store", "service_tier", "suffix", "echo", "best_of", "dimensions", "encoding_format", "text", "thinking", "chat_template_kwargs", "previous_response_id",
]);

/** The field that an upstream names, as far as it is one that we know: `messages[1].content[0].text` is told as `messages[1]`. */
export function allowedParam(param: string | undefined): string | null {
  const found = /^(?:body\.)?([a-z_]{1,40})(?:(?:\[|\.)(\d{1,4})(?=[\].]|$))?(?=[[\].]|$)/.exec(param ?? "");
  const [, name = "", index] = found ?? [];
  if (!params.has(name)) return null;
  return index === undefined ? name : `${name}[${index}]`;
}

/** What an over-long request is too long in, by the path it came to. */
function longField(path: string | undefined): string {
  if (path?.includes("/chat/") !== true && path?.includes("/completions") === true) return "prompt";
  return path !== undefined && /\/(embeddings|responses)/.test(path) ? "input" : "messages";
}

/** Our own words for what an upstream said; of its own there is nothing but the name of a field. */
export function errorOf(outcome: UpstreamOutcome, status: number, said: Said, { path, retryAfterMs }: { path?: string | undefined; retryAfterMs?: number | undefined }): FairleadError {
  const param = allowedParam(said.param);
  switch (outcome) {
    case "context_length":
      return new FairleadError("context_length_exceeded", "Cannot serve the request: it is longer than the model's context window", { param: param ?? longField(path) });
    case "content_filter":
      return new FairleadError("content_filter", "Cannot serve the request: the provider's content policy refuses it", { param });
    case "credential":
      return new FairleadError("provider_refused", `Cannot serve the request: ${status === 404 ? "the upstream does not know the model by the name that it was sent, or has no such path" : "the provider does not grant us the call"}`);
    case "throttled":
      return new FairleadError("saturated", "Cannot serve the request: the provider is at its limit", { retryAfterMs: retryAfterMs ?? 1_000 });
    case "unable":
      return new FairleadError("provider_error", status >= 300 ? `Cannot serve the request: the provider answered with status ${status}` : "Cannot serve the request: the provider answered with an error", { retryAfterMs: retryAfterMs ?? 1_000 });
    case "caller": {
      if (status === 413) return new FairleadError("body_too_large", "Cannot serve the request: it is larger than the provider takes", { param });
      const unsupported = said.words.some((word) => word === "unsupported_parameter" || word === "unsupported_value" || word === "extra_forbidden");
      const why = param === null ? "the provider finds it invalid" : unsupported ? `the provider does not support "${param}"` : `the provider finds "${param}" invalid`;
      return new FairleadError(unsupported ? "unsupported_parameter" : "invalid_request", `Cannot serve the request: ${why}`, { param });
    }
  }
}
