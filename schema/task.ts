import { z } from "zod";

/** What makes a replica ready: an HTTP request that must be answered with 200, as in SkyServe. */
export const probeSchema = z.object({
  path: z.string().startsWith("/"),
  /** How long a start may take, counted from the first failed probe. */
  initialDelayMs: z.number().nonnegative(),
  timeoutMs: z.number().positive(),
  /** Between probes of a ready replica; a starting one is probed more often. */
  intervalMs: z.number().positive(),
  /** A replica that was ready and fails for so long is started again. */
  failureThresholdMs: z.number().nonnegative(),
  /** Present: the probe is a POST of this JSON text. */
  postBody: z.string().optional(),
  headers: z.record(z.string(), z.string()),
});
export type Probe = z.infer<typeof probeSchema>;

/** A template of the host's own, named by a service that runs it with these parameters (docs/trust.md). */
export const templateUseSchema = z.object({
  name: z.string().min(1).max(64),
  parameters: z.record(z.string(), z.union([z.string().max(4096), z.number(), z.boolean()])).default({}),
});
export type TemplateUse = z.infer<typeof templateUseSchema>;

/** An image as engines know it: registry, path, tag and digest (the reference grammar of the distribution project, loosely). */
export const imagePattern = /^[A-Za-z0-9][A-Za-z0-9._\-/:]*(@sha256:[0-9a-f]{64})?$/;

/** What an agent needs to run one replica of one service version. */
export const taskSchema = z.object({
  service: z.string(),
  version: z.number().int().positive(),
  /** Same digest, same processes: replicas of an older version with this digest are kept through an update. */
  digest: z.string(),
  setup: z.string().optional(),
  run: z.string(),
  /** A folder on the host; the replica's own scratch folder when absent. */
  workdir: z.string().optional(),
  envs: z.record(z.string(), z.string()),
  /** Sealed to the host's key (`schema/seal.ts`): a JSON object of names and values. */
  sealedSecrets: z.string().optional(),
  /** The port that `run` insists on; absent when it listens on `$PORT`, which the agent chooses. */
  fixedPort: z.number().int().min(1).max(65535).optional(),
  probe: probeSchema,
  drainMs: z.number().nonnegative(),
  /** GPUs per replica; 0 for none. */
  gpus: z.number().int().nonnegative(),
  /** The machines it may run on, by their accelerators as SkyPilot names them in capitals, the one that is liked best first; `gpus` is that one's count. Absent: any. */
  accelerators: z.array(z.object({ name: z.string().min(1), count: z.number().positive() })).optional(),
  /** Where it may run, as SkyPilot names clouds, their regions and zones, and whether on spot machines; what is not said may be any. Absent: anywhere. */
  places: z.array(z.object({ cloud: z.string().optional(), region: z.string().optional(), zone: z.string().optional(), spot: z.boolean().optional() })).optional(),
  /** In place of `run`, which is empty then: the host's own template. */
  template: templateUseSchema.optional(),
  /** `openai`: only inference paths are let through to it; `any`: all. Absent where an earlier version wrote it: by its probe. */
  gate: z.enum(["openai", "any"]).optional(),
  /** What the operator signed (`schema/signedSpec.ts`), a compact JWS. */
  signed: z.string().max(400_000).optional(),
  /** A container image that `setup` and `run` run in; on the host itself when absent. */
  image: z.string().regex(imagePattern).optional(),
  /** Folders of the host that its container sees, by their path in it. */
  mounts: z.record(z.string().startsWith("/"), z.string().startsWith("/")).optional(),
  /** What one replica may use at most. */
  limits: z.object({ memoryBytes: z.number().int().positive().optional(), cpus: z.number().positive().optional() }).optional(),
});
export type Task = z.infer<typeof taskSchema>;
