import type { Now } from "../../schema/clock.ts";

/** A prompt that was sent, and whose first token has not come. */
export interface Unread {
  sentAt: Now;
  /** What is to be read of it: what the upstream is not expected to hold. */
  tokens: number;
  /** All of it. */
  whole: number;
  /** What the upstream was given of it before, and may hold. */
  given: number;
  /** Tokens of prompts that it was given since (`PrefixMemory`). */
  since: number;
}

/** What one upstream has still to read of this isolate's prompts, oldest first. */
export interface Reading {
  waiting: Unread[];
  /** Tokens of all of them. */
  waitingTokens: number;
  /** When the first of them began to be read, at the soonest. */
  readingSince: Now;
  /** How long it takes for a token: the median of what was seen. Undefined: nothing was. */
  msPerToken: number | undefined;
}

/** Of shorter ones, the way there and back is most of the time. SMG's mean prefill is 1,024 (facts/routing-and-scaling.md §2). */
const telling = 256;
/** Each time that was longer or shorter than the median moves it by so much: it is where both are as frequent, whatever the outliers. */
const paceStep = 1.05;
/** What is not held takes so much longer than what is, or nothing is learned from how long it took: networks are as uneven as that (`ramp.ts`). */
const apartMs = 100;

export function sent(reading: Reading, prompt: Unread): void {
  if (reading.waiting.length === 0) reading.readingSince = prompt.sentAt;
  reading.waiting.push(prompt);
  reading.waitingTokens += prompt.tokens;
}

function takeOut(reading: Reading, at: number, now: Now): Unread | undefined {
  const [prompt] = reading.waiting.splice(at, 1);
  if (prompt === undefined) return undefined;
  reading.waitingTokens = reading.waiting.length === 0 ? 0 : reading.waitingTokens - prompt.tokens;
  if (at === 0) reading.readingSince = now;
  return prompt;
}

/** One of them is waited for no more. */
export const leave = (reading: Reading, now: Now): void => void takeOut(reading, 0, now);

/**
 * The first token came of what was sent at a time.
 *
 * @returns where it tells: how much the upstream was given since it was given the beginning of this prompt, and whether it held it still
 */
export function spoke(reading: Reading, sentAt: Now, now: Now): { since: number; held: boolean } | undefined {
  const tookMs = now - reading.readingSince;
  const at = reading.waiting.findIndex((one) => Math.abs(one.sentAt - sentAt) < 1);
  const prompt = takeOut(reading, Math.max(0, at), now);
  // of what has overtaken others nobody knows when it was begun
  if (prompt === undefined || at !== 0) return undefined;
  const { tokens, whole, given: before, since } = prompt;
  const { msPerToken } = reading;
  if (tokens >= telling) reading.msPerToken = msPerToken === undefined ? tookMs / tokens : msPerToken * paceStep ** Math.sign(tookMs - msPerToken * tokens);
  if (msPerToken === undefined || before * msPerToken < apartMs) return undefined;
  return { since, held: tookMs < (whole - before / 2) * msPerToken };
}

/** Tokens that are left of what waits: what is being read is done with as time passes; when it should have been and is not, none of it was held. */
export function leftToRead({ waiting, waitingTokens, readingSince, msPerToken }: Reading, now: Now): number {
  const [first] = waiting;
  if (first === undefined || msPerToken === undefined || msPerToken === 0) return waitingTokens;
  const read = (now - readingSince) / msPerToken;
  return waitingTokens - first.tokens + Math.max(0, (read <= first.tokens ? first.tokens : first.whole) - read);
}
