/** A piece of an answer: a chat's delta, or a completion's text. */
export interface Delta {
  role?: string | null;
  content?: string | null;
  reasoning_content?: string | null;
  reasoning?: string | null;
  refusal?: string | null;
  tool_calls?: ToolDelta[] | null;
  [field: string]: unknown;
}

export interface ToolDelta {
  index?: number;
  id?: string | null;
  type?: string | null;
  function?: { name?: string | null; arguments?: string | null } | null;
}

export interface ChunkChoice {
  index?: number;
  delta?: Delta;
  text?: string | null;
  logprobs?: Logprobs | null;
  finish_reason?: string | null;
  stop_reason?: string | number | null;
  token_ids?: number[] | null;
  prompt_token_ids?: number[] | null;
}

/** A chat's: an entry per token in `content`. A completion's: lists side by side, `tokens` among them. */
export type Logprobs = Record<string, unknown>;

export interface Usage {
  prompt_tokens?: number;
  completion_tokens?: number;
  total_tokens?: number;
  [detail: string]: unknown;
}

/** One event of an answer. */
export interface Chunk {
  id?: unknown;
  object?: unknown;
  created?: unknown;
  model?: unknown;
  choices?: ChunkChoice[];
  usage?: Usage | null;
  prompt_token_ids?: number[] | null;
  error?: unknown;
  [field: string]: unknown;
}

/** What an isolate keeps of one answer at most; beyond it the answer goes on, and nothing can take it up (facts/failures.md §1, row 37). */
export interface DeliveredMax {
  /** UTF-16 units of text. */
  text: number;
  /** Token ids, the prompt's included. */
  ids: number;
}

export const deliveredMax: DeliveredMax = { text: 1024 * 1024, ids: 64 * 1024 };

/** Texts of one kind in a row, e.g. all of the reasoning, or one tool call's arguments. */
export interface Segment {
  /** `reasoning`, `content`, `refusal`, or `tool:INDEX:NAME`. */
  field: string;
  text: string;
  /** A tool call's, as the client knows it. */
  id?: string | undefined;
}

/** What the client has of one choice. */
export interface Had {
  segments: Segment[];
  role: boolean;
  finish: string | undefined;
  /** Ids of its output tokens, when every piece of text came with them. */
  ids: number[];
  idsKnown: boolean;
  /** How many of the ids were there when text last came: engines hold back the text of unfinished characters. */
  idsAtText: number;
  /** Tokens whose logprobs were delivered. */
  logprobs: number;
  /** Pieces of text: about as many as tokens where nobody counts them. */
  pieces: number;
}

/** Pieces of text between two looks at it. */
const flattenEvery = 256;

/**
 * V8 keeps a string that grows as a tree of its pieces, and a piece of 13 characters or more as a view of the chunk that it was cut
 * from. A look at one character makes it one string, and lets go of them.
 */
function flatten(text: string): void {
  text.charCodeAt(0);
}

/** Where the text of a chunk belongs that holds nothing else but its ids. */
interface Like {
  had: Had;
  field: string;
}

const headFields = ["id", "object", "created", "model", "system_fingerprint", "service_tier"] as const;
const deltaFields = new Set(["role", "content", "reasoning_content", "reasoning", "refusal", "tool_calls"]);
const textFields = ["reasoning_content", "reasoning", "content", "refusal"] as const;

function isNothing(value: unknown): boolean {
  return value === null || value === undefined || value === "" || (typeof value === "object" && Object.keys(value).length === 0);
}

/** The texts of a piece, in the order in which engines give them: reasoning, content, refusal, tool calls. */
export function textsOf({ delta, text }: ChunkChoice): { field: string; key: (typeof textFields)[number] | "text"; text: string }[] {
  const texts: ReturnType<typeof textsOf> = [];
  if (typeof text === "string") texts.push({ field: "content", key: "text", text });
  if (delta !== undefined && delta !== null) {
    for (const key of textFields) {
      const value = delta[key];
      // some engines give their reasoning under both names
      if (key === "reasoning" && typeof delta.reasoning_content === "string") continue;
      if (typeof value === "string") texts.push({ field: key.startsWith("reasoning") ? "reasoning" : key, key, text: value });
    }
  }
  return texts;
}

export function logprobCount(logprobs: Logprobs | null | undefined): number {
  if (logprobs === null || logprobs === undefined) return 0;
  const list = logprobs["content"] ?? logprobs["tokens"] ?? logprobs["refusal"];
  return Array.isArray(list) ? list.length : 0;
}

/**
 * What a client has been given of a streamed answer, as far as another upstream has to know it to go on. It is told of every chunk
 * that passes; most of them as a bare text.
 */
export class Delivered {
  readonly #max: DeliveredMax;
  /** What all chunks of the answer have in common: that of the first. */
  readonly head: Partial<Record<(typeof headFields)[number], unknown>> = {};
  promptIds: number[] | undefined;
  readonly choices = new Map<number, Had>();
  /** Something was delivered that cannot be compared or continued. */
  odd = false;
  /** There was more than may be kept: what is here is not all. */
  overfull = false;
  usageTold = false;
  /** Streams that took over from one that was lost. */
  resumed = 0;
  #begun = false;
  #text = 0;
  #like: Like | undefined;

  constructor(max = deliveredMax) {
    this.#max = max;
  }

  /** Whether the client has got anything of the answer itself. */
  get some(): boolean {
    for (const { segments, finish } of this.choices.values()) if (finish !== undefined || segments.length > 0) return true;
    return this.odd || this.overfull;
  }

  get pieces(): number {
    let pieces = 0;
    for (const had of this.choices.values()) pieces += had.pieces;
    return pieces;
  }

