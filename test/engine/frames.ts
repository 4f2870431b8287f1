import type { Body } from "./ask.ts";
import { mix } from "./hash.ts";
import { ChatParser, parseAnswer } from "./parsers.ts";
import type { Part } from "./parsers.ts";
import type { Plan, SequencePlan } from "./plan.ts";
import type { Step } from "./text.ts";
import { tokenBytes, tokenString } from "./tokenizer.ts";
import { TOKENS } from "./vocabulary.ts";

/** What every frame of an answer carries. */
export interface Head {
  id: string;
  created: number;
  model: string;
}

export interface Usage {
  prompt_tokens: number;
  total_tokens: number;
  completion_tokens: number;
  prompt_tokens_details: { cached_tokens: number } | null;
}

/** Why a sequence ended; `abort` when the engine gave it up. */
export type FinishReason = "stop" | "length" | "abort";

/** A step with an end that the engine itself may have set. */
export type AnyStep = Omit<Step, "finish"> & { finish?: { reason: FinishReason; stopReason: string | number | null } };

/** An answer's shape on the wire, streamed and whole. */
export interface Frames {
  /** Sent before the first token. */
  opening(): object[];
  /** The frame for one token, or undefined where it has nothing to say. */
  step(sequence: SequencePlan, step: AnyStep): object | undefined;
  usage(usage: Usage): object;
  whole(steps: readonly AnyStep[][], usage: Usage): object;
}

function logprob(fingerprint: number, rank: number): number {
  return -(mix(fingerprint, rank) % 1000) / 1000 - rank;
}

/** The chosen token and then made-up rivals. */
function ranked(step: AnyStep, count: number): { id: number; logprob: number }[] {
  return Array.from({ length: count }, (_, rank) => ({ id: rank === 0 ? step.id : mix(step.fingerprint, rank + 100) % TOKENS.length, logprob: logprob(step.fingerprint, rank) }));
}

function chatLogprobs(body: Body, steps: readonly AnyStep[]): object | null {
  if (body.logprobs !== true) return null;
  const entry = ({ id, logprob: value }: { id: number; logprob: number }): object => ({ token: tokenString(id), logprob: value, bytes: tokenBytes(id) });
  const content = steps.map((step) => ({ ...entry({ id: step.id, logprob: logprob(step.fingerprint, 0) }), top_logprobs: ranked(step, body.top_logprobs ?? 0).map(entry) }));
  return { content };
}

function textLogprobs(body: Body, promptIds: readonly number[], steps: readonly AnyStep[], from: number): object | null {
  if (typeof body.logprobs !== "number") return null;
  const tokens = [...promptIds.map(tokenString), ...steps.map((step) => tokenString(step.id))];
  let offset = from;
  const offsets = tokens.map((token) => (offset += token.length) - token.length);
  const alternatives = body.logprobs;
  return {
    text_offset: offsets,
    token_logprobs: [...promptIds.map((id, at) => (at === 0 ? null : logprob(id, 0))), ...steps.map((step) => logprob(step.fingerprint, 0))],
    tokens,
    top_logprobs: [...promptIds.map(() => null), ...steps.map((step) => Object.fromEntries(ranked(step, Math.max(1, alternatives)).map(({ id, logprob: value }) => [tokenString(id), value])))],
  };
}

/** Adds the fields that vLLM sends only when `return_token_ids` asks for them. */
function withIds(body: Body, ids: object): object {
  return body.return_token_ids === true ? ids : {};
}

interface ToolDelta {
  index: number;
  id?: string;
  type?: "function";
  function: { name?: string; arguments: string };
}

/** Parts to one delta; the arguments that come with a call's beginning are in one entry with it. */
function deltaOf(parts: readonly Part[]): { content?: string; reasoning_content?: string; tool_calls?: ToolDelta[] } {
  const delta: ReturnType<typeof deltaOf> = {};
  for (const part of parts) {
    if (part.kind === "content") delta.content = (delta.content ?? "") + part.text;
    else if (part.kind === "reasoning") delta.reasoning_content = (delta.reasoning_content ?? "") + part.text;
    else {
      const calls = (delta.tool_calls ??= []);
      const open = calls.at(-1);
      if (part.kind === "toolStart") calls.push({ index: part.index, id: part.id, type: "function", function: { name: part.name, arguments: "" } });
      else if (open?.index === part.index) open.function.arguments += part.text;
      else calls.push({ index: part.index, function: { arguments: part.text } });
    }
  }
  return delta;
}

/** `/v1/chat/completions`. */
export class ChatFrames implements Frames {
  readonly #head: Head;
  readonly #body: Body;
  readonly #plan: Plan;
  readonly #parsers: ChatParser[];

  constructor(head: Head, body: Body, plan: Plan) {
    this.#head = head;
    this.#body = body;
    this.#plan = plan;
    this.#parsers = plan.sequences.map((sequence) => new ChatParser(sequence.promptText));
  }

