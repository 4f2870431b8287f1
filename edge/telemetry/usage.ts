import type { Counts } from "./tally.ts";

/** Of an answer's end so many bytes are looked at: engines write their usage last, behind at most a few short fields. */
const tailBytes = 1_024;

/** The token counts of a `usage` object, whoever wrote it. */
export interface UsageCounts {
  prompt_tokens?: unknown;
  completion_tokens?: unknown;
  prompt_tokens_details?: { cached_tokens?: unknown } | null;
}

function add(counts: Counts, input: unknown, output: unknown, cached: unknown): void {
  if (isCount(input)) counts.add("inputTokens", input);
  if (isCount(output)) counts.add("outputTokens", output);
  if (isCount(cached)) counts.add("cachedTokens", cached);
}

/** A count that can be: an upstream's nonsense must not spoil everybody's sum. */
function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value > 0 && value <= 100_000_000;
}

export function countUsage(counts: Counts, usage: UsageCounts): void {
  add(counts, usage.prompt_tokens, usage.completion_tokens, usage.prompt_tokens_details?.cached_tokens);
}

/** The bytes of `"usage"`, `prompt_tokens":`, … */
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const name = bytesOf('"usage"');
const inputName = bytesOf('"prompt_tokens"');
const outputName = bytesOf('"completion_tokens"');
const cachedName = bytesOf('"cached_tokens"');

function startsAt(bytes: Uint8Array, at: number, word: Uint8Array): boolean {
  for (let i = 0; i < word.length; i++) if (bytes[at + i] !== word[i]) return false;
  return true;
}

/** The whole number after a name and its colon; -1 when it is none. */
function numberAfter(bytes: Uint8Array, at: number, word: Uint8Array): number {
  let i = at + word.length;
  while (bytes[i] === 0x20 || bytes[i] === 0x3a) i++;
  let value = -1;
  for (let unit = bytes[i] as number; unit >= 0x30 && unit <= 0x39; unit = bytes[++i] as number) value = (value < 0 ? 0 : value) * 10 + unit - 0x30;
  return value;
}

/**
 * Count the usage at the end of an answer that is here whole, without a parse: a look backwards for `"usage"`, then forwards for its
 * counts. A text that holds the same word inside a string has its quotes escaped, and is passed over.
 *
 * @returns whether there was one
 */
export function countUsageAtEnd(counts: Counts, body: Uint8Array | ArrayBuffer): boolean {
  const bytes = body instanceof Uint8Array ? body : new Uint8Array(body);
  const first = Math.max(0, bytes.length - tailBytes);
  // the byte in the middle of the name is rare in JSON's structure: fewer places are compared
  for (let at = bytes.lastIndexOf(0x75, bytes.length - 1); at > first; at = bytes.lastIndexOf(0x75, at - 1)) {
    if (!startsAt(bytes, at - 1, name) || bytes[at - 2] === 0x5c) continue;
    let [input, output, cached] = [-1, -1, -1];
    for (let i = at + name.length; i < bytes.length; i++) {
      if (bytes[i] !== 0x22) continue;
      const next = bytes[i + 1];
      if (next === 0x70 && startsAt(bytes, i, inputName)) input = numberAfter(bytes, i, inputName);
      else if (next === 0x63 && startsAt(bytes, i, outputName)) output = numberAfter(bytes, i, outputName);
      else if (next === 0x63 && startsAt(bytes, i, cachedName)) cached = numberAfter(bytes, i, cachedName);
    }
    add(counts, input, output, cached);
    return true;
  }
  return false;
}
