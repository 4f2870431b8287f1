import { wrongCron } from "./cron.ts";
import { nearestName, type Path, type Report } from "./problem.ts";
import type { ReplicaPolicyYaml } from "./scaleYaml.ts";
import { isExternal, type ServiceYaml } from "./serviceYaml.ts";

const at = ["service", "replica_policy"];

/** The rules of how many replicas there are, SkyServe's own (facts/skyserve-compat.md §2) and those of Fairlead's fields. */
export function checkScale(service: ServiceYaml, strict: boolean, report: Report): void {
  const policy = service.replica_policy;
  checkMost(service, report);
  if (policy != null) {
    if (service.replicas != null) report("error", ["service", "replicas"], "cannot stand beside replica_policy: give one of them");
    checkBounds(policy, strict, report);
    checkTargets(policy, report);
    (policy.schedule ?? []).forEach((_, i) => checkSchedule(policy, i, report));
  }
  checkBalancing(service, report);
  const { scale_from_zero: fromZero, providers } = service;
  const own = (providers ?? []).every((provider) => !isExternal(provider));
  if (fromZero?.fallback === true && own) report("error", ["service", "scale_from_zero", "fallback"], "needs a provider to fall back to: name an external one under providers");
}

/**
 * A Hub places a thousand replicas in under a second, nine thousand in half a minute, in which its region hears nothing
 * (`edge/scale/assign.ts`, measured; a Durable Object is given 30 s): a nought too many must not stop a fleet.
 */
const replicasMax = 1_000;

function checkMost({ replicas, replica_policy: policy }: ServiceYaml, report: Report): void {
  const { min_replicas: min, max_replicas: max, num_overprovision: more, base_ondemand_fallback_replicas: base } = policy ?? {};
  const counts: [Path, number | null | undefined][] = [
    [["service", "replicas"], replicas], [[...at, "min_replicas"], min], [[...at, "max_replicas"], max], [[...at, "num_overprovision"], more], [[...at, "base_ondemand_fallback_replicas"], base],
    ...(policy?.schedule ?? []).flatMap((entry, i): [Path, number | null | undefined][] => [[[...at, "schedule", i, "min_replicas"], entry.min_replicas], [[...at, "schedule", i, "max_replicas"], entry.max_replicas]]),
  ];
  for (const [path, many] of counts) if (many != null && many > replicasMax) report("error", path, `is ${many}, and a service has ${replicasMax} replicas at most`);
}

function checkBounds({ min_replicas: min, max_replicas: max, target_qps_per_replica: target, autoscaler }: ReplicaPolicyYaml, strict: boolean, report: Report): void {
  if (max != null && max < min) report("error", [...at, "max_replicas"], `is ${max}, below min_replicas, which is ${min}`);
  if (target != null && max == null) report("error", [...at, "target_qps_per_replica"], "needs max_replicas");
  if (max != null && max > min && target == null && (strict || autoscaler == null)) {
    report(strict ? "error" : "warning", [...at, "max_replicas"], "is above min_replicas without target_qps_per_replica; SkyServe refuses this, here replicas are counted by what they carry");
  }
}

/** What each autoscaler cannot do without. */
function checkTargets(policy: ReplicaPolicyYaml, report: Report): void {
  const { autoscaler, target_qps_per_replica: target, slo } = policy;
  const place = [...at, "autoscaler"];
  const byAccelerator = target != null && typeof target === "object";
  if (autoscaler === "request_rate" && (target == null || byAccelerator)) report("error", place, `request_rate needs target_qps_per_replica as one number${byAccelerator ? "; by accelerator it is instance_aware's" : ""}`);
  if (autoscaler === "instance_aware" && !byAccelerator) report("error", place, "instance_aware needs target_qps_per_replica by accelerator, as in {L4: 2.5}");
  if (autoscaler === "concurrency" && policy.target_concurrency_per_replica == null) report("error", place, "concurrency needs target_concurrency_per_replica");
  const aims = slo?.ttft != null || slo?.tpot != null;
  if (autoscaler === "slo" && !aims) report("error", place, "slo needs slo: {ttft: 500ms}, tpot, or both");
  else if (slo != null && !aims) report("error", [...at, "slo"], "says nothing: give ttft, tpot, or both");

  const rates = byAccelerator ? Object.values(target) : [target];
  if (rates.includes(0)) {
    const all = rates.every((rate) => rate === 0);
    const why = "is 0, by which SkyServe's autoscaler divides";
    if (all && (autoscaler === "request_rate" || autoscaler === "instance_aware")) report("error", [...at, "target_qps_per_replica"], `${why}: give a rate above 0`);
    else report("warning", [...at, "target_qps_per_replica"], all ? `${why}; taken as not given: replicas are counted by what they carry` : `${why}; such accelerators are taken as not given`);
  }
  const grows = (policy.max_replicas ?? 0) > policy.min_replicas || (policy.schedule ?? []).length > 0;
  if (autoscaler != null && !grows) report("warning", place, "is not used: max_replicas is not above min_replicas");
  if ((policy.num_overprovision ?? 0) > 0 && !grows) report("warning", [...at, "num_overprovision"], "adds nothing: there are never more replicas than max_replicas, which is not above min_replicas; SkyServe runs these beyond it");
}

function checkSchedule({ min_replicas: min, max_replicas: max, schedule }: ReplicaPolicyYaml, i: number, report: Report): void {
  const entry = schedule?.[i];
  if (entry === undefined) return;
  const here = [...at, "schedule", i];
  const { cron, timezone, min_replicas: low, max_replicas: high } = entry;
  const zone = timezone ?? "UTC";
  if (!isTimezone(zone)) report("error", [...here, "timezone"], unknownZone(zone));
  const wrong = wrongCron(cron);
  if (wrong !== undefined) report("error", [...here, "cron"], wrong);
  if (low == null && high == null) report("error", here, "says nothing: give min_replicas, max_replicas, or both");
  if (high != null && high < (low ?? min)) {
    report("error", [...here, "max_replicas"], low == null ? `is ${high}, below the policy's min_replicas, which is ${min}: give min_replicas here too` : `is ${high}, below min_replicas, which is ${low}`);
  }
  if (low != null && high == null && max != null && low > max) report("warning", [...here, "min_replicas"], `is ${low}, above the policy's max_replicas, which is ${max}: that many are kept then`);
}

function isTimezone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: name }).resolvedOptions().timeZone !== "";
  } catch {
    return false;
  }
}

function unknownZone(name: string): string {
  const nearest = nearestName(name, Intl.supportedValuesOf("timeZone"));
  return `"${name}" is no time zone of IANA's, as in Europe/Berlin${nearest === undefined ? "" : `; did you mean ${nearest}?`}`;
}

function checkBalancing({ replica_policy: policy, load_balancing_policy: balancing, routing }: ServiceYaml, report: Report): void {
  const path: Path = [...at, "target_qps_per_replica"];
  const byInstance = policy?.target_qps_per_replica != null && typeof policy.target_qps_per_replica === "object";
  // a strategy of Fairlead's is the author's own choice
  if (byInstance && balancing !== "instance_aware_least_load" && routing?.strategy == null) report("error", path, "by accelerator needs load_balancing_policy: instance_aware_least_load");
  if (!byInstance && balancing === "instance_aware_least_load") {
    report("error", ["service", "load_balancing_policy"], "instance_aware_least_load needs target_qps_per_replica by accelerator, as in {L4: 2.5}");
  }
}
