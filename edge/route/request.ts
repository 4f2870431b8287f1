import { FairleadError } from "../../schema/errors.ts";
import { promptHashes, type PromptHashes } from "./prefix.ts";

/** Deeper bodies are refused: some engines' parsers fail on them (facts/failures.md §2). */
export const depthMax = 64;

/** What routing needs of an inference request. Its text goes on as it came. */
export interface InferenceRequest {
  model: string;
  stream: boolean;
  body: Record<string, unknown>;
}

/** Whether a JSON value nests deeper than `limit`; looks at containers only. */
export function deeperThan(value: unknown, limit: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (limit === 0) return true;
  if (Array.isArray(value)) return value.some((inner) => deeperThan(inner, limit - 1));
  // no list of its values is made for it
  for (const name in value) if (deeperThan((value as Record<string, unknown>)[name], limit - 1)) return true;
  return false;
}

/**
 * Read what routing needs of a body.
 *
 * @throws FairleadError `invalid_json` for a body that is not JSON, `invalid_request` for one that is no object, is nested too
 * deep, or has no model
 */
export function readInference(text: string): InferenceRequest {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw new FairleadError("invalid_json", "Cannot read the request body: it is not valid JSON in UTF-8");
  }
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw new FairleadError("invalid_request", "Cannot read the request body: it is not a JSON object");
  }
  if (deeperThan(body, depthMax)) throw new FairleadError("invalid_request", `Cannot accept the request body: it is nested more than ${depthMax} levels deep`);
  const { model, stream } = body as Record<string, unknown>;
  if (typeof model !== "string" || model === "") throw new FairleadError("invalid_request", 'Cannot route the request: "model" is missing or is not a string', { param: "model" });
  if (stream !== undefined && stream !== null && typeof stream !== "boolean") {
    throw new FairleadError("invalid_request", 'Cannot accept the request: "stream" is not a boolean', { param: "stream" });
  }
  return { model, stream: stream === true, body: body as Record<string, unknown> };
}

/** What routing weighs of a request. */
export interface RequestFacts {
  account: string;
  /** An estimate: four characters a token. */
  promptTokens: number;
  /** The most tokens the client wants; undefined where it does not say. */
  maxTokens: number | undefined;
  stream: boolean;
  /** Hashes of the prompt's blocks, each of all before it too, scoped by account; computed when first read. */
  readonly prefix: readonly number[];
  /** A hash of what tells the conversation from others; computed with `prefix`. */
  readonly conversation: number;
  /** Whether the conversation has earlier turns; computed with `prefix`. */
  readonly continues: boolean;
  /** Whether `prefix` has been computed: only some strategies need it. */
  readonly hashed: boolean;
  /** The client's word for what belongs together (`x-session-id`). */
  session: string | undefined;
}

/** The common rule of thumb for English text; JSON around it makes it an overestimate. */
const charactersPerToken = 4;

/** Hashes are worked out when first read; a class, because an object with getters of its own is made anew, slowly, for every request. */
class Facts implements RequestFacts {
  readonly account: string;
  readonly promptTokens: number;
  readonly maxTokens: number | undefined;
  readonly stream: boolean;
  readonly session: string | undefined;
  readonly #body: Record<string, unknown>;
  #hashes: PromptHashes | undefined;

  constructor(body: Record<string, unknown>, byteLength: number, account: string, session: string | undefined) {
    const most = body["max_completion_tokens"] ?? body["max_tokens"] ?? body["max_output_tokens"];
    this.account = account;
    this.promptTokens = Math.ceil(byteLength / charactersPerToken);
    this.maxTokens = typeof most === "number" && most >= 0 ? most : undefined;
    this.stream = body["stream"] === true;
    this.session = session;
    this.#body = body;
  }

  get #computed(): PromptHashes {
    return (this.#hashes ??= promptHashes(this.#body, this.account));
  }

  get prefix(): readonly number[] {
    return this.#computed.chain;
  }

  get conversation(): number {
    return this.#computed.conversation;
  }

  get continues(): boolean {
    return this.#computed.continues;
  }

  get hashed(): boolean {
    return this.#hashes !== undefined;
  }
}

/**
 * What routing weighs of a parsed request.
 *
 * @param byteLength of the body
 * @param session the value of `x-session-id`
 */
export function requestFacts(body: Record<string, unknown>, byteLength: number, account: string, session?: string): RequestFacts {
  return new Facts(body, byteLength, account, session);
}