  had(index: number): Had {
    let had = this.choices.get(index);
    if (had === undefined) {
      had = { segments: [], role: false, finish: undefined, ids: [], idsKnown: true, idsAtText: 0, logprobs: 0, pieces: 0 };
      this.choices.set(index, had);
    }
    return had;
  }

  /** All that was delivered of one field of a choice. */
  textOf(index: number, field = "content"): string {
    let text = "";
    for (const segment of this.choices.get(index)?.segments ?? []) if (segment.field === field) text += segment.text;
    return text;
  }

  /**
   * Take down a chunk.
   *
   * @returns whether those that differ from it in text and ids only may be told by `more` from here on; otherwise those like the
   * last one of which that was said
   */
  note(chunk: Chunk): boolean {
    if (!this.#begun && Array.isArray(chunk.choices) && chunk.choices.length > 0) {
      this.#begun = true;
      for (const name of headFields) if (chunk[name] !== undefined) this.head[name] = chunk[name];
    }
    if (chunk.usage !== undefined && chunk.usage !== null) this.usageTold = true;
    if (Array.isArray(chunk.prompt_token_ids)) this.#prompt(chunk.prompt_token_ids);
    if (!Array.isArray(chunk.choices)) return false;
    let like: Like | undefined;
    for (const choice of chunk.choices) like = this.#choice(choice);
    if (like === undefined || chunk.choices.length > 1) return false;
    this.#like = like;
    return true;
  }

  /** @param ids as JSON has them, between the brackets; empty when there are none */
  more(text: string, ids: string): void {
    const like = this.#like;
    if (like === undefined) {
      this.odd = true;
      return;
    }
    if (ids === "") {
      if (text !== "") like.had.idsKnown = false;
    } else if (like.had.idsKnown) {
      if (ids.includes(",")) for (const id of ids.split(",")) like.had.ids.push(Number(id));
      else like.had.ids.push(Number(ids));
    }
    this.#append(like.had, like.field, text);
  }

  #prompt(ids: number[]): void {
    this.promptIds = ids.length > this.#max.ids ? undefined : ids;
  }

  #choice(choice: ChunkChoice): Like | undefined {
    if (typeof choice !== "object" || choice === null) {
      this.odd = true;
      return undefined;
    }
    const { delta, finish_reason: finish, token_ids: ids, prompt_token_ids: promptIds, logprobs } = choice;
    const had = this.had(choice.index ?? 0);
    if (Array.isArray(promptIds)) this.#prompt(promptIds);
    if (Array.isArray(ids) && had.idsKnown) for (const id of ids) had.ids.push(id);
    const texts = textsOf(choice);
    for (const { field, text } of texts) {
      if (text !== "" && !Array.isArray(ids)) had.idsKnown = false;
      this.#append(had, field, text);
    }
    if (typeof delta?.role === "string") had.role = true;
    const called = Array.isArray(delta?.tool_calls) && delta.tool_calls.length > 0;
    if (called) {
      for (const call of delta.tool_calls ?? []) this.#tool(had, call);
      had.idsAtText = had.ids.length;
    }
    for (const [name, value] of Object.entries(delta ?? {})) if (!deltaFields.has(name) && !isNothing(value)) this.odd = true;
    if (typeof finish === "string") had.finish = finish;
    const scored = logprobCount(logprobs);
    had.logprobs += scored;
    const [only] = texts;
    if (only === undefined || texts.length > 1 || scored > 0 || typeof finish === "string" || called) return undefined;
    return { had, field: only.field };
  }

  #tool(had: Had, { index = 0, id, function: called }: ToolDelta): void {
    const known = had.segments.findLast(({ field }) => field.startsWith(`tool:${index}:`));
    if (known === undefined || (typeof id === "string" && id !== "" && known.id !== id)) {
      had.segments.push({ field: `tool:${index}:${called?.name ?? ""}`, text: "", id: id ?? undefined });
      // a call that begins twice, or goes on after another began, is not one that can be compared
      if (known !== undefined) this.odd = true;
    } else if (known !== had.segments.at(-1)) this.odd = true;
    this.#append(had, had.segments.at(-1)?.field ?? "", called?.arguments ?? "");
  }

  #append(had: Had, field: string, text: string): void {
    if (this.overfull) return;
    if (text !== "") {
      this.#text += text.length;
      had.pieces++;
      had.idsAtText = had.ids.length;
      const last = had.segments.at(-1);
      if (last !== undefined && last.field === field) {
        last.text += text;
        if (had.pieces % flattenEvery === 0) flatten(last.text);
      }
      else had.segments.push({ field, text });
      if (this.#text > this.#max.text) this.#overflow();
    }
    if (had.idsKnown && had.ids.length + (this.promptIds?.length ?? 0) > this.#max.ids) this.forgetIds();
  }

  /** Tokens of prompt and answer, when the ids of all are known. */
  usage(): Usage | undefined {
    if (this.promptIds === undefined) return undefined;
    let completion = 0;
    for (const { ids, idsKnown } of this.choices.values()) {
      if (!idsKnown || ids.length === 0) return undefined;
      completion += ids.length;
    }
    return { prompt_tokens: this.promptIds.length, total_tokens: this.promptIds.length + completion, completion_tokens: completion };
  }

  forgetIds(): void {
    this.promptIds = undefined;
    for (const had of this.choices.values()) {
      had.ids = [];
      had.idsKnown = false;
      had.idsAtText = 0;
    }
  }

  #overflow(): void {
    this.overfull = true;
    this.#text = 0;
    this.forgetIds();
    for (const had of this.choices.values()) had.segments = [];
  }
}
