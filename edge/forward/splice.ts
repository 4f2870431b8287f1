import type { Method } from "../../schema/decision.ts";
import { textsOf, type Chunk, type ChunkChoice, type Delivered, type Had, type Usage } from "./delivered.ts";
import { nothing, type Passage } from "./passage.ts";
import { idsFor, tokensDelivered, type Ask } from "./resume.ts";
import { Stops } from "./stops.ts";

/** What all streams that take over from a lost one have in common: their chunks come as the first stream's. */
export abstract class Splice implements Passage {
  readonly delivered: Delivered;
  readonly choices: number;
  readonly alike = false;
  over = false;
  diverged: string | undefined;
  readonly #method: Method;
  protected readonly ask: Ask;
  #begun = false;
  #passed = false;

  constructor(ask: Ask, delivered: Delivered, method: Method) {
    this.ask = ask;
    this.delivered = delivered;
    this.choices = ask.choices;
    this.#method = method;
  }

  /** Its first event is there: what is known of the answer is now its. Until then another one may still take its place. */
  protected abstract begin(): void;

  protected abstract take(chunk: Chunk): readonly Chunk[];

  pass(chunk: Chunk): readonly Chunk[] {
    if (!this.#begun) this.begin();
    this.#begun = true;
    const chunks = this.take(chunk);
    if (chunks.length > 0 && !this.#passed) {
      this.#passed = true;
      this.delivered.resumed++;
    }
    return chunks;
  }

  again(): void {
    // no event is like another here: each is looked at
  }

  ending(): string {
    return `: x-fairlead-resumed: ${this.delivered.resumed} ${this.#method}\n\n`;
  }

  /** A chunk of the client's answer. */
  protected chunk(choices: ChunkChoice[], usage?: Usage): Chunk {
    const chunk: Chunk = { ...this.delivered.head, choices };
    if (usage !== undefined) chunk.usage = usage;
    else if (this.ask.usage) chunk.usage = null;
    return chunk;
  }

  /** The answer's usage, when the client asked for it and was not told yet. */
  protected usage(usage: Usage): readonly Chunk[] {
    if (!this.ask.usage || this.delivered.usageTold) return nothing;
    this.delivered.usageTold = true;
    return [this.chunk([], usage)];
  }
}

/** The usage in a chunk that holds nothing else. */
export function usageIn({ choices, usage }: Chunk): Usage | undefined {
  return Array.isArray(choices) && choices.length > 0 ? undefined : (usage ?? undefined);
}

/** A completion from token ids, as the rest of the chat or completion that it goes on with. */
export class Exact extends Splice {
  readonly #stops: Stops | undefined;
  /** The new stream's output tokens. */
  #tokens = 0;
  readonly #had: Had;
  readonly #idsBefore: number;

  /** @param held text that belongs to the ids and was not delivered */
  constructor(ask: Ask, delivered: Delivered, held: string) {
    super(ask, delivered, "exact");
    this.#had = delivered.had(0);
    this.#idsBefore = idsFor(ask, delivered).length;
    if (ask.stops.length > 0) this.#stops = new Stops(ask.stops, ask.includeStop, delivered.textOf(0), held);
  }

  protected begin(): void {
    this.#had.ids = idsFor(this.ask, this.delivered);
  }

