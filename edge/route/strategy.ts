import type { Strategy } from "../../schema/bundle.ts";
import type { RequestFacts } from "./request.ts";

/** What is scored, each 0..1. */
export const scorers = ["latency", "cost", "load", "kv", "prefix"] as const;
export type Scorer = (typeof scorers)[number];

export type Weights = Readonly<Partial<Record<Scorer, number>>>;

/**
 * How much each scorer counts. llm-d's default profile is queue 2, kv 2, prefix 3 (facts/routing-and-scaling.md §2); where money or
 * time leads, it outweighs the rest together, which then decides among upstreams that are alike in it.
 */
const weights: Readonly<Record<Strategy, Weights>> = {
  cost_optimized: { cost: 6, latency: 2, load: 2 },
  latency_optimized: { latency: 4, load: 1 },
  availability_first: { load: 1 },
  least_load: { load: 1 },
  instance_aware_least_load: { load: 1 },
  round_robin: {},
  weighted: { load: 1 },
  prefix_affinity: { load: 2, kv: 2, prefix: 3 },
};

/** From so many tokens of output on, a request that is not streamed is a batch job: nobody watches it grow (facts §9: chats have 100–350). */
export const batchTokens = 1_024;
/** Up to so many tokens of prompt, a streamed request is somebody waiting for the first word (facts §9: SMG's mean prefill). */
export const shortTokens = 1_024;

/** A request that nobody waits for: not streamed, and long. */
export const isBatch = ({ stream, maxTokens }: Pick<RequestFacts, "stream" | "maxTokens">): boolean => !stream && (maxTokens ?? 0) >= batchTokens;

/** The weights of a strategy for one request: under `cost_optimized` batch jobs do not pay for speed, and short streams do more. */
export function weightsOf(strategy: Strategy, request: RequestFacts | undefined): Weights {
  const usual = weights[strategy];
  if (strategy !== "cost_optimized" || request === undefined) return usual;
  if (isBatch(request)) return batch;
  return request.stream && request.promptTokens <= shortTokens ? chatty : usual;
}

const batch: Weights = { cost: 8, load: 1 };
const chatty: Weights = { cost: 5, latency: 4, load: 2 };

/** Whether a strategy looks at the prompt's hashes: where it does not, they are never computed. */
export const readsPrefix = (strategy: Strategy): boolean => strategy === "prefix_affinity" || strategy === "latency_optimized" || strategy === "cost_optimized";