  opening(): object[] {
    const roles = this.#plan.sequences.map((sequence) => ({
      ...this.#chunk([{ index: sequence.index, delta: { role: "assistant", content: "" }, logprobs: null, finish_reason: null }]),
      ...withIds(this.#body, { prompt_token_ids: sequence.promptIds }),
    }));
    if (this.#plan.echoed === "") return roles;
    return [...roles, ...this.#plan.sequences.map((sequence) => this.#chunk([{ index: sequence.index, delta: { content: this.#plan.echoed }, logprobs: null, finish_reason: null }]))];
  }

  step(sequence: SequencePlan, step: AnyStep): object | undefined {
    const parts = this.#parsers[sequence.index]?.push(step.text, step.finish !== undefined) ?? [];
    const plain = !this.#plan.toolCalls && !this.#plan.model.reasoning;
    if (parts.length === 0 && !plain && step.finish === undefined && this.#body.return_token_ids !== true) return undefined;
    const delta = parts.length === 0 && plain ? { content: "" } : deltaOf(parts);
    return this.#chunk([
      {
        index: sequence.index,
        delta,
        logprobs: chatLogprobs(this.#body, [step]),
        finish_reason: step.finish === undefined ? null : this.#finish(step.finish.reason),
        ...(step.finish === undefined ? {} : { stop_reason: step.finish.stopReason }),
        ...withIds(this.#body, { token_ids: [step.id] }),
      },
    ]);
  }

  usage(usage: Usage): object {
    return { ...this.#chunk([]), usage };
  }

  whole(steps: readonly AnyStep[][], usage: Usage): object {
    const choices = this.#plan.sequences.map((sequence, at) => {
      const own = steps[at] ?? [];
      const { content, reasoning, toolCalls } = parseAnswer(own.map((step) => step.text).join(""), sequence.promptText);
      const finish = own.at(-1)?.finish;
      return {
        index: sequence.index,
        message: {
          role: "assistant",
          content: toolCalls.length > 0 && content === "" ? null : this.#plan.echoed + content,
          refusal: null,
          ...(toolCalls.length > 0 ? { tool_calls: toolCalls.map((call) => ({ id: call.id, type: "function", function: { name: call.name, arguments: call.arguments } })) } : {}),
          ...(reasoning === undefined ? {} : { reasoning_content: reasoning }),
        },
        logprobs: chatLogprobs(this.#body, own),
        finish_reason: this.#finish(finish?.reason ?? "length"),
        stop_reason: finish?.stopReason ?? null,
        ...withIds(this.#body, { token_ids: own.map((step) => step.id) }),
      };
    });
    return { ...this.#head, object: "chat.completion", choices, usage, ...withIds(this.#body, { prompt_token_ids: this.#plan.sequences[0]?.promptIds }) };
  }

  #finish(reason: FinishReason): string {
    return this.#plan.toolCalls && reason === "stop" ? "tool_calls" : reason;
  }

  #chunk(choices: object[]): object {
    return { ...this.#head, object: "chat.completion.chunk", choices };
  }
}

/** `/v1/completions`. */
export class TextFrames implements Frames {
  readonly #head: Head;
  readonly #body: Body;
  readonly #plan: Plan;
  readonly #lengths: number[];
  readonly #begun = new Set<number>();

  constructor(head: Head, body: Body, plan: Plan) {
    this.#head = head;
    this.#body = body;
    this.#plan = plan;
    this.#lengths = plan.sequences.map(() => 0);
  }

  opening(): object[] {
    // With nothing to generate, the echoed prompt is all there is to send.
    return this.#plan.sequences.filter((sequence) => sequence.limits.tokensMax === 0).map((sequence) => this.#chunk([{ index: sequence.index, text: sequence.promptText, logprobs: null, finish_reason: "length", stop_reason: null }]));
  }

  step(sequence: SequencePlan, step: AnyStep): object {
    const { index } = sequence;
    const isFirst = !this.#begun.has(index);
    this.#begun.add(index);
    const echoes = isFirst && this.#body.echo === true;
    const text = (echoes ? sequence.promptText : "") + step.text;
    const from = this.#lengths[index] ?? 0;
    this.#lengths[index] = from + text.length;
    return this.#chunk([
      {
        index,
        text,
        logprobs: textLogprobs(this.#body, echoes ? sequence.promptIds : [], [step], from),
        finish_reason: step.finish?.reason ?? null,
        stop_reason: step.finish?.stopReason ?? null,
        ...withIds(this.#body, { ...(isFirst ? { prompt_token_ids: sequence.promptIds } : {}), token_ids: [step.id] }),
      },
    ]);
  }

  usage(usage: Usage): object {
    return { ...this.#chunk([]), usage };
  }

  whole(steps: readonly AnyStep[][], usage: Usage): object {
    const echoes = this.#body.echo === true;
    const choices = this.#plan.sequences.map((sequence, at) => {
      const own = steps[at] ?? [];
      const finish = own.at(-1)?.finish;
      return {
        index: sequence.index,
        text: (echoes ? sequence.promptText : "") + own.map((step) => step.text).join(""),
        logprobs: textLogprobs(this.#body, echoes ? sequence.promptIds : [], own, 0),
        finish_reason: finish?.reason ?? "length",
        stop_reason: finish?.stopReason ?? null,
        ...withIds(this.#body, { prompt_token_ids: sequence.promptIds, token_ids: own.map((step) => step.id) }),
      };
    });
    return { ...this.#head, object: "text_completion", choices, usage };
  }

  #chunk(choices: object[]): object {
    return { ...this.#head, object: "text_completion", choices };
  }
}
