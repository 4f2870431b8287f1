import { z } from "zod";
import { poolYamlSchema } from "./scaleYaml.ts";
import { serviceYamlSchema } from "./serviceYaml.ts";
import { flag } from "./yamlValues.ts";

/**
 * A SkyPilot task file as people write it. What SkyPilot knows and Fairlead does not read is accepted as it comes; a name that
 * neither knows is an error. A field without a value counts as absent, as in SkyPilot.
 */
const any = z.unknown().optional();

const portSchema = z.union([z.number().int().min(1).max(65535), z.string()]);
const acceleratorsSchema = z.union([z.string(), z.record(z.string(), z.union([z.number(), z.string()]).nullable()), z.array(z.string())]);

const text = z.string().nullish();

/** `4`, or `4+` for at least so many; of memory also with a unit, as in `16GB`. */
const cpusSchema = z.union([z.number(), z.string()]).refine((cpus) => /^(?=.*[1-9])\+?\d+(\.\d+)?\s*\+?$/.test(String(cpus).trim()), "must be a number such as 4, or 4+ for at least so many");
const memorySchema = z.union([z.number(), z.string()]).refine((memory) => /^(?=.*[1-9])\d+(\.\d+)?\s*([kmgtp](b|i|ib)|b)?[+x]?$/i.test(String(memory).trim()), "must be a size such as 16 (GiB), 16GB, or 16+ for at least so much");
const diskSchema = z.union([z.number().int().positive(), z.string().regex(/^\d+([kmgtp](b|i|ib))?$/i, "must be a size such as 256 (GiB) or 1TB")]);

const resourceFields = {
  accelerators: acceleratorsSchema.nullish(),
  /** SkyPilot's other name for `accelerators`. */
  gpus: acceleratorsSchema.nullish(),
  ports: z.union([portSchema, z.array(portSchema)]).nullish(),
  use_spot: flag.nullish(),
  infra: text, cloud: text, region: text, zone: text, instance_type: text, local_disk: text, priority_class: text,
  image_id: z.union([z.string(), z.record(z.string(), z.string())]).nullish(),
  cpus: cpusSchema.nullish(),
  memory: memorySchema.nullish(),
  disk_size: diskSchema.nullish(),
  ephemeral_storage: diskSchema.nullish(),
  disk_tier: z.string().toLowerCase().pipe(z.enum(["low", "medium", "high", "ultra", "best"])).nullish(),
  network_tier: z.string().toLowerCase().pipe(z.enum(["standard", "best"])).nullish(),
  labels: z.record(z.string(), z.string()).nullish(),
  priority: z.number().int().min(-1000).max(1000).nullish(),
  max_hourly_cost: z.number().positive().nullish(),
  autostop: z.union([z.boolean(), z.number().int(), z.string().regex(/^\d+[mhdw]?$/i, "must be a time such as 10m or 2h"), z.looseObject({})]).nullish(),
  accelerator_args: any, volumes: any, job_recovery: any, spot_recovery: any, _docker_login_config: any, _docker_username_for_runpod: any, _is_image_managed: any, _requires_fuse: any,
  _cluster_config_overrides: any, _no_missing_accel_warnings: any,
};
const resourceSchema = z.strictObject(resourceFields);
export type ResourceYaml = z.infer<typeof resourceSchema>;

export const resourcesYamlSchema = z.strictObject({
  ...resourceFields,
  any_of: z.array(resourceSchema).nullish(),
  ordered: z.array(resourceSchema).nullish(),
});
export type ResourcesYaml = z.infer<typeof resourcesYamlSchema>;

export const scalarSchema = z.union([z.string(), z.number(), z.boolean()]).nullable();

export const taskYamlSchema = z.strictObject({
  name: z.union([z.string(), z.number()]).nullish(),
  service: serviceYamlSchema.nullish(),
  pool: poolYamlSchema.nullish(),
  resources: resourcesYamlSchema.nullish(),
  envs: z.record(z.string(), scalarSchema).nullish(),
  secrets: z.union([z.record(z.string(), scalarSchema), z.array(z.string().startsWith("secrets:", "must be secrets:NAME"))]).nullish(),
  workdir: z.union([z.string(), z.strictObject({ url: z.string(), ref: text })]).nullish(),
  setup: z.string().nullish(),
  run: z.string().nullish(),
  num_nodes: z.number().int().min(1).nullish(),
  file_mounts: z.record(z.string(), any).nullish(),
  volumes: z.record(z.string(), any).nullish(),
  config: z.looseObject({}).nullish(),
  experimental: any, event_callback: any, inputs: any, outputs: any, file_mounts_mapping: any, volume_mounts: any, job: any,
  _metadata: any, _policy_config: any, _user_specified_yaml: any,
  api_server_access: any, managed_secrets: any,
});
export type TaskYaml = z.infer<typeof taskYamlSchema>;
