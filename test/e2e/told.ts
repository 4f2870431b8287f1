import { expect } from "vitest";
import type { Body } from "../engine/ask.ts";
import { expectedAnswer, type Expected } from "../engine/text.ts";
import type { World } from "./world.ts";

/** One choice of a streamed answer, put together. */
export interface Choice {
  content: string;
  reasoning: string;
  text: string;
  tools: { id: string; name: string; arguments: string }[];
  finish: (string | null)[];
  roles: number;
  logprobs: unknown[];
}

/** What the client of one stream was told. */
export interface Told {
  choices: Choice[];
  ids: Set<unknown>;
  models: Set<unknown>;
  usage: { prompt_tokens: number; completion_tokens: number; total_tokens: number }[];
  keys: Set<string>;
  errors: { code: string; type: string }[];
  done: number;
  resumed: string | undefined;
  raw: string;
}

/** A stream that is over, event by event: each must be JSON, `[DONE]` or a comment. */
export function readStream(raw: string): Told {
  const told: Told = { choices: [], ids: new Set(), models: new Set(), usage: [], keys: new Set(), errors: [], done: 0, resumed: undefined, raw };
  for (const event of raw.split("\n\n").filter((text) => text !== "")) {
    if (event.startsWith(":")) {
      told.resumed ??= /^: x-fairlead-resumed: (.*)$/.exec(event)?.[1];
      continue;
    }
    expect(event).toMatch(/^data: /);
    if (event === "data: [DONE]") {
      told.done++;
      continue;
    }
    expect(told.done).toBe(0);
    const chunk = JSON.parse(event.slice(6)) as Record<string, unknown> & { error?: Told["errors"][number]; usage?: Told["usage"][number]; choices?: Record<string, unknown>[] };
    if (chunk.error !== undefined) {
      told.errors.push(chunk.error);
      continue;
    }
    told.ids.add(chunk["id"]);
    told.models.add(chunk["model"]);
    for (const key of Object.keys(chunk)) told.keys.add(key);
    if (chunk.usage !== undefined && chunk.usage !== null) told.usage.push(chunk.usage);
    for (const choice of chunk.choices ?? []) {
      for (const key of Object.keys(choice)) told.keys.add(key);
      const at = (told.choices[choice["index"] as number] ??= { content: "", reasoning: "", text: "", tools: [], finish: [], roles: 0, logprobs: [] });
      const delta = (choice["delta"] ?? {}) as { role?: string; content?: string; reasoning_content?: string; tool_calls?: { index: number; id?: string; function: { name?: string; arguments?: string } }[] };
      if (delta.role !== undefined) at.roles++;
      at.content += delta.content ?? "";
      at.reasoning += delta.reasoning_content ?? "";
      at.text += (choice["text"] as string | undefined) ?? "";
      for (const call of delta.tool_calls ?? []) {
        const tool = (at.tools[call.index] ??= { id: "", name: "", arguments: "" });
        tool.id += call.id ?? "";
        tool.name += call.function.name ?? "";
        tool.arguments += call.function.arguments ?? "";
      }
      if (choice["finish_reason"] !== null) at.finish.push(choice["finish_reason"] as string);
      const logprobs = choice["logprobs"] as { content?: unknown[] } | null;
      at.logprobs.push(...(logprobs?.content ?? []));
    }
  }
  return told;
}

/** Ask for a stream and read it to its end. */
export async function ask(world: World, model: string, body: Body, path = "/v1/chat/completions"): Promise<Told> {
  const response = await world.fetch(path, { method: "POST", body: JSON.stringify({ ...body, model, stream: true }) });
  expect(response.status).toBe(200);
  return readStream(await response.text());
}

/** The body of a chat that has an answer of exactly so many tokens. */
export function chat(more: Body = {}): Body {
  return { messages: [{ role: "user", content: "Tell me of the harbour." }], max_tokens: 60, ignore_eos: true, ...more };
}

/** What an engine gives that is not disturbed. */
export function oracle(body: Body, { reasoning = false, model = "m" } = {}): Expected {
  return expectedAnswer({ ...body, stream: true }, { model, reasoning });
}

/** What the client has got is what an undisturbed engine gives, once and whole. */
export function expectWhole(told: Told, body: Body, { reasoning = false, model = "m" } = {}): void {
  const expected = oracle(body, { reasoning, model });
  const isChat = body.messages !== undefined;
  expect({ errors: told.errors, done: told.done, ids: told.ids.size, models: told.models.size }).toEqual({ errors: [], done: 1, ids: 1, models: 1 });
  expect(told.choices).toHaveLength(expected.choices.length);
  for (const { index, content, reasoning: thought, text, toolCalls, finishReason } of expected.choices) {
    const choice = told.choices[index];
    expect({ text: isChat ? choice?.content : choice?.text, reasoning: choice?.reasoning, finish: choice?.finish, roles: choice?.roles }).toEqual({ text: isChat ? (content ?? "") : text, reasoning: thought ?? "", finish: [finishReason], roles: isChat ? 1 : 0 });
    expect(choice?.tools).toEqual(toolCalls);
  }
  const asks = body.stream_options?.include_usage === true;
  expect(told.usage.map(({ prompt_tokens: prompt, completion_tokens: completion, total_tokens: total }) => ({ prompt_tokens: prompt, completion_tokens: completion, total_tokens: total }))).toEqual(asks ? [expected.usage] : []);
  expect(told.keys.has("usage")).toBe(asks);
  expect([...told.keys].filter((key) => key.endsWith("token_ids"))).toEqual([]);
}
