import type { Chunk, ChunkChoice, Delivered } from "./delivered.ts";
import type { Ask } from "./resume.ts";

/** What becomes of an upstream's chunks on their way to the client, and who keeps account of them. */
export interface Passage {
  readonly delivered: Delivered;
  /** Choices that the answer has. */
  readonly choices: number;
  /** What the client gets for a chunk: the same object when it passes as it is. */
  pass(chunk: Chunk): Chunk | readonly Chunk[];
  /** Whether a chunk that differs from the last one in text and ids only may be told by `again`, and passes in the same way. */
  readonly alike: boolean;
  again(text: string, ids: string): void;
  /** The answer is whole, whatever its upstream says yet. */
  readonly over: boolean;
  /** Why this is no continuation of what the client has. */
  readonly diverged: string | undefined;
  /** Events and comments that belong before `[DONE]`. */
  ending(): string;
}

/** What the client did not ask for and an upstream was asked for. */
export interface Strip {
  ids: boolean;
  usage: boolean;
}

/** Whether a choice says nothing: an engine that gives ids gives them also when it has no text yet. */
function saysNothing({ delta, text, logprobs, finish_reason: finish }: ChunkChoice): boolean {
  return typeof finish !== "string" && (logprobs === null || logprobs === undefined) && text === undefined && delta !== undefined && Object.keys(delta).length === 0;
}

/** A chunk without what was asked for on the client's behalf only; undefined when nothing is left. */
export function stripped(chunk: Chunk, { ids, usage }: Strip): Chunk | undefined {
  if (usage && "usage" in chunk) {
    if (Array.isArray(chunk.choices) && chunk.choices.length === 0 && chunk.usage !== null) return undefined;
    delete chunk.usage;
  }
  if (!ids || !Array.isArray(chunk.choices)) return chunk;
  delete chunk.prompt_token_ids;
  let silent = chunk.choices.length > 0;
  for (const choice of chunk.choices) {
    delete choice.prompt_token_ids;
    delete choice.token_ids;
    silent &&= saysNothing(choice);
  }
  return silent ? undefined : chunk;
}

/** What passes of a chunk that is kept back. */
export const nothing: readonly Chunk[] = [];

/** An answer from its beginning: every chunk is taken down and passes, less what the client did not ask for. */
export class FirstLeg implements Passage {
  readonly delivered: Delivered;
  readonly choices: number;
  readonly #strip: Strip | undefined;
  readonly #usage: boolean;
  alike = false;
  readonly over = false;
  readonly diverged = undefined;

  /** @param strip undefined when its chunks pass as they are */
  constructor({ choices, usage }: Ask, delivered: Delivered, strip: Strip | undefined) {
    this.delivered = delivered;
    this.choices = choices;
    this.#usage = usage;
    this.#strip = strip;
  }

  pass(chunk: Chunk): Chunk | readonly Chunk[] {
    this.alike = this.delivered.note(chunk);
    if (this.#strip === undefined) return chunk;
    const left = stripped(chunk, this.#strip);
    // another object, for the event has to be written anew
    return left === undefined ? nothing : { ...left };
  }

  again(text: string, ids: string): void {
    this.delivered.more(text, ids);
  }

  /** The usage of an answer whose upstream finished it and broke off before it told, where the ids tell it. */
  ending(): string {
    if (!this.#usage || this.delivered.usageTold) return "";
    const usage = this.delivered.usage();
    return usage === undefined ? "" : `data: ${JSON.stringify({ ...this.delivered.head, choices: [], usage })}\n\n`;
  }
}
