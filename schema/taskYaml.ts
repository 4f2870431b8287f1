import { z } from "zod";
import { poolYamlSchema } from "./scaleYaml.ts";
import { serviceYamlSchema } from "./serviceYaml.ts";

/**
 * A SkyPilot task file as people write it. What SkyPilot knows and Fairlead does not read is accepted as it comes; a name that
 * neither knows is an error. A field without a value counts as absent, as in SkyPilot.
 */
const any = z.unknown().optional();

const portSchema = z.union([z.number().int().min(1).max(65535), z.string()]);
const acceleratorsSchema = z.union([z.string(), z.record(z.string(), z.union([z.number(), z.string()]).nullable()), z.array(z.string())]);

const resourceFields = {
  accelerators: acceleratorsSchema.nullish(),
  ports: z.union([portSchema, z.array(portSchema)]).nullish(),
  use_spot: z.boolean().nullish(),
  infra: any, cloud: any, region: any, zone: any, instance_type: any, image_id: any, cpus: any, memory: any, disk_size: any, disk_tier: any, local_disk: any,
  network_tier: any, accelerator_args: any, autostop: any, labels: any, volumes: any, priority: any, priority_class: any, max_hourly_cost: any,
  job_recovery: any, spot_recovery: any, _docker_login_config: any, _docker_username_for_runpod: any, _is_image_managed: any, _requires_fuse: any,
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
  secrets: z.record(z.string(), scalarSchema).nullish(),
  workdir: z.union([z.string(), z.looseObject({})]).nullish(),
  setup: z.string().nullish(),
  run: z.string().nullish(),
  num_nodes: z.number().int().min(1).nullish(),
  file_mounts: z.record(z.string(), any).nullish(),
  volumes: z.record(z.string(), any).nullish(),
  config: any, experimental: any, event_callback: any, inputs: any, outputs: any, file_mounts_mapping: any, volume_mounts: any, job: any,
  _metadata: any, _policy_config: any, _user_specified_yaml: any,
});
export type TaskYaml = z.infer<typeof taskYamlSchema>;
