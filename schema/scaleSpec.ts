import { fromZeroSchema, rolloutPolicySchema, scalePolicySchema, type FromZero, type RolloutPolicy, type ScalePolicy, type Schedule } from "./policy.ts";
import { acceleratorName } from "./resources.ts";
import type { PoolYaml, ReplicaPolicyYaml } from "./scaleYaml.ts";
import { isExternal, type ServiceYaml } from "./serviceYaml.ts";
import type { ResourceYaml } from "./taskYaml.ts";

/** SkyServe's: as many replicas, and as many waiting jobs for each worker of a pool (facts/skyserve-compat.md §2). */
const replicasDefault = 1;
const queueDefault = 1;

/** What decides how many replicas a service of a sound file has. */
export function policyOf(service: ServiceYaml, machines: readonly ResourceYaml[]): ScalePolicy {
  const policy = service.replica_policy;
  const min = service.replicas ?? policy?.min_replicas ?? replicasDefault;
  const max = Math.max(min, policy?.max_replicas ?? min);
  const schedule = (policy?.schedule ?? []).map((entry): Schedule => ({
    cron: entry.cron.trim(),
    durationMs: entry.duration,
    timezone: entry.timezone ?? "UTC",
    min: entry.min_replicas ?? min,
    ...(entry.max_replicas == null ? {} : { max: entry.max_replicas }),
  }));
  const targetQps = qpsOf(policy?.target_qps_per_replica);
  const grows = max > min || schedule.some((entry) => (entry.max ?? Math.max(max, entry.min)) > entry.min);
  const autoscaler = !grows ? "fixed" : (policy?.autoscaler ?? (typeof targetQps === "object" ? "instance_aware" : "adaptive"));
  return scalePolicySchema.parse({
    autoscaler,
    min,
    max,
    overprovision: policy?.num_overprovision ?? undefined,
    targetQps,
    targetConcurrency: policy?.target_concurrency_per_replica ?? undefined,
    targetQueue: policy?.target_queue_length ?? (autoscaler === "queue_length" ? queueDefault : undefined),
    slo: sloOf(policy?.slo),
    ...delaysOf(policy),
    schedule,
    spot: spotOf(policy, machines),
    prestart: policy?.prestart ?? undefined,
  });
}

/** The highest number of replicas that a policy ever asks for. */
export function replicasMaxOf({ max, schedule }: ScalePolicy): number {
  return Math.max(max, ...schedule.map((entry) => entry.max ?? entry.min));
}

/** A rate of 0 says nothing: it would ask for replicas without end. */
function qpsOf(target: ReplicaPolicyYaml["target_qps_per_replica"]): ScalePolicy["targetQps"] {
  if (target == null || target === 0) return undefined;
  if (typeof target === "number") return target;
  const rates = Object.entries(target).filter(([, qps]) => qps > 0).map(([name, qps]) => [acceleratorName(name), qps]);
  return rates.length === 0 ? undefined : (Object.fromEntries(rates) as Record<string, number>);
}

function sloOf(slo: ReplicaPolicyYaml["slo"]): ScalePolicy["slo"] {
  if (slo == null || (slo.ttft == null && slo.tpot == null)) return undefined;
  const { ttft, tpot, percentile } = slo;
  return {
    ...(ttft == null ? {} : { ttftMs: ttft }),
    ...(tpot == null ? {} : { tpotMs: tpot }),
    percentile: percentile == null ? 0.95 : percentile < 1 ? percentile : percentile / 100,
  };
}

function delaysOf(delays: { upscale_delay_seconds?: number | null | undefined; downscale_delay_seconds?: number | null | undefined } | null | undefined): Pick<ScalePolicy, "upscaleDelayMs" | "downscaleDelayMs"> {
  const { upscale_delay_seconds: up, downscale_delay_seconds: down } = delays ?? {};
  return { ...(up == null ? {} : { upscaleDelayMs: up * 1000 }), ...(down == null ? {} : { downscaleDelayMs: down * 1000 }) };
}

/** Where some of the machines are spot and some are not, those that are not stand in for the others. */
function spotOf(policy: ServiceYaml["replica_policy"], machines: readonly ResourceYaml[]): ScalePolicy["spot"] {
  const spot = machines.filter((machine) => machine.use_spot === true).length;
  if (spot === 0) return undefined;
  const placer = policy?.spot_placer;
  return {
    baseOnDemand: policy?.base_ondemand_fallback_replicas ?? 0,
    dynamicOnDemand: policy?.dynamic_ondemand_fallback ?? spot < machines.length,
    placer: placer == null || placer === "default" ? "default" : "spothedge",
  };
}

export function rolloutOf({ rollout }: ServiceYaml): RolloutPolicy {
  return rolloutPolicySchema.parse({
    mode: rollout?.mode ?? undefined,
    steps: rollout?.steps?.map(({ share, for: forMs }) => ({ share, forMs })),
    share: rollout?.share ?? undefined,
    rollback: rollout?.rollback ?? undefined,
    errorRateMax: rollout?.error_rate_max ?? undefined,
    latencyRatioMax: rollout?.latency_ratio_max ?? undefined,
    requestsMin: rollout?.requests_min ?? undefined,
    readyMin: rollout?.ready_min ?? undefined,
    keepMs: rollout?.keep ?? undefined,
  });
}

/** As long as an answer's first byte may take, by default (`serviceSpec.ts`). */
const holdMsDefault = 120_000;

/** What becomes of requests while there is no replica; undefined where there always should be one and the file says nothing of it. */
export function fromZeroOf(service: ServiceYaml, { min, schedule }: ScalePolicy): FromZero | undefined {
  const written = service.scale_from_zero;
  if (written == null && min > 0 && schedule.every((entry) => entry.min > 0)) return undefined;
  const covered = (service.providers ?? []).some((provider) => isExternal(provider));
  return fromZeroSchema.parse({
    holdMs: written?.hold ?? holdMsDefault,
    // who says how long to wait, and no more, wants waiting
    fallback: written?.fallback ?? (covered && written?.hold == null),
  });
}

/** A pool of workers as SkyServe means it: `workers` of them, or by what waits. */
export function poolPolicyOf(pool: PoolYaml): ScalePolicy {
  const grows = pool.max_workers != null;
  const min = (grows ? pool.min_workers : undefined) ?? pool.workers ?? replicasDefault;
  return scalePolicySchema.parse({
    autoscaler: grows ? "queue_length" : "fixed",
    min,
    max: pool.max_workers ?? min,
    ...(grows ? { targetQueue: pool.queue_length_threshold ?? queueDefault, ...delaysOf(pool) } : {}),
  });
}
