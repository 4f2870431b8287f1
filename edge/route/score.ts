import type { Price } from "../../schema/bundle.ts";
import { linkTimes } from "../../schema/protocol.ts";
import type { Field } from "./field.ts";
import type { RequestFacts } from "./request.ts";
import { isBatch } from "./strategy.ts";

/** A reading of the load so old (ms) says nothing of idleness any more: its host's lease is over. */
const believedMs = linkTimes.leaseMs;

/** How far an idle reading is believed after so long: 1 at once, less by the heartbeat, 0 at the end of a lease. */
export const beliefAfter = (ageMs: number): number => Math.min(1, Math.max(0, 1 - ageMs / believedMs));

/**
 * Load: (max − q) / (max − min), 1 if all are equal (facts/routing-and-scaling.md §2: llm-d's queue scorer). Who does not say counts as
 * the busiest that does, and as having something to do.
 *
 * @param now where nothing but readings is known: a score above the mean fades towards it with the reading's age; a busy one stays
 */
export function scoreLoad({ size, load, readAt }: Field, out: Float32Array, now: number | undefined): boolean {
  const { known, min, max: most } = extent(load, size);
  if (known === 0) return false;
  const max = known < size ? Math.max(1, most) : most;
  const range = max - min;
  if (range === 0) out.fill(1, 0, size);
  else {
    const mean = fromTop(load, out, max, range, size) / size;
    if (now !== undefined) fadeIdle(out, readAt, mean, now, size);
  }
  return true;
}

// Each loop over all candidates is a function of its own: V8 then optimises it once, for arrays of any length.

/** Least and most of the readings that are known. */
export function extent(column: Float32Array, size: number): { known: number; min: number; max: number } {
  let known = 0;
  let max = 0;
  let min = Number.POSITIVE_INFINITY;
  for (let i = 0; i < size; i++) {
    const value = column[i] as number;
    if (value !== value) continue;
    known++;
    if (value > max) max = value;
    if (value < min) min = value;
  }
  return { known, min, max };
}

/** Sum of the scores. */
function fromTop(load: Float32Array, out: Float32Array, max: number, range: number, size: number): number {
  let sum = 0;
  for (let i = 0; i < size; i++) {
    const q = load[i] as number;
    const s = q === q ? (max - q) / range : 0;
    out[i] = s;
    sum += s;
  }
  return sum;
}

function fadeIdle(out: Float32Array, readAt: Float64Array, mean: number, now: number, size: number): void {
  for (let i = 0; i < size; i++) {
    const s = out[i] as number;
    if (s > mean) out[i] = mean + (s - mean) * beliefAfter(now - (readAt[i] as number));
  }
}

/** Room for KV blocks: 1 − usage (llm-d). Abstains when a replica does not say; a provider, which has none, counts as their mean. */
export function scoreKv({ size, replicas, kvUsage }: Field, out: Float32Array): boolean {
  if (replicas === 0) return false;
  let sum = 0;
  for (let i = 0; i < replicas; i++) {
    const free = 1 - (kvUsage[i] as number);
    out[i] = free;
    sum += free;
  }
  if (sum !== sum) return false;
  out.fill(sum / replicas, replicas, size);
  return true;
}

/** Share of the prompt that is expected in the cache (llm-d: matched / all blocks). Abstains when nobody holds any. */
export function scorePrefix({ size, matched }: Field, out: Float32Array): boolean {
  let any = false;
  for (let i = 0; i < size; i++) {
    const share = matched[i] as number;
    out[i] = share;
    if (share > 0) any = true;
  }
  return any;
}

/** How fast an engine reads a prompt: tokens/ms (facts/routing-and-scaling.md §2: llm-d's peak prefill, 15,928 tokens/s). */
export const prefillTokensPerMs = 15.928;
/** What one that waits before us has to have read (facts/routing-and-scaling.md §2: SMG's mean prefill). */
export const meanPromptTokens = 1_024;
/** Differences well below this (ms) are noise to a person, and to a score: the network's own spread. */
const noticeableMs = 20;

/**
 * Predicted time to the first token: what was lately seen of the upstream, and what stands before this request's first token: the engine's
 * queue, this isolate's own prompts that it still reads, and the part of this one that it does not hold. Of whom nothing was seen
 * counts as the slowest of those seen. 1 for the fastest, 1/2 for twice its time.
 */
