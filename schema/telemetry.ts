import { z } from "zod";
import { methods } from "./decision.ts";

/**
 * Upper bounds of the digests, in ms; what is above the last is counted in one more bucket.
 *
 * - `latency`: OpenTelemetry's for `gen_ai.server.request.duration` (semantic conventions for generative AI, metrics).
 * - `ttft`: OpenTelemetry's for `gen_ai.server.time_to_first_token`, and vLLM's 20 s and 40 s beyond them (`vllm:time_to_first_token_seconds`).
 * - `itl`: OpenTelemetry's for `gen_ai.server.time_per_output_token`; below them 1, 2.5 and 5 ms, for what comes together and for fast
 *   engines.
 */
export const digestBoundsMs = {
  latency: [10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 5_120, 10_240, 20_480, 40_960, 81_920],
  ttft: [1, 5, 10, 20, 40, 60, 80, 100, 250, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000, 20_000, 40_000],
  itl: [1, 2.5, 5, 10, 25, 50, 75, 100, 150, 200, 300, 400, 500, 750, 1_000, 2_500],
} as const satisfies Record<string, readonly number[]>;
export type Digest = keyof typeof digestBoundsMs;
export const digests = ["latency", "ttft", "itl"] as const satisfies readonly Digest[];

/** How requests end: by the class of their status; a begun stream that ended with an error; one whose client left. */
export const endings = ["2xx", "3xx", "4xx", "429", "5xx", "broken", "left"] as const;
export type Ending = (typeof endings)[number];

/** How attempts end (`edge/forward/outcome.ts`). */
export const attemptOutcomes = ["answer", "unsent", "lost", "timeout", "throttled", "unable", "credential", "caller", "context_length", "content_filter", "abandoned"] as const;

/** How an answer went on after a loss: on another upstream, or by its host's other link. */
export const resumeWays = [...methods, "reattach"] as const;

/** Single counts. `cachedTokens` are among `inputTokens`. */
export const tallies = ["arrivals", "fallbacks", "hedges", "prefixHits", "inputTokens", "outputTokens", "cachedTokens"] as const;

/** What became of requests for lack of capacity of a service's own replicas (`Demand` in `schema/scale.ts`). */
export const lacks = ["refused", "spilled"] as const;
export type Lack = (typeof lacks)[number];

/**
 * Where each count of a cell lies in its array: an isolate's hot path adds integers and builds nothing. A later version may add places at
 * the end; none changes its meaning, because routers and hubs are deployed apart.
 */
let places = 0;
const take = (count: number): number => {
  const from = places;
  places += count;
  return from;
};
export const layout = {
  endings: take(endings.length),
  attempts: take(attemptOutcomes.length),
  resumes: take(resumeWays.length),
  tallies: take(tallies.length),
  /** Each a sum in ms, and then its buckets. */
  latency: take(2 + digestBoundsMs.latency.length),
  ttft: take(2 + digestBoundsMs.ttft.length),
  itl: take(2 + digestBoundsMs.itl.length),
  lacks: take(lacks.length),
  /** Buckets of `ttft`, of those among them that had waited for a first replica. */
  heldTtft: take(1 + digestBoundsMs.ttft.length),
} as const;
export const cellSize = places;

/** Cells in one telling at most, and in what a hub keeps. */
export const cellsMax = { told: 200, kept: 2_000 } as const;
/** Upstreams with trouble, or with something in flight, that one isolate tells of. */
const gaugesMax = 200;

/** How an upstream that is not simply usable stands with an isolate. */
export const breakerStates = ["open", "half_open", "recovering"] as const;
export type BreakerTold = (typeof breakerStates)[number];

const nameSchema = z.string().max(160);

/** What one isolate saw of one service through one upstream since it told last. */
const cellSchema = z.object({
  service: nameSchema,
  /** Its name in the fallback chain; empty for requests that nobody answered. */
  upstream: nameSchema,
  counts: z.instanceof(Uint32Array).refine((counts) => counts.length <= 4 * cellSize, "too long"),
});
export type Cell = z.infer<typeof cellSchema>;

/** Versions of services in one telling at most: few services have a rollout at a time, of two versions each. */
export const versionsToldMax = 100;

/** What one isolate saw of one version of a service, while the service has several (`VersionSeen` in `schema/scale.ts`). */
const versionToldSchema = z.object({
  service: nameSchema,
  version: z.number().int().positive(),
  answers: z.number().int().nonnegative(),
  failures: z.number().int().nonnegative(),
  /** Counts by bucket; a router of a later version may know more of them. */
  ttft: z.array(z.number().int().nonnegative()).max(4 * digestBoundsMs.ttft.length),
});
export type VersionTold = z.infer<typeof versionToldSchema>;

/** What an isolate tells its Hub, behind answers: counts since the last time, and how things stand with it now. */
export const toldSchema = z.object({
  /** One isolate among others: its gauges take the place of those it told before. */
  isolate: z.string().max(64),
  cells: z.array(cellSchema).max(cellsMax.told),
  /** Requests that it has at a provider. */
  inFlight: z.array(z.object({ service: nameSchema, upstream: nameSchema, count: z.number().int().nonnegative() })).max(gaugesMax),
  /** Those of its breakers that are not closed; `id` is a replica's, or the provider's name. */
  breakers: z.array(z.object({ service: nameSchema, id: nameSchema, state: z.enum(breakerStates) })).max(gaugesMax),
  /** Requests that wait with it for a first replica, and those that it has at a provider because no replica could take them. */
  held: z.array(z.object({ service: nameSchema, count: z.number().int().positive() })).max(gaugesMax).optional(),
  spilled: z.array(z.object({ service: nameSchema, count: z.number().int().positive() })).max(gaugesMax).optional(),
  /** What attempts came to, of services that have several versions. */
  versions: z.array(versionToldSchema).max(versionsToldMax).optional(),
});
export type Told = z.infer<typeof toldSchema>;
export const gaugesToldMax = gaugesMax;

/** A service through one upstream over the last minute, as `fairlead status -v` shows it. */
export interface TrafficRow {
  service: string;
  /** Empty: requests that nobody answered. */
  upstream: string;
  /** What the counts are of, in ms: less than a minute while a hub is young. */
  windowMs: number;
  requests: number;
  /** Of them, those that failed by our fault or an upstream's. */
  errors: number;
  /** Counts by bucket (`digestBoundsMs.ttft`). */
  ttft: number[];
}

/** The bucket that a time belongs to; times in ms. */
export function bucketOf(bounds: readonly number[], ms: number): number {
  let at = 0;
  while (at < bounds.length && ms > (bounds[at] as number)) at++;
  return at;
}

/**
 * A quantile of a digest in ms, as Prometheus's `histogram_quantile` has it: linear within its bucket, and the last bound for what is above
 * all. Undefined of nothing.
 */
export function quantileMs(bounds: readonly number[], counts: readonly number[], q: number): number | undefined {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0) return undefined;
  const rank = q * total;
  let below = 0;
  for (const [at, upper] of bounds.entries()) {
    const count = counts[at] ?? 0;
    if (count > 0 && below + count >= rank) {
      const lower = at === 0 ? 0 : (bounds[at - 1] ?? 0);
      return lower + ((upper - lower) * (rank - below)) / count;
    }
    below += count;
  }
  return bounds.at(-1);
}
