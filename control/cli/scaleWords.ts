import type { ServiceSpec } from "../../schema/serviceSpec.ts";
import type { RolloutPolicy, ScalePolicy } from "../../schema/policy.ts";
import { formatDuration } from "../../schema/units.ts";

/** How a service scales and rolls out, as people say it; undefined where there is nothing to say. */
type Said = string | undefined;

/** @example saidPolicy(spec) // "1 to 8, adaptive at 4 requests/s each" */
export function saidPolicy({ policy, replicas, task }: Pick<ServiceSpec, "policy" | "replicas"> & { task?: unknown }): Said {
  if (task === undefined) return undefined;
  if (policy === undefined) return String(replicas.min);
  const { autoscaler, min, max, overprovision, upscaleDelayMs: up, downscaleDelayMs: down, prestart } = policy;
  const parts = [
    max > min ? `${min} to ${max}` : String(min),
    ...(autoscaler === "fixed" ? [] : [[autoscaler.replaceAll("_", " "), aimOf(policy)].filter((part) => part !== undefined).join(" at ")]),
    ...(overprovision > 0 ? [`${overprovision} beyond what is needed`] : []),
    ...(up === undefined ? [] : [`up after ${formatDuration(up)}`]),
    ...(down === undefined ? [] : [`down after ${formatDuration(down)}`]),
    ...(prestart ? ["started before requests come"] : []),
  ];
  return parts.join(", ");
}

function aimOf({ targetQps, targetConcurrency, targetQueue, slo }: ScalePolicy): Said {
  const aims = [
    ...(typeof targetQps === "number" ? [`${targetQps} requests/s each`] : []),
    ...(typeof targetQps === "object" ? [Object.entries(targetQps).map(([name, qps]) => `${qps} requests/s on ${name}`).join(", ")] : []),
    ...(targetConcurrency === undefined ? [] : [`${targetConcurrency} requests at once each`]),
    ...(targetQueue === undefined ? [] : [`${targetQueue} waiting each`]),
    ...(slo === undefined ? [] : [`p${Math.round(slo.percentile * 1000) / 10} of ${[...(slo.ttftMs === undefined ? [] : [`TTFT ${formatDuration(slo.ttftMs)}`]), ...(slo.tpotMs === undefined ? [] : [`TPOT ${formatDuration(slo.tpotMs)}`])].join(" and ")}`]),
  ];
  return aims.length === 0 ? undefined : aims.join(", ");
}

export function saidSchedule({ policy }: ServiceSpec): Said {
  const entries = (policy?.schedule ?? []).map(({ cron, durationMs, timezone, min, max }) => `${max === undefined || max === min ? min : `${min} to ${max}`} for ${formatDuration(durationMs)} from "${cron}" ${timezone}`);
  return entries.length === 0 ? undefined : entries.join("; ");
}

export function saidSpot({ policy }: ServiceSpec): Said {
  if (policy?.spot === undefined) return undefined;
  const { baseOnDemand, dynamicOnDemand, placer } = policy.spot;
  return [
    `placed by ${placer === "spothedge" ? "SpotHedge" : "default"}`,
    ...(baseOnDemand > 0 ? [`${baseOnDemand} always on demand`] : []),
    ...(dynamicOnDemand ? ["on demand while spot is not ready"] : []),
  ].join(", ");
}

export function saidFromZero({ fromZero }: ServiceSpec): Said {
  if (fromZero === undefined) return undefined;
  const { holdMs, fallback } = fromZero;
  const wait = holdMs > 0 ? `wait ${formatDuration(holdMs)}` : undefined;
  return fallback ? ["go to providers", wait].filter((part) => part !== undefined).join(", then ") : (wait ?? "are refused");
}

export function saidRollout({ rollout, task }: ServiceSpec): Said {
  // what an earlier version stored was rolled out one replica after another
  if (rollout === undefined) return task === undefined ? undefined : "rolling";
  const { mode, steps, share, rollback, errorRateMax, latencyRatioMax, requestsMin, readyMin, keepMs } = rollout;
  const how = {
    rolling: [],
    blue_green: [...(readyMin === undefined ? [] : [`from ${readyMin} ready on`]), `the old version kept ${formatDuration(keepMs)}`],
    canary: [steps.map((step) => `${percent(step.share)} for ${formatDuration(step.forMs)}`).join(", ")],
    ab: [`${percent(share)} for the new version`],
  }[mode];
  // what is wanted beside another for comparison is not judged by it
  const bounds = mode === "ab" ? "undone when it never gets ready" : `undone beyond ${percent(errorRateMax)} more errors or ${latencyRatioMax} times the latency, from ${requestsMin} request${requestsMin === 1 ? "" : "s"} on`;
  return [mode.replace("_", "-"), ...how, rollback ? bounds : "never undone by itself"].join(", ");
}

/** What becomes of replicas that run something else than before. */
export const replacedHow: Readonly<Record<RolloutPolicy["mode"], string>> = {
  rolling: "replicas are replaced one after another",
  blue_green: "replicas of the new version are started beside the old ones, and take over together",
  canary: "the new version gets its first requests as its steps say",
  ab: "both versions run, each for its share of requests",
};

function percent(share: number): string {
  return `${Math.round(share * 10_000) / 100}%`;
}