export function scoreLatency(field: Field, out: Float32Array, request: RequestFacts | undefined): boolean {
  const { size, replicas, ttftMs, queueDepth } = field;
  const slowest = extent(ttftMs, size).max;
  const longest = extent(queueDepth, replicas).max;
  const best = predict(field, out, slowest, longest, request?.promptTokens ?? 0);
  againstBest(out, best, size);
  return true;
}

/** Predicted ms; the least of them. */
function predict({ size, ttftMs, queueDepth, waitingTokens, matched }: Field, out: Float32Array, slowest: number, longest: number, promptTokens: number): number {
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < size; i++) {
    const seen = ttftMs[i] as number;
    const queued = queueDepth[i] as number;
    // two views of the same queue, the engine's and this isolate's: never added
    const tokens = Math.max((queued === queued ? queued : longest) * meanPromptTokens, waitingTokens[i] as number) + promptTokens * (1 - (matched[i] as number));
    const ms = (seen === seen ? seen : slowest) + tokens / prefillTokensPerMs;
    out[i] = ms;
    if (ms < best) best = ms;
  }
  return best;
}

function againstBest(out: Float32Array, best: number, size: number): void {
  for (let i = 0; i < size; i++) out[i] = (best + noticeableMs) / ((out[i] as number) + noticeableMs);
}

/** What a price depends on. */
export type Size = Pick<RequestFacts, "promptTokens" | "maxTokens" | "stream">;

/** Output of a chat whose client does not say how much it wants (facts/routing-and-scaling.md §9: Mooncake's conversations, mean 343). */
const usualOutputTokens = 343;

/** Tokens of output to reckon with: a client's limit is seldom reached but by batch jobs, which ask for what they need. */
export function expectedOutput(request: Size): number {
  const { maxTokens } = request;
  if (maxTokens === undefined) return usualOutputTokens;
  return isBatch(request) ? maxTokens : Math.min(maxTokens, usualOutputTokens);
}

/** Price of a request in micro-USD, of whose prompt a share is cached. */
export function priceOf({ inputMicroUsd, cachedInputMicroUsd, outputMicroUsd }: Price, request: Size, matched: number): number {
  const { promptTokens } = request;
  return (promptTokens * ((1 - matched) * inputMicroUsd + matched * cachedInputMicroUsd) + expectedOutput(request) * outputMicroUsd) / 1e6;
}

/** Where a request's size is unknown, prices are compared for this one. */
const typical: Size = { promptTokens: meanPromptTokens, maxTokens: undefined, stream: true };

/**
 * Cost: (dearest − price) / (dearest − cheapest) of this request. Replicas without a price cost nothing more when used, so they are the
 * cheapest; a provider without one may cost anything: it counts as the dearest. Abstains when nobody has
 * one.
 */
export function scoreCost({ size, replicas, matched }: Field, out: Float32Array, own: Price | undefined, providers: (place: number) => Price | undefined, request: RequestFacts | undefined): boolean {
  const asked = request ?? typical;
  if (own === undefined) out.fill(0, 0, replicas);
  else priceAll(out, matched, priceOf(own, asked, 0), priceOf(own, asked, 1), replicas);
  for (let i = replicas; i < size; i++) {
    const price = providers(i);
    out[i] = price === undefined ? Number.NaN : priceOf(price, asked, matched[i] as number);
  }
  const { known, min, max } = extent(out, size);
  if (known === 0) return false;
  againstDearest(out, max, max - min, size);
  return true;
}

/** Prices of the same upstream, between that of a prompt that is not cached at all and of one that is. */
function priceAll(out: Float32Array, matched: Float32Array, uncached: number, cached: number, replicas: number): void {
  for (let i = 0; i < replicas; i++) out[i] = uncached + (cached - uncached) * (matched[i] as number);
}

function againstDearest(out: Float32Array, dearest: number, range: number, size: number): void {
  for (let i = 0; i < size; i++) {
    const cost = out[i] as number;
    out[i] = cost !== cost ? 0 : range > 0 ? (dearest - cost) / range : 1;
  }
}
