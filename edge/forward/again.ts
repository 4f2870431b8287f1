import { logprobCount, textsOf, type Chunk, type ChunkChoice, type Delivered, type Delta, type Had, type Logprobs, type Segment, type ToolDelta } from "./delivered.ts";
import { nothing } from "./passage.ts";
import type { Ask } from "./resume.ts";
import { Splice, usageIn } from "./splice.ts";

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
