import { z } from "zod";
import { autoscalers, rolloutModes } from "./policy.ts";
import { count, durationSchema, flag, seconds, shareSchema, spanSchema, waitSchema } from "./yamlValues.ts";

/** How many replicas, where, and how a version takes the place of another, as people write it: SkyServe's fields and Fairlead's. */

const scheduleYamlSchema = z.strictObject({
  cron: z.string().max(100),
  duration: spanSchema,
  timezone: z.string().max(64).nullish(),
  min_replicas: count,
  max_replicas: count,
});

const qps = z.number().min(0);

/** SkyServe has one placer, by one name; ours is the default. */
export const placers = ["dynamic_fallback", "spothedge", "default"] as const;

/** What Fairlead adds to SkyServe's `replica_policy`. */
const fairlead = {
  /** `fixed` is what follows where nothing may grow. */
  autoscaler: z.enum(autoscalers).exclude(["fixed"]).nullish(),
  target_concurrency_per_replica: z.number().positive().nullish(),
  target_queue_length: z.number().positive().nullish(),
  slo: z.strictObject({ ttft: durationSchema.nullish(), tpot: durationSchema.nullish(), /** 95, or 0.95. */ percentile: z.number().positive().lt(100).nullish() }).nullish(),
  schedule: z.array(scheduleYamlSchema).max(50).nullish(),
  prestart: flag.nullish(),
};
export const fairleadPolicyFields = Object.keys(fairlead);

export const replicaPolicySchema = z.strictObject({
  min_replicas: z.number().int().min(0),
  max_replicas: count,
  num_overprovision: count,
  target_qps_per_replica: z.union([qps, z.record(z.string(), qps)]).nullish(),
  upscale_delay_seconds: seconds,
  downscale_delay_seconds: seconds,
  dynamic_ondemand_fallback: flag.nullish(),
  base_ondemand_fallback_replicas: count,
  // in any case, as SkyServe's own schema compares
  spot_placer: z.string().toLowerCase().pipe(z.enum(placers)).nullish(),
  ...fairlead,
});
export type ReplicaPolicyYaml = z.infer<typeof replicaPolicySchema>;

export const poolFields = {
  workers: count,
  min_workers: count,
  max_workers: count,
  queue_length_threshold: z.number().int().min(1).nullish(),
  upscale_delay_seconds: seconds,
  downscale_delay_seconds: seconds,
};
export const poolYamlSchema = z.strictObject(poolFields);
export type PoolYaml = z.infer<typeof poolYamlSchema>;

export const fromZeroYamlSchema = z.strictObject({ hold: waitSchema.nullish(), fallback: flag.nullish() });

export const rolloutYamlSchema = z.strictObject({
  mode: z.enum(rolloutModes).nullish(),
  steps: z.array(z.strictObject({ share: shareSchema.refine((share) => share > 0, "must be more than 0%"), for: durationSchema })).min(1).max(20).nullish(),
  share: shareSchema.refine((share) => share > 0 && share < 1, "must be between 0% and 100%: both versions get some").nullish(),
  rollback: flag.nullish(),
  error_rate_max: shareSchema.nullish(),
  latency_ratio_max: z.number().min(1).nullish(),
  requests_min: z.number().int().positive().nullish(),
  ready_min: z.number().int().positive().nullish(),
  keep: waitSchema.nullish(),
});
export type RolloutYaml = z.infer<typeof rolloutYamlSchema>;
