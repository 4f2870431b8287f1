import { z } from "zod";

/**
 * What decides how many replicas a service has.
 *
 * - `fixed`: `min` of them
 * - `adaptive`: Fairlead's own, the default wherever `max` is above `min`
 * - `request_rate`: SkyServe's, with its hysteresis to the decision
 * - `instance_aware`: rates by accelerator
 * - `queue_length`: SkyServe's of pools: by what waits
 * - `concurrency`: Knative's, with stable and panic windows
 * - `slo`: a percentile of TTFT or TPOT
 */
export const autoscalers = ["fixed", "adaptive", "request_rate", "instance_aware", "queue_length", "concurrency", "slo"] as const;
export type Autoscaler = (typeof autoscalers)[number];

const count = z.number().int().nonnegative();

/** Between `cron` and `durationMs` later, these bounds hold in place of the policy's. Of several that hold at once the highest `min` and `max` do. */
export const scheduleSchema = z.object({
  /** Five fields, as crontab's. */
  cron: z.string().max(100),
  durationMs: z.number().positive(),
  /** IANA's name. */
  timezone: z.string().max(64).default("UTC"),
  min: count,
  /** Absent: the policy's, or `min` where that is higher. */
  max: count.optional(),
});
export type Schedule = z.infer<typeof scheduleSchema>;

export const scalePolicySchema = z.object({
  autoscaler: z.enum(autoscalers),
  min: count,
  max: count,
  /** So many replicas beyond what is needed (SkyServe's `num_overprovision`). */
  overprovision: count.default(0),
  /** Requests/s that one replica serves; by accelerator as in `{"L4": 2.5, "A100:8": 20}`. */
  targetQps: z.union([z.number().positive(), z.record(z.string(), z.number().positive())]).optional(),
  /** Requests that one replica serves at once. */
  targetConcurrency: z.number().positive().optional(),
  /** `queue_length`: one more replica while more than so many wait, one less while fewer do. */
  targetQueue: z.number().positive().optional(),
  slo: z.object({ ttftMs: z.number().positive().optional(), tpotMs: z.number().positive().optional(), /** 0..1. */ percentile: z.number().gt(0).lt(1).default(0.95) }).optional(),
  /** What people gave; absent: the autoscaler's own. */
  upscaleDelayMs: z.number().nonnegative().optional(),
  downscaleDelayMs: z.number().nonnegative().optional(),
  schedule: z.array(scheduleSchema).max(50).default([]),
  /** Present: replicas are wanted on spot hosts. */
  spot: z.object({
    /** So many always on demand (SkyServe's `base_ondemand_fallback_replicas`). */
    baseOnDemand: count.default(0),
    /** One on demand for each spot replica that is wanted and not ready. */
    dynamicOnDemand: z.boolean().default(false),
    placer: z.enum(["default", "spothedge"]).default("default"),
  }).optional(),
  /** Start a replica before requests come, when they have come at this time before. */
  prestart: z.boolean().default(false),
});
export type ScalePolicy = z.infer<typeof scalePolicySchema>;

export const rolloutModes = ["rolling", "blue_green", "canary", "ab"] as const;

/** How a new version takes the place of the one before. */
export const rolloutPolicySchema = z.object({
  mode: z.enum(rolloutModes).default("rolling"),
  /** `canary`: shares of requests, 0..1, and how long each is held; then all. */
  steps: z.array(z.object({ share: z.number().gt(0).lte(1), forMs: z.number().positive() })).min(1).max(20).default([{ share: 0.05, forMs: 120_000 }, { share: 0.25, forMs: 120_000 }, { share: 0.5, forMs: 120_000 }]),
  /** `ab`: the new version's share until the next change. */
  share: z.number().gt(0).lt(1).default(0.5),
  /** Undo it by itself when the new version never gets ready, or is worse than these. */
  rollback: z.boolean().default(true),
  /** Share of attempts that may fail on the new version beyond those that fail on the old one. */
  errorRateMax: z.number().min(0).max(1).default(0.05),
  /** Times the old version's p95 of TTFT. */
  latencyRatioMax: z.number().gte(1).default(2),
  /** Before so many attempts a version is not judged. */
  requestsMin: z.number().int().positive().default(20),
  /** `blue_green`: the switch is when so many are ready (SkyServe's: `min`); absent: when all are. */
  readyMin: z.number().int().positive().optional(),
  /** `blue_green`: how long the old version stays up after the switch. */
  keepMs: z.number().nonnegative().default(60_000),
});
export type RolloutPolicy = z.infer<typeof rolloutPolicySchema>;

/** What becomes of requests while no replica is ready. */
export const fromZeroSchema = z.object({
  /** They wait for so long; 0: not at all. */
  holdMs: z.number().nonnegative(),
  /** They go to the service's providers, which come before waiting. */
  fallback: z.boolean(),
});
export type FromZero = z.infer<typeof fromZeroSchema>;
