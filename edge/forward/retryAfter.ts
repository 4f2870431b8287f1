import type { Now } from "../../schema/clock.ts";

/** No upstream parks itself for longer (facts/failures.md §2). */
export const parkMsMax = 60_000;
/** A throttled upstream that does not say for how long. */
export const parkMsUnsaid = 1_000;
/** What one request waits for upstreams that asked it to, in all: the common "in 2 seconds" is waited for. */
export const waitMsMax = 2_500;

/** Decimal digits and one point: what `Number` also takes, such as "0x10" or "1e3", is no delay. */
const decimal = /^-?\d+(\.\d*)?$|^-?\.\d+$/;

function bounded(ms: number): number {
  return Math.min(parkMsMax, Math.max(0, Math.round(ms)));
}

/**
 * How long an upstream asks to be left alone: `retry-after-ms`, else `retry-after` as seconds, whole or not, or as an HTTP date.
 *
 * @returns milliseconds from 0 to 60 000; undefined when it says nothing that can be read
 */
export function retryAfterMs(headers: { get(name: string): string | null }, now: Now): number | undefined {
  const inMs = headers.get("retry-after-ms")?.trim();
  if (inMs !== undefined && decimal.test(inMs)) return bounded(Number(inMs));
  const text = headers.get("retry-after")?.trim();
  if (text === undefined) return undefined;
  if (decimal.test(text)) return bounded(Number(text) * 1000);
  // an HTTP date names its day and month; Date.parse would make a year of any bare number
  const date = /[a-z]{3}/i.test(text) && /\d\d:\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(date) ? undefined : bounded(date - now);
}
