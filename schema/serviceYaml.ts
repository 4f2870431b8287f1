import { z } from "zod";
import { fromZeroYamlSchema, poolFields, poolYamlSchema, replicaPolicySchema, rolloutYamlSchema } from "./scaleYaml.ts";
import { amount, count, durationSchema, flag, seconds } from "./yamlValues.ts";

const probePathSchema = z.string().startsWith("/", "must be a path that starts with /");

const positiveSeconds = seconds.refine((given) => given !== 0, "must be more than 0");

const probeYamlSchema = z.strictObject({
  path: probePathSchema,
  initial_delay_seconds: seconds,
  timeout_seconds: positiveSeconds,
  endpoint_probe_interval_seconds: positiveSeconds,
  consecutive_failure_threshold_timeout: seconds,
  post_data: z.union([z.string(), z.record(z.string(), z.unknown())]).nullish(),
  headers: z.record(z.string(), z.string()).nullish(),
});

export const balancingPolicies = ["round_robin", "least_load", "instance_aware_least_load"] as const;

const providerSchema = z.strictObject({
  type: z.enum(["self-hosted", "skypilot", "external"]).nullish(),
  name: z.string().min(1).max(64),
  endpoint: z.string().nullish(),
  api_key: z.string().nullish(),
  dialect: z.enum(["openai", "anthropic"]).nullish(),
  model: z.string().min(1).nullish(),
  context_window: z.number().int().positive().nullish(),
  price: z.strictObject({ input: amount, cached_input: amount, output: amount }).nullish(),
  weight: amount,
  fallback: flag.nullish(),
  timeouts: z.strictObject({ connect: durationSchema.nullish(), ttft: durationSchema.nullish(), idle: durationSchema.nullish(), total: durationSchema.nullish() }).nullish(),
  headers: z.record(z.string(), z.string()).nullish(),
  supports: z.strictObject({ continuation: z.enum(["none", "text", "tokens"]).nullish() }).nullish(),
});
export type ProviderYaml = z.infer<typeof providerSchema>;

/** Whether a provider is a vendor; the others are the service's own replicas. */
export function isExternal({ type, endpoint }: { type?: string | null | undefined; endpoint?: string | null | undefined }): boolean {
  return type === "external" || (type == null && endpoint != null);
}

const routingSchema = z.strictObject({
  strategy: z.enum(["cost_optimized", "latency_optimized", "availability_first", "least_load", "round_robin", "weighted", "prefix_affinity", "instance_aware_least_load"]).nullish(),
  fallback_chain: z.array(z.string()).nullish(),
  timeouts: z.strictObject({ connect: durationSchema.nullish(), ttft: durationSchema.nullish(), idle: durationSchema.nullish(), total: durationSchema.nullish() }).nullish(),
  retries: z.strictObject({ attempts: z.number().int().min(1).max(10).nullish() }).nullish(),
  on_stream_loss: z.enum(["exact", "continue", "error"]).nullish(),
  hedge: z.strictObject({ after: durationSchema }).nullish(),
  context_window_fallback: flag.nullish(),
});

const modelName = z.string().min(1).max(200).regex(/^(?=.*\S)\P{Cc}*$/u, "must be a name, without control characters");
const limit = z.number().int().positive().nullish();

/** What Fairlead adds to SkyServe's section. */
const fairlead = {
  model: z.union([modelName, z.array(modelName).min(1)]).nullish(),
  providers: z.array(providerSchema).nullish(),
  routing: routingSchema.nullish(),
  limits: z.strictObject({ rpm: limit, tpm: limit, max_concurrency: limit, max_body_bytes: limit }).nullish(),
  scale_from_zero: fromZeroYamlSchema.nullish(),
  rollout: rolloutYamlSchema.nullish(),
  /** A template that the hosts' owner wrote down, in place of `run` (docs/trust.md). */
  template: z.strictObject({ name: z.string().min(1).max(64), parameters: z.record(z.string(), z.union([z.string().max(4096), z.number(), z.boolean()])).nullish() }).nullish(),
};
export const fairleadFields = Object.keys(fairlead);

/**
 * The `service:` section as people write it: SkyServe's fields with SkyServe's meaning, and Fairlead's (`fairleadFields`).
 * A field without a value counts as absent.
 */
export const serviceYamlSchema = z.strictObject({
  readiness_probe: z.union([probePathSchema, probeYamlSchema]).nullish(),
  load_balancer: z.strictObject({ stream_timeout_seconds: positiveSeconds }).nullish(),
  // in any case, as SkyServe's own schema compares
  load_balancing_policy: z.string().toLowerCase().pipe(z.enum(balancingPolicies)).nullish(),
  replicas: count,
  replica_policy: replicaPolicySchema.nullish(),
  ports: z.union([z.number(), z.string().regex(/^\d+$/, "must be a port number").transform(Number)]).pipe(z.number().int().min(1).max(65535)).nullish(),
  tls: z.strictObject({ keyfile: z.string(), certfile: z.string() }).nullish(),
  pool: z.union([z.boolean(), z.number().int().min(0), poolYamlSchema]).nullish(),
  ...poolFields,
  ...fairlead,
});
export type ServiceYaml = z.infer<typeof serviceYamlSchema>;
