import type { Body } from "./ask.ts";
import { parseAnswer } from "./parsers.ts";
import type { CalledTool } from "./parsers.ts";
import { planRequest } from "./plan.ts";
import type { Plan, SequencePlan } from "./plan.ts";
import type { Model } from "./sampler.ts";
import { TextState } from "./sampler.ts";
import { encode, TextStream } from "./tokenizer.ts";
import { TURN_END } from "./vocabulary.ts";

export { decode, encode } from "./tokenizer.ts";

/** What one token adds to an answer. */
export interface Step {
  id: number;
  /** The text that became certain: empty while a character or a stop string may still be coming. */
  text: string;
  /** For logprobs; differs from token to token. */
  fingerprint: number;
  finish?: { reason: "stop" | "length"; stopReason: string | number | null };
}

function* tokens(plan: SequencePlan, model: Model): Generator<{ id: number; fingerprint: number }, void, void> {
  const state = new TextState(model, plan.choice);
  for (const id of plan.promptIds) state.push(id);
  const script = plan.script === undefined ? undefined : [...encode(plan.script), TURN_END];
  for (let count = 0; ; count++) {
    const mayEnd = !plan.limits.ignoreEos && count >= plan.limits.tokensMin;
    const id = script?.[count] ?? state.next(mayEnd);
    yield { id, fingerprint: state.fingerprint };
    state.push(id);
  }
}

/** The first stop string to end in `text`, searching where the newest characters could have completed one. */
function stopIn(text: string, from: number, stops: readonly string[]): { at: number; stop: string } | undefined {
  let first: { at: number; stop: string } | undefined;
  for (const stop of stops) {
    const at = text.indexOf(stop, Math.max(0, from - stop.length + 1));
    if (at >= 0 && (first === undefined || at < first.at)) first = { at, stop };
  }
  return first;
}

/**
 * The answer to one prompt, token by token, with the text held back as vLLM does: partial characters until they are whole, and with stop strings as many characters as the longest of
 * them less one. The last step carries `finish`. The end-of-sequence token is a step too, without text; it counts as a completion token.
 */
export function* answer(plan: SequencePlan, model: Model): Generator<Step, void, void> {
  const { limits } = plan;
  if (limits.tokensMax === 0) return;
  const stream = new TextStream(plan.promptIds);
  const holdBack = limits.includeStop ? 0 : Math.max(0, ...limits.stop.map((stop) => stop.length - 1));
  let text = "";
  let sent = 0;
  let count = 0;
  for (const { id, fingerprint } of tokens(plan, model)) {
    count++;
    const before = text.length;
    // A dictated answer is over when it is over, as with a grammar that allows nothing more.
    const ended = id === TURN_END && (!limits.ignoreEos || plan.script !== undefined);
    text += stream.push(id);
    let finish: Step["finish"];
    const stopped = count > limits.tokensMin ? stopIn(text, before, limits.stop) : undefined;
    if (ended) finish = { reason: "stop", stopReason: null };
    else if (limits.stopTokenIds.includes(id) && count > limits.tokensMin) finish = { reason: "stop", stopReason: id };
    else if (stopped !== undefined) {
      text = text.slice(0, stopped.at + (limits.includeStop ? stopped.stop.length : 0));
      finish = { reason: "stop", stopReason: stopped.stop };
    } else if (count >= limits.tokensMax) finish = { reason: "length", stopReason: null };
    const certain = finish === undefined ? Math.max(sent, text.length - holdBack) : text.length;
    const step: Step = { id, text: text.slice(sent, certain), fingerprint };
    sent = certain;
    if (finish === undefined) {
      yield step;
      continue;
    }
    yield { ...step, finish };
    return;
  }
}

/** One expected choice. */
export interface ExpectedChoice {
  index: number;
  /** All generated text, marks of thinking and tool calls included: `text` of a completion. */
  text: string;
  /** Chat: the text without thinking and tool calls; null when there are only tool calls. */
  content: string | null;
  reasoning: string | undefined;
  toolCalls: CalledTool[];
  tokenIds: number[];
  promptTokenIds: number[];
  finishReason: "stop" | "length" | "tool_calls";
}

/** Everything that an engine answers to a body. */
export interface Expected {
  choices: ExpectedChoice[];
  usage: { prompt_tokens: number; completion_tokens: number; total_tokens: number };
  /** What the engine understood, for tests that look closer. */
  plan: Plan;
}

/** Who answers; the defaults are those of the engine's flags. */
export interface OracleOptions {
  /** The engine's `--model`, whatever name the body asks for. */
  model: string;
  seed?: number;
  reasoning?: boolean;
  contextTokensMax?: number;
}

/**
 * The whole answer that any engine of this model and seed gives to a chat or completions body, streamed or not, in one piece or continued elsewhere. Throws the `Refusal` that the engine
 * would answer.
 *
 * @example expectedAnswer({ messages: [{ role: "user", content: "hi" }] }, { model: "demo" }).choices[0].content
 */
export function expectedAnswer(body: Body, options: OracleOptions): Expected {
  const { model: name, seed = 0, reasoning = false } = options;
  const model: Model = { name, seed, reasoning };
  const plan = planRequest(body, options.contextTokensMax === undefined ? { model } : { model, contextTokensMax: options.contextTokensMax });
  const choices = plan.sequences.map((sequence): ExpectedChoice => {
    const steps = [...answer(sequence, model)];
    const generated = steps.map((step) => step.text).join("");
    const reason = steps.at(-1)?.finish?.reason ?? "length";
    const { content, reasoning: thought, toolCalls } = parseAnswer(generated, sequence.promptText);
    return {
      index: sequence.index,
      text: plan.kind === "completions" && body.echo === true ? sequence.promptText + generated : generated,
      content: plan.toolCalls && toolCalls.length > 0 ? (content === "" ? null : content) : plan.echoed + content,
      reasoning: thought,
      toolCalls: plan.toolCalls ? toolCalls : [],
      tokenIds: steps.map((step) => step.id),
      promptTokenIds: sequence.promptIds,
      finishReason: plan.toolCalls && reason === "stop" ? "tool_calls" : reason,
    };
  });
  const completionTokens = choices.reduce((sum, choice) => sum + choice.tokenIds.length, 0);
  return { choices, usage: { prompt_tokens: plan.promptTokens, completion_tokens: completionTokens, total_tokens: plan.promptTokens + completionTokens }, plan };
}
