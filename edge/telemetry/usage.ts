import type { Counts } from "./tally.ts";

/** Of an answer's end so many characters are looked at: engines write their usage last, behind at most a few short fields. */
const tailLength = 1_024;

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

/** The whole number after a name and its colon; -1 when it is none. */
function numberAfter(text: string, name: string, from: number): number {
  const at = text.indexOf(name, from);
  if (at < 0) return -1;
  let i = at + name.length;
  for (let unit = text.charCodeAt(i); unit === 0x20 || unit === 0x3a; ) unit = text.charCodeAt(++i);
  let value = -1;
  for (let unit = text.charCodeAt(i); unit >= 0x30 && unit <= 0x39; unit = text.charCodeAt(++i)) value = (value < 0 ? 0 : value) * 10 + unit - 0x30;
  return value;
}

/**
 * Count the usage at the end of an answer that is here whole, without a parse: a look backwards for `"usage"`, then forwards for its
 * counts. A text that holds the same word inside a string has its quotes escaped, and is passed over.
 *
 * @returns whether there was one
 */
export function countUsageAtEnd(counts: Counts, body: string): boolean {
  const tail = body.slice(-tailLength);
  let at = tail.lastIndexOf('"usage"');
  while (at > 0 && tail.charCodeAt(at - 1) === 0x5c) at = tail.lastIndexOf('"usage"', at - 1);
  if (at < 0 || tail.charCodeAt(at - 1) === 0x5c) return false;
  add(counts, numberAfter(tail, '"prompt_tokens"', at), numberAfter(tail, '"completion_tokens"', at), numberAfter(tail, '"cached_tokens"', at));
  return true;
}
