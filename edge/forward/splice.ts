import type { Method } from "../../schema/decision.ts";
import { logprobCount, textsOf, type Chunk, type ChunkChoice, type Delivered, type Delta, type Had, type Logprobs, type Segment, type ToolDelta, type Usage } from "./delivered.ts";
import type { Passage } from "./passage.ts";
import { idsFor, tokensDelivered, type Ask } from "./resume.ts";
import { Stops } from "./stops.ts";

const nothing: readonly Chunk[] = [];

/** What all streams that take over from a lost one have in common: their chunks come as the first stream's. */
abstract class Splice implements Passage {
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
function usageIn({ choices, usage }: Chunk): Usage | undefined {
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

/** A chat or completion that goes on with a text. */
export class FromText extends Splice {
  /** Space at the end of what the client has: it was not sent, and is not given again when the upstream begins with it. */
  #gap: string;
  readonly #tokensBefore: number;
  readonly #sameModel: boolean;

  constructor(ask: Ask, delivered: Delivered, sameModel: boolean) {
    super(ask, delivered, "text");
    const text = delivered.textOf(0);
    this.#gap = text.slice(text.trimEnd().length);
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
    text = this.#withoutGap(text);
    if (text === "" && finish === null) return nothing;
    const out: ChunkChoice = { index: 0, ...(this.ask.chat ? { delta: text === "" ? {} : { content: text } } : { text }), logprobs: null, finish_reason: finish };
    this.delivered.note({ choices: [out] });
    const passed = this.chunk([out]);
    // a different model says so from here on
    if (!this.#sameModel && chunk.model !== undefined) passed.model = chunk.model;
    // some vendors tell their usage with the last piece
    return chunk.usage !== null && chunk.usage !== undefined && finish !== null ? [passed, ...this.usage(this.#usage(chunk.usage))] : [passed];
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

/** Where the new answer stands in what the client has of one choice. */
interface Cursor {
  expected: readonly Segment[];
  at: number;
  offset: number;
  finish: string | undefined;
  role: boolean;
  /** Entries of the first streams that come again. */
  logprobs: number;
  idsToSkip: number;
  /** Of the new answer, from its beginning. */
  ids: number[];
  idsKnown: boolean;
  idsAtText: number;
  /** The fields of its tool calls, by index. */
  tools: Map<number, string>;
}

/** A tool call begins before its first argument. */
function hasBegun({ field }: Segment, tools: ReadonlyMap<number, string>): boolean {
  return !field.startsWith("tool:") || [...tools.values()].includes(field);
}

/**
 * The same answer once more: what the client has of it is compared and left out, and what follows passes. The first difference
 * ends it.
 */
export class Again extends Splice {
  readonly #cursors = new Map<number, Cursor>();

  constructor(ask: Ask, delivered: Delivered) {
    super(ask, delivered, "regenerate");
    for (const [index, had] of delivered.choices) {
      this.#cursors.set(index, {
        expected: had.segments.map((segment) => ({ ...segment })), at: 0, offset: 0, finish: had.finish, role: had.role, logprobs: had.logprobs, idsToSkip: had.idsKnown ? had.ids.length : 0,
        ids: [], idsKnown: true, idsAtText: 0, tools: new Map(),
      });
    }
  }

  protected begin(): void {
    // until all of it has come again, ids and text do not belong together
    this.delivered.forgetIds();
  }

  protected take(chunk: Chunk): readonly Chunk[] {
    const usage = usageIn(chunk);
    if (usage !== undefined) return this.usage(usage);
    if (Array.isArray(chunk.prompt_token_ids)) this.delivered.promptIds = chunk.prompt_token_ids;
    const choices: ChunkChoice[] = [];
    for (const choice of chunk.choices ?? []) {
      const rest = this.#choice(choice);
      if (this.diverged !== undefined) return nothing;
      if (rest !== undefined) choices.push(rest);
    }
    return choices.length === 0 ? nothing : [this.chunk(choices)];
  }

  #cursor(index: number): Cursor {
    let cursor = this.#cursors.get(index);
    if (cursor === undefined) {
      cursor = { expected: [], at: 0, offset: 0, finish: undefined, role: false, logprobs: 0, idsToSkip: 0, ids: [], idsKnown: true, idsAtText: 0, tools: new Map() };
      this.#cursors.set(index, cursor);
    }
    return cursor;
  }

  #choice(choice: ChunkChoice): ChunkChoice | undefined {
    const index = choice.index ?? 0;
    const cursor = this.#cursor(index);
    const had = this.delivered.had(index);
    if (Array.isArray(choice.prompt_token_ids)) this.delivered.promptIds = choice.prompt_token_ids;
    const idsBefore = cursor.ids.length;
    if (Array.isArray(choice.token_ids)) cursor.ids.push(...choice.token_ids);
    const delta: Delta = {};
    let text: string | undefined;
    let says = false;
    for (const piece of textsOf(choice)) {
      if (piece.text !== "") {
        if (!Array.isArray(choice.token_ids)) cursor.idsKnown = false;
        cursor.idsAtText = cursor.ids.length;
      }
      const rest = this.#rest(cursor, piece.field, piece.text);
      if (rest === undefined) return undefined;
      if (rest !== "") says = true;
      if (piece.key === "text") text = rest;
      else if (rest !== "") delta[piece.key] = rest;
    }
    if (!cursor.role && typeof choice.delta?.role === "string") {
      cursor.role = true;
      delta.role = choice.delta.role;
      says = true;
    }
    const calls = this.#calls(cursor, choice.delta?.tool_calls ?? []);
    if (this.diverged !== undefined) return undefined;
    if (calls.length > 0) delta.tool_calls = calls;
    const logprobs = this.#logprobs(cursor, choice.logprobs ?? null);
    const finish = this.#finish(cursor, choice.finish_reason ?? null);
    if (this.diverged !== undefined) return undefined;
    says ||= calls.length > 0 || logprobs !== null || finish !== null;
    const whole = this.#matched(cursor);
    if (says) {
      const out: ChunkChoice = { index, ...(choice.delta === undefined ? { text: text ?? "" } : { delta: logprobs !== null && Object.keys(delta).length === 0 && finish === null ? { content: "" } : delta }), logprobs, finish_reason: finish };
      if (finish !== null && choice.stop_reason !== undefined) out.stop_reason = choice.stop_reason;
      this.delivered.note({ choices: [out] });
      if (this.ask.ids) out.token_ids = cursor.ids.slice(Math.max(idsBefore, cursor.idsToSkip));
      if (whole) this.#ids(had, cursor);
      return out;
    }
    if (whole) this.#ids(had, cursor);
    return undefined;
  }

  #ids(had: Had, { ids, idsKnown, idsAtText }: Cursor): void {
    had.ids = ids;
    had.idsKnown = idsKnown && ids.length > 0;
    had.idsAtText = idsAtText;
  }

  /** Whether all that the client has of a choice has come again. */
  #matched({ expected, at, offset, tools }: Cursor): boolean {
    const segment = expected[at];
    return segment === undefined || (at === expected.length - 1 && offset === segment.text.length && hasBegun(segment, tools));
  }

  /** What the client has not yet of a text; undefined when it is another one than the client has. */
  #rest(cursor: Cursor, field: string, text: string): string | undefined {
    while (text !== "") {
      const segment = cursor.expected[cursor.at];
      if (segment === undefined) return text;
      const left = segment.text.length - cursor.offset;
      if (left === 0 && hasBegun(segment, cursor.tools)) {
        if (cursor.at === cursor.expected.length - 1) return text;
        cursor.at++;
        cursor.offset = 0;
        continue;
      }
      const length = Math.min(left, text.length);
      if (segment.field !== field || left === 0 || segment.text.slice(cursor.offset, cursor.offset + length) !== text.slice(0, length)) {
        this.diverged = "its answer is another one";
        return undefined;
      }
      cursor.offset += length;
      text = text.slice(length);
    }
    return "";
  }

