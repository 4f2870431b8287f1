import { z } from "zod";
import { fromZeroSchema, rolloutPolicySchema, scalePolicySchema } from "./policy.ts";
import { regions, type Region } from "./region.ts";
import { taskSchema } from "./task.ts";

const regionSchema = z.enum(Object.keys(regions) as [Region, ...Region[]]);

/** What decides among upstreams that could all answer. `availability_first`: the fallback chain's order, replicas by load. */
export const strategies = ["cost_optimized", "latency_optimized", "availability_first", "least_load", "round_robin", "weighted", "prefix_affinity", "instance_aware_least_load"] as const;
export type Strategy = (typeof strategies)[number];

/** What an upstream costs: integer micro-USD per million tokens. */
export const priceSchema = z.object({
  inputMicroUsd: z.number().int().nonnegative(),
  cachedInputMicroUsd: z.number().int().nonnegative(),
  outputMicroUsd: z.number().int().nonnegative(),
});
export type Price = z.infer<typeof priceSchema>;

/** How an upstream can go on with an answer that another began: not at all, from text (assistant prefill), from token ids. */
export const continuationSchema = z.enum(["none", "text", "tokens"]);

/** An external vendor of inference, as the edge needs it. */
export const providerSchema = z.object({
  name: z.string().min(1).max(64),
  endpoint: z.url({ protocol: /^https?$/ }),
  dialect: z.literal("openai"),
  /** Encrypted under the key that control and edge share (`schema/seal.ts`). */
  sealedApiKey: z.string().optional(),
  /** The upstream's own name for the model; the client's when absent. */
  model: z.string().optional(),
  /** Its share under `weighted`. */
  weight: z.number().nonnegative().default(1),
  /** Used only when those that are no fallback cannot answer. */
  fallback: z.boolean().default(false),
  price: priceSchema.optional(),
  /** The longest prompt and answer together that it takes, in tokens; absent: not known. */
  contextWindow: z.number().int().positive().optional(),
  continuation: continuationSchema.default("none"),
  /** Sent with every request, beside the credential. */
  headers: z.record(z.string(), z.string()).default({}),
  /** More of them, that hold a credential: a JSON object, encrypted as `sealedApiKey` is, for `provider-headers:SERVICE:PROVIDER`. */
  sealedHeaders: z.string().optional(),
});
export type Provider = z.infer<typeof providerSchema>;

export const timeoutsSchema = z.object({
  /** Until the first byte of the answer. */
  ttftMs: z.number().positive(),
  /** Between two pieces of a begun stream (facts/failures.md §2: the watchdog's cap). */
  idleMs: z.number().positive().default(15_000),
  /** From the request to the end of its answer. */
  totalMs: z.number().positive(),
});

export const routingSchema = z.object({
  strategy: z.enum(strategies).default("availability_first"),
  /** Names of upstreams, in the order in which one takes over from another; `replicas.name` stands for all replicas. */
  fallbackChain: z.array(z.string()).default([]),
  /** Attempts in all, the first one included. */
  attempts: z.number().int().min(1).max(10).default(3),
  onStreamLoss: z.enum(["exact", "continue", "error"]).default("continue"),
  /** A second attempt when the first has said nothing for so long; off when absent. */
  hedgeAfterMs: z.number().positive().optional(),
  /** A request that is too long for one upstream goes to one with a larger context window. */
  contextWindowFallback: z.boolean().default(false),
});
export type Routing = z.infer<typeof routingSchema>;

/** What a service's own replicas are as an upstream: as a provider's fields. */
export const ownReplicasSchema = z.object({
  /** Their name in the fallback chain and in answers' headers. */
  name: z.string().default("replicas"),
  weight: z.number().nonnegative().default(1),
  fallback: z.boolean().default(false),
  price: priceSchema.optional(),
  contextWindow: z.number().int().positive().optional(),
  /** Absent: what the engine of each replica can. */
  continuation: continuationSchema.optional(),
  /** Requests/s that one serves, by its accelerator; absent where no difference is made. */
  qps: z.record(z.string(), z.number().positive()).optional(),
});

