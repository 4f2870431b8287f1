import { IDS, SILENT, TOKEN_BYTES_MAX, TOKENS } from "./vocabulary.ts";

/**
 * Text to token ids: the longest token that fits, from the left. Inverse of `decode` for well-formed text; and for the ids the model generates, `decode` is inverted by this too, so a
 * continuation from text goes on where a continuation from ids would.
 */
export function encode(text: string): number[] {
  const bytes = Buffer.from(text, "utf8").toString("latin1");
  const ids: number[] = [];
  for (let at = 0; at < bytes.length; ) {
    for (let length = Math.min(TOKEN_BYTES_MAX, bytes.length - at); ; length--) {
      const id = IDS.get(bytes.slice(at, at + length));
      if (id === undefined) continue;
      ids.push(id);
      at += length;
      break;
    }
  }
  return ids;
}

/** The bytes of some tokens as a latin1 string. Special tokens are spelled out. */
function bytesOf(ids: readonly number[]): string {
  return ids.map((id) => TOKENS[id] ?? "").join("");
}

function utf8(latin1: string): string {
  return Buffer.from(latin1, "latin1").toString("utf8");
}

/** Token ids to text, special tokens spelled out. Bytes that are no character become U+FFFD. */
export function decode(ids: readonly number[]): string {
  return utf8(bytesOf(ids));
}

/** How many bytes at the end are the beginning of a character that has not come whole: 0 to 3. */
export function unfinishedBytes(latin1: string): number {
  for (let back = 1; back <= Math.min(3, latin1.length); back++) {
    const byte = latin1.charCodeAt(latin1.length - back);
    if (byte < 0x80) return 0;
    if (byte < 0xc0) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
    return length > back ? back : 0;
  }
  return 0;
}

/** Whether these ids end inside a character. */
export function endsInsideCharacter(ids: readonly number[]): boolean {
  return unfinishedBytes(bytesOf(ids.slice(-4))) > 0;
}

/**
 * Tokens to text one at a time, as vLLM's incremental detokenizer does it: a token that ends inside a character gives no text, and what it holds comes with the token that completes the
 * character. `promptIds` lets an answer begin inside a character that the prompt left open.
 */
export class TextStream {
  #held = "";

  constructor(promptIds: readonly number[] = []) {
    for (let count = 1; count <= Math.min(4, promptIds.length); count++) {
      const tail = bytesOf(promptIds.slice(-count));
      const open = unfinishedBytes(tail);
      if (open > 0) {
        this.#held = tail;
        return;
      }
    }
  }

  /** The text that one more token makes certain. */
  push(id: number): string {
    if (SILENT.has(id)) return "";
    this.#held += TOKENS[id] ?? "";
    if (unfinishedBytes(this.#held) > 0) return "";
    const text = utf8(this.#held);
    this.#held = "";
    return text;
  }
}

/** One token as a string for logprobs and `token_strs`. */
export function tokenString(id: number): string {
  return utf8(TOKENS[id] ?? "");
}

/** One token's bytes as numbers. */
export function tokenBytes(id: number): number[] {
  return [...Buffer.from(TOKENS[id] ?? "", "latin1")];
}