  /** Tool calls as the client knows them: each begins once, with the first stream's id. */
  #calls(cursor: Cursor, calls: readonly ToolDelta[]): ToolDelta[] {
    const out: ToolDelta[] = [];
    for (const { index = 0, id, type, function: called } of calls) {
      let field = cursor.tools.get(index);
      let begins = false;
      if (field === undefined) {
        field = `tool:${index}:${called?.name ?? ""}`;
        cursor.tools.set(index, field);
        begins = !this.#enters(cursor, field);
        if (this.diverged !== undefined) return [];
      }
      const rest = this.#rest(cursor, field, called?.arguments ?? "");
      if (rest === undefined) return [];
      if (begins) out.push({ index, id: id ?? null, type: type ?? "function", function: { name: called?.name ?? "", arguments: rest } });
      else if (rest !== "") out.push({ index, function: { arguments: rest } });
    }
    return out;
  }

  /** Whether the client has the beginning of a call already. */
  #enters(cursor: Cursor, field: string): boolean {
    const segment = cursor.expected[cursor.at];
    if (segment === undefined) return false;
    // an answer may begin with a call
    if (cursor.at === 0 && cursor.offset === 0 && segment.field === field) return true;
    if (cursor.offset === segment.text.length && hasBegun(segment, cursor.tools)) {
      if (cursor.at === cursor.expected.length - 1) return false;
      cursor.at++;
      cursor.offset = 0;
      if (cursor.expected[cursor.at]?.field === field) return true;
    }
    this.diverged = "its answer is another one";
    return false;
  }

  #logprobs(cursor: Cursor, logprobs: Logprobs | null): Logprobs | null {
    if (logprobs === null) return null;
    const skip = Math.min(cursor.logprobs, logprobCount(logprobs));
    cursor.logprobs -= skip;
    if (skip === 0) return logprobCount(logprobs) === 0 && !this.#matched(cursor) ? null : logprobs;
    if (skip === logprobCount(logprobs)) return null;
    return Object.fromEntries(Object.entries(logprobs).map(([name, list]) => [name, Array.isArray(list) ? list.slice(skip) : list]));
  }

  #finish(cursor: Cursor, finish: string | null): string | null {
    if (finish === null) return null;
    if (!this.#matched(cursor) || (cursor.finish !== undefined && cursor.finish !== finish)) {
      this.diverged = "its answer ends elsewhere";
      return null;
    }
    return cursor.finish === undefined ? finish : null;
  }
}