/** A service as the edge routes it. */
export const routeServiceSchema = z.object({
  name: z.string(),
  version: z.number().int().positive(),
  models: z.array(z.string()).min(1),
  /** Whether its models are listed in /v1/models: a service that is no LLM is reached at /s/NAME/ only. */
  listed: z.boolean(),
  createdAt: z.number(),
  providers: z.array(providerSchema),
  /** Whether it has replicas of its own, ready or not. */
  selfHosted: z.boolean(),
  timeouts: timeoutsSchema,
  routing: routingSchema.default(routingSchema.parse({})),
  replicas: ownReplicasSchema.default(ownReplicasSchema.parse({})),
  /** The largest request body, in bytes. */
  bodyBytesMax: z.number().int().positive(),
  /** Absent: a request that finds no replica is refused, or goes to a provider. */
  fromZero: fromZeroSchema.optional(),
});
export type RouteService = z.infer<typeof routeServiceSchema>;

export const rights = ["inference", "metrics"] as const;

export const routeKeySchema = z.object({
  id: z.string(),
  /** Hex HMAC-SHA-256 (`schema/key.ts`). */
  digest: z.string().regex(/^[0-9a-f]{64}$/),
  account: z.string(),
  rights: z.array(z.enum(rights)),
  /** Service names it may call; absent: all. */
  services: z.array(z.string()).optional(),
  /** ms since the epoch. */
  expiresAt: z.number().optional(),
});
export type RouteKey = z.infer<typeof routeKeySchema>;

/** What isolates need: kept in KV as the last known good and handed out by Hubs. */
export const routeBundleSchema = z.object({
  version: z.number().int().positive(),
  /** ms since the epoch. */
  publishedAt: z.number(),
  services: z.array(routeServiceSchema),
  keys: z.array(routeKeySchema),
});
export type RouteBundle = z.infer<typeof routeBundleSchema>;

export const fleetHostSchema = z.object({
  id: z.string(),
  name: z.string(),
  region: regionSchema,
  /** Ed25519, raw, base64. */
  publicKey: z.string(),
  /** The key that it had before a rotation, good until then (ms since the epoch). */
  previousKey: z.object({ publicKey: z.string(), until: z.number() }).optional(),
  /** How often it was let back in after a quarantine; absent: never. */
  releases: z.number().int().positive().optional(),
  revoked: z.boolean(),
  /** Its operator wants it empty: what it has is moved, and nothing new is placed there. */
  draining: z.boolean().optional(),
});
export type FleetHost = z.infer<typeof fleetHostSchema>;

export const fleetServiceSchema = z.object({
  task: taskSchema.omit({ sealedSecrets: true }),
  /** Desired replicas by region. */
  replicas: z.partialRecord(regionSchema, z.number().int().nonnegative()),
  /** Secrets by host id, each sealed to that host's key. */
  sealedSecrets: z.record(z.string(), z.string()),
  /** Absent: `replicas` is what is wanted. */
  policy: scalePolicySchema.optional(),
  rollout: rolloutPolicySchema.optional(),
  /** The version before, as long as a rollout may go back to it or keeps it beside the new one. */
  previous: z.object({ task: taskSchema.omit({ sealedSecrets: true }), sealedSecrets: z.record(z.string(), z.string()) }).optional(),
});
export type FleetService = z.infer<typeof fleetServiceSchema>;

/** What Hubs need: hosts, and what should run. */
export const fleetBundleSchema = z.object({
  hosts: z.array(fleetHostSchema),
  services: z.array(fleetServiceSchema),
  /** Replicas that people asked to have replaced; their ids are never used again. */
  removed: z.array(z.string()).max(1000),
});

/** Published configuration, whole and versioned. */
export const bundleSchema = z.object({ route: routeBundleSchema, fleet: fleetBundleSchema });
export type Bundle = z.infer<typeof bundleSchema>;

/** A bundle's JSON at most: under the 2 MB row limit of a Durable Object (facts/cloudflare.md §2). */
export const bundleBytesMax = 1_900_000;
