import { Refusal } from "./refusal.ts";
import type { Message, Tool } from "./template.ts";

/** The fields of a chat or completions body that the simulator reads. Others are ignored, as vLLM ignores what it does not know. */
export interface Body {
  model?: string;
  messages?: Message[];
  prompt?: string | string[] | number[] | number[][];
  stream?: boolean | null;
  stream_options?: { include_usage?: boolean; continuous_usage_stats?: boolean } | null;
  max_tokens?: number | null;
  max_completion_tokens?: number | null;
  min_tokens?: number | null;
  ignore_eos?: boolean | null;
  n?: number | null;
  stop?: string | string[] | null;
  stop_token_ids?: number[] | null;
  include_stop_str_in_output?: boolean | null;
  /** Chat: a switch. Completions: how many alternatives. */
  logprobs?: boolean | number | null;
  top_logprobs?: number | null;
  echo?: boolean | null;
  tools?: Tool[] | null;
  tool_choice?: "none" | "auto" | "required" | { type: "function"; function: { name: string } } | null;
  parallel_tool_calls?: boolean | null;
  response_format?: { type: string; json_schema?: { schema?: unknown } } | null;
  return_token_ids?: boolean | null;
  continue_final_message?: boolean | null;
  add_generation_prompt?: boolean | null;
  [field: string]: unknown;
}

function refuse(message: string, param: string): never {
  throw new Refusal(400, message, param);
}

function integer(body: Body, name: string, min: number): void {
  const value = body[name];
  if (value === undefined || value === null) return;
  if (typeof value !== "number" || !Number.isInteger(value)) refuse(`1 validation error: {'type': 'int_type', 'loc': ('body', '${name}'), 'msg': 'Input should be a valid integer'}`, name);
  if (value < min) refuse(`${name} must be at least ${min}, got ${value}.`, name);
}

function number(body: Body, name: string, min: number, max: number): void {
  const value = body[name];
  if (value === undefined || value === null) return;
  if (typeof value !== "number" || value < min || value > max) refuse(`${name} must be in [${min}, ${max}], got ${JSON.stringify(value)}.`, name);
}

/** Refuses what vLLM refuses before it looks at the prompt. */
export function check(body: Body): void {
  if (body.encoding_format === null) refuse("1 validation error: {'type': 'literal_error', 'loc': ('body', 'encoding_format'), 'msg': \"Input should be 'float' or 'base64'\", 'input': None}", "encoding_format");
  integer(body, "max_tokens", body.echo === true ? 0 : 1);
  integer(body, "max_completion_tokens", 1);
  integer(body, "min_tokens", 0);
  integer(body, "n", 1);
  number(body, "temperature", 0, Infinity);
  number(body, "top_p", 0, 1);
  number(body, "presence_penalty", -2, 2);
  number(body, "frequency_penalty", -2, 2);
  if (body.stream_options !== undefined && body.stream_options !== null && body.stream !== true) refuse("Stream options can only be defined when `stream=True`.", "stream_options");
}

function missing(name: string): never {
  refuse(`1 validation error: {'type': 'missing', 'loc': ('body', '${name}'), 'msg': 'Field required'}`, name);
}

/** The messages of a chat body, or a refusal. */
export function checkedMessages(body: Body): Message[] {
  const { messages } = body;
  if (messages === undefined || messages === null) missing("messages");
  if (!Array.isArray(messages)) refuse("1 validation error: {'type': 'list_type', 'loc': ('body', 'messages'), 'msg': 'Input should be a valid list'}", "messages");
  if (messages.length === 0) refuse("Invalid 'messages': empty array. Expected an array with minimum length 1.", "messages");
  for (const message of messages) {
    if (typeof message !== "object" || message === null || typeof message.role !== "string") missing("messages.role");
    const { content } = message;
    if (content !== undefined && content !== null && typeof content !== "string" && !Array.isArray(content)) refuse("1 validation error: {'loc': ('body', 'messages', 'content'), 'msg': 'Input should be a valid string'}", "messages");
  }
  if (body.continue_final_message === true) {
    if (body.add_generation_prompt !== false) refuse("Cannot set both `continue_final_message` and `add_generation_prompt` to True.", "continue_final_message");
    if (messages.at(-1)?.role !== "assistant") refuse("continue_final_message needs the last message to be the assistant's.", "continue_final_message");
  }
  if (body.tool_choice !== undefined && body.tool_choice !== null && body.tool_choice !== "none" && (body.tools ?? []).length === 0) refuse("When using `tool_choice`, `tools` must be set.", "tool_choice");
  return messages;
}

/** The prompts of a completions body: each a text or token ids. */
export function checkedPrompts(body: Body): (string | number[])[] {
  const { prompt } = body;
  if (prompt === undefined || prompt === null) missing("prompt");
  if (typeof prompt === "string") return [prompt];
  if (!Array.isArray(prompt) || prompt.length === 0) refuse("Either prompt or prompt_embeds must be provided and non-empty.", "prompt");
  if (prompt.every((part) => typeof part === "number")) return [prompt];
  if (prompt.every((part) => typeof part === "string")) return prompt;
  if (prompt.every((part) => Array.isArray(part) && part.length > 0 && part.every((id) => typeof id === "number"))) return prompt;
  refuse("prompt must be a string, array of strings, array of tokens, or array of token arrays", "prompt");
}
