import { methods, type Method } from "../../schema/decision.ts";
import { withMembers, type Change } from "../provider/members.ts";
import type { Prefill } from "../provider/vendors.ts";
import type { Delivered } from "./delivered.ts";

export function methodsOf(onStreamLoss: "exact" | "continue" | "error"): readonly Method[] {
  switch (onStreamLoss) {
    case "exact":
      return ["exact", "regenerate"];
    case "continue":
      return methods;
    case "error":
      return [];
  }
}

/** A streamed request, as far as going on with its answer depends on it. */
export interface Ask {
  chat: boolean;
  /** The body as the client wrote it, and as an object. */
  text: string;
  parsed: Readonly<Record<string, unknown>>;
  /** Choices that its answer has. */
  choices: number;
  /** The client asked for them. */
  usage: boolean;
  ids: boolean;
  stops: readonly string[];
  includeStop: boolean;
}

export interface Leg {
  path: string;
  body: string;
  parsed: Record<string, unknown>;
}

function count(value: unknown): number | undefined {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 ? value : undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function promptsIn(prompt: unknown): number {
  return Array.isArray(prompt) && prompt.length > 0 && typeof prompt[0] !== "number" ? prompt.length : 1;
}

/** A class, because an object with a getter of its own is made anew, slowly, for every request. */
class Asked implements Ask {
  readonly chat: boolean;
  readonly parsed: Readonly<Record<string, unknown>>;
  readonly choices: number;
  readonly usage: boolean;
  readonly ids: boolean;
  readonly stops: readonly string[];
  readonly includeStop: boolean;
  readonly text: string;

  constructor(chat: boolean, parsed: Record<string, unknown>, text: string) {
    const { n, stop, stream_options: options } = parsed;
    this.chat = chat;
    this.parsed = parsed;
    this.choices = (count(n) ?? 1) * (chat ? 1 : promptsIn(parsed["prompt"]));
    this.usage = isObject(options) && options["include_usage"] === true;
    this.ids = parsed["return_token_ids"] === true;
    this.stops = (Array.isArray(stop) ? stop : [stop]).filter((one): one is string => typeof one === "string" && one !== "");
    this.includeStop = parsed["include_stop_str_in_output"] === true;
    this.text = text;
  }
}

/** @returns undefined for a request whose answer is not one of chat or completions */
export function askOf(path: string, parsed: Record<string, unknown>, text: string): Ask | undefined {
  const chat = path.startsWith("/v1/chat/completions");
  return chat || path.startsWith("/v1/completions") ? new Asked(chat, parsed, text) : undefined;
}

/** What is asked for on the client's behalf, and as the end of an object that has neither. */
const wantedUsage = { include_usage: true };
const wantedEnd = `,${JSON.stringify({ return_token_ids: true, stream_options: wantedUsage }).slice(1)}`;

/** The request with token ids and usage asked for, everything else as the client wrote it. */
export function withIds(ask: Ask): { body: string; parsed: Record<string, unknown> } {
  const options = ask.parsed["stream_options"];
  const usage = isObject(options) ? { ...options, ...wantedUsage } : wantedUsage;
  const parsed = { ...ask.parsed, return_token_ids: true, stream_options: usage };
  if ("return_token_ids" in ask.parsed || "stream_options" in ask.parsed) {
    const changes = new Map<string, Change>([["return_token_ids", { value: true }], ["stream_options", { value: usage }]]);
    return { body: withMembers(ask.text, changes), parsed };
  }
  // the object is not empty, for it has a model: what is new goes before its end
  return { body: ask.text.slice(0, ask.text.lastIndexOf("}")) + wantedEnd, parsed };
}

/** Something of a request that is set: neither absent nor null, false or empty. */
function isSet(value: unknown): boolean {
  if (value === undefined || value === null || value === false || value === "") return false;
  return typeof value !== "object" || Object.keys(value).length > 0;
}

/** Fields that make an answer more than its text: a grammar or a beam begins anew where another engine goes on (facts/engines.md §7). */
const constrained = ["structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar", "guided_json_object", "guided_decoding_backend", "regex", "ebnf", "grammar", "json_schema", "use_beam_search", "suffix", "echo", "audio", "functions", "prediction", "logits_processors", "kv_transfer_params"];

/** Why the answer to a request is no plain text; undefined when it is one. */
function notPlainText({ parsed, choices }: Ask): string | undefined {
  if (choices !== 1) return "it has several choices";
  if ((count(parsed["best_of"]) ?? 1) > 1) return "best_of";
  for (const name of constrained) if (isSet(parsed[name])) return name;
  const format = parsed["response_format"];
  if (isSet(format) && !(isObject(format) && format["type"] === "text")) return "response_format";
  if (isSet(parsed["tools"]) && parsed["tool_choice"] !== "none") return "tools";
  if (parsed["logprobs"] !== undefined && parsed["logprobs"] !== null && parsed["logprobs"] !== false) return "logprobs";
  return isSet(parsed["prompt_logprobs"]) ? "prompt_logprobs" : undefined;
}

/** Whether an answer could ever be continued from its token ids, so that they are worth asking for. */
export function wantsIds(ask: Ask): boolean {
  return notPlainText(ask) === undefined && !isMultimodal(ask);
}

/** Why an answer is no plain text that can be gone on with; undefined when it is one. */
function notPlain(ask: Ask, delivered: Delivered): string | undefined {
  const why = notPlainText(ask);
  if (why !== undefined) return why;
  if (delivered.odd || delivered.overfull) return "what was delivered is not known";
  if (delivered.had(0).finish !== undefined) return "it is over";
  const segments = delivered.choices.get(0)?.segments ?? [];
  // after its reasoning an answer goes on as text; within it, what comes next is for the engine's parser to say
  if (segments.at(-1)?.field !== "content") return "no text of the answer was delivered";
  if (segments.some(({ field }) => field !== "content" && field !== "reasoning")) return "it is more than text";
  return undefined;
}

function isMultimodal({ parsed }: Ask): boolean {
  const { messages } = parsed;
  if (!Array.isArray(messages)) return false;
  return messages.some((message: unknown) => isObject(message) && Array.isArray(message["content"]) && message["content"].some((part: unknown) => isObject(part) && typeof part["text"] !== "string"));
}

/** Ids that an exact continuation takes; fewer than were delivered when the last ones had given no text yet. */
export function idsFor(ask: Ask, delivered: Delivered): number[] {
  const had = delivered.had(0);
  return ask.stops.length > 0 ? had.ids : had.ids.slice(0, had.idsAtText);
}

/** The most that the client wants, in tokens. */
function tokensMax({ parsed, chat }: Ask): number | undefined {
  // OpenAI's default for completions, kept by vLLM; chat has none
  return count(parsed["max_completion_tokens"]) ?? count(parsed["max_tokens"]) ?? (chat || parsed["max_tokens"] === null ? undefined : 16);
}

/** Why an answer cannot be continued from its token ids; undefined when it can. */
export function exactRefusal(ask: Ask, delivered: Delivered): string | undefined {
  const why = notPlain(ask, delivered);
  if (why !== undefined) return why;
  if (isMultimodal(ask)) return "its prompt is more than text";
  const had = delivered.had(0);
  if (!had.idsKnown || delivered.promptIds === undefined || delivered.promptIds.length === 0) return "token ids are missing";
  const ids = idsFor(ask, delivered);
  if (ids.length === 0) return "token ids are missing";
  // a client that counts ids would be told some of them twice
  if (ask.ids && ids.length !== had.ids.length) return "ids without text were delivered";
  if (ask.stops.length > 0 && (count(ask.parsed["min_tokens"]) ?? 0) > ids.length) return "stop strings do not count yet";
  const most = tokensMax(ask);
  return most !== undefined && most <= ids.length ? "nothing is left to generate" : undefined;
}

/** What decides how tokens are drawn, and does not depend on where an answer began. `stop` is looked after by `Stops`. */
const sampling = new Set([
  "model", "temperature", "top_p", "top_k", "min_p", "seed", "presence_penalty", "frequency_penalty", "repetition_penalty", "length_penalty", "logit_bias", "stop_token_ids", "bad_words", "allowed_token_ids", "ignore_eos",
  "skip_special_tokens", "spaces_between_special_tokens", "user", "priority", "cache_salt", "vllm_xargs", "stream",
]);

function legOf(path: string, ask: Ask, changes: ReadonlyMap<string, Change>): Leg {
  const body = withMembers(ask.text, changes);
  return { path, body, parsed: JSON.parse(body) as Record<string, unknown> };
}

/**
 * A completion of the prompt and of what was delivered, in ids: the same tokens follow that would have followed. Only for what
 * `exactRefusal` lets pass.
 */
export function exactLeg(ask: Ask, delivered: Delivered): Leg {
  const changes = new Map<string, Change>();
  for (const name of Object.keys(ask.parsed)) if (!sampling.has(name)) changes.set(name, "dropped");
  const ids = idsFor(ask, delivered);
  const set = (name: string, value: unknown): void => void changes.set(name, { value });
  set("prompt", [...(delivered.promptIds ?? []), ...ids]);
  const most = tokensMax(ask);
  // without a limit a completion ends after 16 tokens; null is "to the end of the context" (vLLM)
  set("max_tokens", most === undefined ? null : most - ids.length);
  const least = (count(ask.parsed["min_tokens"]) ?? 0) - ids.length;
  if (least > 0) set("min_tokens", least);
  set("add_special_tokens", false);
  set("return_token_ids", true);
  set("stream_options", { include_usage: true });
  return legOf("/v1/completions", ask, changes);
}

/** Why an answer cannot be continued from its text; undefined when it can. */
export function textRefusal(ask: Ask, delivered: Delivered): string | undefined {
  const why = notPlain(ask, delivered);
  if (why !== undefined) return why;
  if (ask.ids) return "token ids are wanted";
  if (delivered.textOf(0, "reasoning") !== "") return "its reasoning would have to be repeated";
  if (delivered.textOf(0).trimEnd() === "") return "nothing but space was delivered";
  if (ask.stops.length > 0) return "stop strings may lie over the seam";
  const most = tokensMax(ask);
  if (most !== undefined && most <= tokensDelivered(delivered)) return "nothing is left to generate";
  if (!ask.chat) return typeof ask.parsed["prompt"] === "string" ? undefined : "its prompt is no text";
  const { messages } = ask.parsed;
  if (!Array.isArray(messages)) return "it has no messages";
  const last: unknown = messages.at(-1);
  return isObject(last) && last["role"] === "assistant" ? "its last message is the assistant's" : undefined;
}

/** Tokens that were delivered: by their ids where those are known, else by pieces, for most vendors send one in each. */
export function tokensDelivered(delivered: Delivered): number {
  const had = delivered.had(0);
  return had.idsKnown ? had.ids.length : had.pieces;
}

/** The same request with what was delivered as its last message, less the space at its end: engines strip it, or refuse it. */
export function textLeg(ask: Ask, delivered: Delivered, prefill: Prefill): Leg {
  const text = delivered.textOf(0).trimEnd();
  const tokens = tokensDelivered(delivered);
  const changes = new Map<string, Change>();
  for (const name of ["max_tokens", "max_completion_tokens"]) {
    const most = count(ask.parsed[name]);
    if (most !== undefined) changes.set(name, { value: most - tokens });
  }
  const least = count(ask.parsed["min_tokens"]);
  if (least !== undefined) changes.set("min_tokens", { value: Math.max(0, least - tokens) });
  if (!ask.chat) {
    if (count(ask.parsed["max_tokens"]) === undefined && ask.parsed["max_tokens"] !== null) changes.set("max_tokens", { value: (tokensMax(ask) ?? 0) - tokens });
    changes.set("prompt", { value: `${String(ask.parsed["prompt"])}${text}` });
    return legOf("/v1/completions", ask, changes);
  }
  const begun = { role: "assistant", content: text, ...(prefill === "prefix" ? { prefix: true } : {}) };
  changes.set("messages", { value: [...(ask.parsed["messages"] as unknown[]), begun] });
  if (prefill === "continue_final_message") {
    changes.set("continue_final_message", { value: true });
    changes.set("add_generation_prompt", { value: false });
  }
  return legOf("/v1/chat/completions", ask, changes);
}

/** Why an answer cannot be compared with the same request's answer of another upstream; undefined when it can. */
export function regenerateRefusal(delivered: Delivered): string | undefined {
  return delivered.odd || delivered.overfull ? "what was delivered is not known" : undefined;
}
