import { check, checkedMessages, checkedPrompts } from "./ask.ts";
import type { Body } from "./ask.ts";
import { hashText, mix } from "./hash.ts";
import { Refusal } from "./refusal.ts";
import type { Model } from "./sampler.ts";
import { anyObject, valueFor } from "./structured.ts";
import { contentText, imageUrls, renderChat, toolCallText } from "./template.ts";
import type { Message, Tool } from "./template.ts";
import { decode, encode } from "./tokenizer.ts";
import { TOKENS } from "./vocabulary.ts";

/** When a sequence ends. */
export interface Limits {
  tokensMax: number;
  tokensMin: number;
  ignoreEos: boolean;
  stop: string[];
  stopTokenIds: number[];
  includeStop: boolean;
}

/** One answer to generate. */
export interface SequencePlan {
  /** The choice's index in the response. */
  index: number;
  promptIds: number[];
  promptText: string;
  /** Which of the `n` answers to its prompt. */
  choice: number;
  /** The answer word for word, where a tool call or a schema dictates it. */
  script: string | undefined;
  limits: Limits;
}

/** A request understood: what to generate and how to show it. */
export interface Plan {
  kind: "chat" | "completions";
  model: Model;
  sequences: SequencePlan[];
  /** Prompt tokens by prompt; a prompt counts once however many answers it gets. */
  promptTokens: number;
  toolCalls: boolean;
  /** Their URLs. */
  images: string[];
  /** Text that a chat's `echo` puts before the answer. */
  echoed: string;
}

/** What the engine brings to every request. */
export interface PlanOptions {
  model: Model;
  /** Prompt and answer together, in tokens. */
  contextTokensMax?: number;
}

const CONTEXT_TOKENS = 32_768;
/** OpenAI's default for completions, kept by vLLM. Chat has none. */
const COMPLETION_TOKENS = 16;

/** Whether this chat is answered with tool calls: always when required or named, else when the user's message, being the last, says "tool". */
function calledTools(body: Body, messages: readonly Message[]): Tool[] {
  const tools = body.tools ?? [];
  const choice = body.tool_choice ?? "auto";
  if (tools.length === 0 || choice === "none") return [];
  if (typeof choice === "object") {
    const named = tools.filter((tool) => tool.function.name === choice.function.name);
    if (named.length === 0) throw new Refusal(400, `The tool specified in \`tool_choice\` does not match any of the specified \`tools\``, "tool_choice");
    return named.slice(0, 1);
  }
  const last = messages.at(-1);
  const text = last?.role === "user" ? contentText(last.content).toLowerCase() : "";
  if (choice === "auto" && !/\btools?\b/.test(text)) return [];
  return /\btools\b/.test(text) && body.parallel_tool_calls !== false ? tools.slice(0, 2) : tools.slice(0, 1);
}

function scriptOf(body: Body, called: readonly Tool[], hash: number): string | undefined {
  if (called.length > 0) return called.map((tool, index) => toolCallText(tool.function.name, JSON.stringify(valueFor(tool.function.parameters ?? { type: "object" }, mix(hash, index))))).join("\n");
  const format = body.response_format;
  if (format?.type === "json_object") return JSON.stringify(anyObject(hash));
  if (format?.type === "json_schema") return JSON.stringify(valueFor(format.json_schema?.schema, hash));
  return undefined;
}

function tokenIds(prompt: string | number[]): number[] {
  if (typeof prompt === "string") return encode(prompt);
  for (const id of prompt) if (!Number.isInteger(id) || id < 0 || id >= TOKENS.length) throw new Refusal(400, `Token id ${id} is out of vocabulary`, "prompt");
  return prompt;
}

function limitsOf(body: Body, kind: Plan["kind"], promptTokens: number, contextTokensMax: number): Limits {
  const asked = body.max_completion_tokens ?? body.max_tokens ?? (kind === "completions" && body.max_tokens === undefined ? COMPLETION_TOKENS : undefined);
  if (promptTokens + (asked ?? 1) > contextTokensMax) {
    const where = kind === "chat" ? "messages" : "prompt";
    throw new Refusal(400, `This model's maximum context length is ${contextTokensMax} tokens. However, you requested ${promptTokens + (asked ?? 1)} tokens (${promptTokens} in the ${where}, ${asked ?? 1} in the completion). Please reduce the length of the ${where} or completion.`, where);
  }
  return {
    tokensMax: asked ?? contextTokensMax - promptTokens,
    tokensMin: body.min_tokens ?? 0,
    ignoreEos: body.ignore_eos === true,
    stop: (typeof body.stop === "string" ? [body.stop] : (body.stop ?? [])).filter((stop) => stop !== ""),
    stopTokenIds: body.stop_token_ids ?? [],
    includeStop: body.include_stop_str_in_output === true,
  };
}

/** The prompt of a chat body as the template writes it. */
export function chatPrompt(body: Body): string {
  const messages = checkedMessages(body);
  const ending = body.continue_final_message === true ? "continue" : body.add_generation_prompt === false ? "none" : "answer";
  return renderChat(messages, body.tool_choice === "none" ? [] : (body.tools ?? []), ending);
}

function kindOf(body: Body): Plan["kind"] {
  return body.messages === undefined ? "completions" : "chat";
}

/** Understands a body, or throws a `Refusal`. A body with `messages` is a chat unless `kind` says otherwise. */
export function planRequest(body: Body, options: PlanOptions, kind: Plan["kind"] = kindOf(body)): Plan {
  const { model, contextTokensMax = CONTEXT_TOKENS } = options;
  check(body);
  const messages = kind === "chat" ? checkedMessages(body) : [];
  const prompts = (kind === "chat" ? [chatPrompt(body)] : checkedPrompts(body)).map(tokenIds);
  if (prompts.some((ids) => ids.length === 0)) throw new Refusal(400, "The decoder prompt cannot be empty", "prompt");
  const called = kind === "chat" ? calledTools(body, messages) : [];
  const n = body.n ?? 1;
  const last = messages.at(-1);
  const sequences = prompts.flatMap((promptIds, promptIndex) => {
    const limits = limitsOf(body, kind, promptIds.length, contextTokensMax);
    const promptText = decode(promptIds);
    return Array.from({ length: n }, (_, choice) => ({
      index: promptIndex * n + choice,
      promptIds,
      promptText,
      choice,
      script: scriptOf(body, called, hashText(promptText, mix(hashText(model.name, model.seed), choice))),
      limits,
    }));
  });
  return {
    kind,
    model,
    sequences,
    promptTokens: prompts.reduce((sum, ids) => sum + ids.length, 0),
    toolCalls: called.length > 0,
    images: imageUrls(messages),
    echoed: kind === "chat" && body.echo === true && last?.role === "assistant" ? contentText(last.content) : "",
  };
}
