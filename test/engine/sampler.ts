import { hashText, mix } from "./hash.ts";
import { ASSISTANT, FIRST_TOKENS, FOLLOWERS, FULL_STOP, KIND_OF_TOKEN, LINE_STARTERS, NEWLINE, PARAGRAPH, SPELLED_WORDS, THINK, THINK_END, TURN_END, TURN_START, WORD_TOKENS_MAX } from "./vocabulary.ts";
import type { WordKind } from "./vocabulary.ts";

/** What makes two engines one model: equal values generate equal tokens after equal tokens. */
export interface Model {
  name: string;
  seed: number;
  /** The model thinks before it answers a chat. */
  reasoning: boolean;
}

/** After how many tokens an answer ends with its sentence: from 28, fewer than 52; a sentence takes up to about ten more. */
const ANSWER_TOKENS_MIN = 28;
const ANSWER_TOKENS_SPREAD = 24;
const THINK_TOKENS_MIN = 8;
const THINK_TOKENS_SPREAD = 9;

/**
 * Where a text stands: all that the next token depends on, and itself a function of the token ids so far and nothing else.
 *
 * An answer must end after about 30 to 60 tokens, but a continuation does not say where the answer began. So the state counts how many of the last tokens are the ones this model would
 * have generated (`ownTokens`): a prompt breaks the count, a continued answer carries it on.
 */
export class TextState {
  readonly #model: Model;
  #hash: number;
  #tail: number[] = [];
  #ownTokens = 0;
  #endAfter = 0;
  #thoughtTokens: number | undefined;
  #thinkFor = 0;

  /** @param choice which of the `n` answers; they differ from their first token on */
  constructor(model: Model, choice = 0) {
    this.#model = model;
    this.#hash = hashText(model.name, mix(model.seed, choice));
    this.#endAfter = this.#lengthFrom(ANSWER_TOKENS_MIN, ANSWER_TOKENS_SPREAD);
  }

  /** Takes in one more token, generated or given. */
  push(id: number): void {
    const own = id === this.next(false);
    this.#hash = mix(this.#hash, id);
    this.#tail.push(id);
    if (this.#tail.length > WORD_TOKENS_MAX) this.#tail.shift();
    this.#ownTokens = own ? this.#ownTokens + 1 : 0;
    if (!own) this.#endAfter = this.#lengthFrom(ANSWER_TOKENS_MIN, ANSWER_TOKENS_SPREAD);
    if (id === THINK) {
      this.#thoughtTokens = 0;
      this.#thinkFor = this.#lengthFrom(THINK_TOKENS_MIN, THINK_TOKENS_SPREAD);
    } else if (id === THINK_END || id === TURN_START) this.#thoughtTokens = undefined;
    else if (this.#thoughtTokens !== undefined) this.#thoughtTokens++;
  }

  /** The next token. Without `mayEnd` it is never the end-of-sequence token. */
  next(mayEnd: boolean): number {
    const spelling = this.#spelling();
    if (spelling !== undefined) return spelling;
    if (this.#thoughtTokens !== undefined) {
      if (this.#thoughtTokens >= this.#thinkFor) return THINK_END;
    } else {
      if (mayEnd && this.#isLong() && this.#tail.at(-1) === FULL_STOP) return TURN_END;
      if (this.#model.reasoning && this.#opensAnswer()) return THINK;
    }
    const kind = this.#nextKind();
    const last = this.#tail.at(-1);
    const opensLine = last === undefined || last === NEWLINE || last === PARAGRAPH || last === THINK || last === THINK_END;
    return this.#choose(kind === "starter" && opensLine ? LINE_STARTERS : FIRST_TOKENS[kind], 1);
  }

  /** A number that differs from token to token, for logprobs. */
  get fingerprint(): number {
    return this.#hash;
  }

  #lengthFrom(min: number, spread: number): number {
    return min + (mix(this.#hash, 7) % spread);
  }

  #choose<T>(among: readonly T[], salt: number): T {
    return among[mix(this.#hash, salt) % among.length] as T;
  }

  #endsWith(ids: readonly number[], count: number): boolean {
    const from = this.#tail.length - count;
    if (from < 0) return false;
    for (let i = 0; i < count; i++) if (this.#tail[from + i] !== ids[i]) return false;
    return true;
  }

  /** The next piece of a word begun, if one is. */
  #spelling(): number | undefined {
    for (let count = Math.min(WORD_TOKENS_MAX - 1, this.#tail.length); count > 0; count--) {
      const begun = SPELLED_WORDS.filter((word) => word.ids.length > count && this.#endsWith(word.ids, count));
      if (begun.length > 0) return this.#choose(begun, 2).ids[count];
    }
    return undefined;
  }

  #isLong(): boolean {
    return this.#ownTokens >= this.#endAfter;
  }

  #opensAnswer(): boolean {
    return this.#endsWith([TURN_START, ASSISTANT, NEWLINE], 3);
  }

  #nextKind(): WordKind {
    if (this.#ownTokens === 0) return "starter";
    const spelled = SPELLED_WORDS.find((word) => this.#endsWith(word.ids, word.ids.length));
    const kind = spelled?.kind ?? KIND_OF_TOKEN.get(this.#tail.at(-1) ?? -1);
    if (kind === undefined) return "starter";
    if (this.#isLong() && (kind === "noun" || kind === "adverb")) return "fullStop";
    const followers = FOLLOWERS[kind];
    let rest = mix(this.#hash, 3) % followers.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [follower, weight] of followers) {
      rest -= weight;
      if (rest < 0) return follower;
    }
    return "starter";
  }
}