  protected take(chunk: Chunk): readonly Chunk[] {
    const usage = usageIn(chunk);
    if (usage !== undefined) return this.usage(this.#usage(usage));
    const choice = chunk.choices?.[0];
    if (choice === undefined) return nothing;
    this.#tokens += choice.token_ids?.length ?? 0;
    const given = this.#text(choice);
    const finish = this.#stops?.stopped === undefined ? (choice.finish_reason ?? null) : "stop";
    if (given === "" && finish === null && !this.ask.ids) {
      this.delivered.note({ choices: [{ index: 0, token_ids: choice.token_ids ?? null }] });
      return nothing;
    }
    const out = this.#choice(given, finish, this.#stops?.stopped ?? choice.stop_reason, choice.token_ids ?? null);
    this.delivered.note({ choices: [{ ...out, token_ids: choice.token_ids ?? null }] });
    if (this.#stops?.stopped === undefined) return [this.chunk([out])];
    // its upstream does not know of the stop string and goes on: nobody waits for the usage that it would tell
    this.over = true;
    return [this.chunk([out]), ...this.usage(this.#usage(undefined))];
  }

  /** The end of a stream that finished and broke off before it told its usage. */
  override ending(): string {
    const usage = this.#had.finish === undefined ? nothing : this.usage(this.#usage(undefined));
    return usage.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join("") + super.ending();
  }

  #text({ text, finish_reason: finish }: ChunkChoice): string {
    if (this.#stops === undefined) return text ?? "";
    const given = this.#stops.push(text ?? "");
    return typeof finish === "string" ? given + this.#stops.flush() : given;
  }

  #choice(text: string, finish: string | null, stopReason: string | number | null | undefined, ids: number[] | null): ChunkChoice {
    const choice: ChunkChoice = { index: 0, ...(this.ask.chat ? { delta: text === "" && finish !== null ? {} : { content: text } } : { text }), logprobs: null, finish_reason: finish };
    if (finish !== null && stopReason !== undefined) choice.stop_reason = stopReason;
    if (this.ask.ids) choice.token_ids = ids;
    return choice;
  }

  /** The prompt's tokens as the first stream had them, and the output's of all streams. */
  #usage(told: Usage | undefined): Usage {
    const prompt = this.delivered.promptIds?.length ?? 0;
    const completion = this.#idsBefore + (told?.completion_tokens ?? this.#tokens);
    return { prompt_tokens: prompt, total_tokens: prompt + completion, completion_tokens: completion };
  }
}

/** A text that is longer than this is no token's: an upstream that begins with all of it repeats what it was sent. */
const tokenCharsMax = 16;

/** A chat or completion that goes on with a text. */
export class FromText extends Splice {
  /** Space at the end of what the client has: it was not sent, and is not given again when the upstream begins with it. */
  #gap: string;
  /** What was sent, until the upstream's first text is there. */
  #sent: string;
  readonly #tokensBefore: number;
  readonly #sameModel: boolean;

  constructor(ask: Ask, delivered: Delivered, sameModel: boolean) {
    super(ask, delivered, "text");
    const text = delivered.textOf(0);
    this.#sent = text.trimEnd();
    this.#gap = text.slice(this.#sent.length);
    this.#tokensBefore = tokensDelivered(delivered);
    this.#sameModel = sameModel;
  }

  protected begin(): void {
    // what comes is made of other tokens than the ids that are known
    this.delivered.forgetIds();
  }

  protected take(chunk: Chunk): readonly Chunk[] {
    const usage = usageIn(chunk);
    if (usage !== undefined) return this.usage(this.#usage(usage));
    const choice = chunk.choices?.[0];
    if (choice === undefined) return nothing;
    const { delta, finish_reason: finish = null } = choice;
    let text = "";
    for (const { field, text: piece } of textsOf(choice)) {
      if (field === "content") text += piece;
      else if (piece !== "") this.diverged = `it begins again with ${field}`;
    }
    if (Array.isArray(delta?.tool_calls) && delta.tool_calls.length > 0) this.diverged = "it goes on with a tool call";
    text = this.#withoutGap(this.#withoutSent(text));
    if (text === "" && finish === null) return nothing;
    const out: ChunkChoice = { index: 0, ...(this.ask.chat ? { delta: text === "" ? {} : { content: text } } : { text }), logprobs: null, finish_reason: finish };
    this.delivered.note({ choices: [out] });
    const passed = this.chunk([out]);
    // a different model says so from here on
    if (!this.#sameModel && chunk.model !== undefined) passed.model = chunk.model;
    // some vendors tell their usage with the last piece
    return chunk.usage !== null && chunk.usage !== undefined && finish !== null ? [passed, ...this.usage(this.#usage(chunk.usage))] : [passed];
  }

  /** Some engines give the message that they go on with once more, in one piece with their first token. */
  #withoutSent(text: string): string {
    const repeated = this.#sent.length > tokenCharsMax && text.startsWith(this.#sent) ? this.#sent.length : 0;
    if (text !== "") this.#sent = "";
    return text.slice(repeated);
  }

  #withoutGap(text: string): string {
    let same = 0;
    while (same < text.length && same < this.#gap.length && text[same] === this.#gap[same]) same++;
    if (text !== "") this.#gap = same === text.length ? this.#gap.slice(same) : "";
    return text.slice(same);
  }

  /**
   * The upstream counts what was delivered as prompt; it was output. How many tokens that is, is known where the first stream gave
   * its ids; else each piece counts as one. The sum of both is right in any case: every token was read or written once.
   */
  #usage(told: Usage): Usage {
    const prompt = Math.max(0, (told.prompt_tokens ?? 0) - this.#tokensBefore);
    const total = (told.prompt_tokens ?? 0) + (told.completion_tokens ?? 0);
    return { prompt_tokens: prompt, total_tokens: total, completion_tokens: total - prompt };
  }
}
