import { ownReplicasSchema } from "./bundle.ts";
import { nearestName, type Path, type Report } from "./problem.ts";
import { alternatives, portsOf } from "./resources.ts";
import { fairleadFields, type ServiceYaml } from "./serviceYaml.ts";
import type { ResourceYaml, TaskYaml } from "./taskYaml.ts";

/**
 * The rules between fields, SkyServe's own (facts/skyserve-compat.md §2). Two that SkyServe has and its users' files break are
 * warnings, unless `strict` asks for SkyServe's answer.
 */
export function checkRules(task: TaskYaml, strict: boolean, report: Report): void {
  const lenient = strict ? "error" : "warning";
  if (task.service != null && task.pool != null) report("error", ["pool"], "cannot stand beside service: a file is one or the other");
  if (task.service != null) {
    checkReplicas(task.service, lenient, report);
    checkBalancing(task.service, report);
    checkPool(task.service, report);
    checkProviders(task.service, report);
    checkPostData(task.service, report);
    checkTemplate(task, task.service, report);
    if (strict) for (const field of fairleadFields) if (Object.hasOwn(task.service, field)) report("error", ["service", field], "is Fairlead's, SkyServe does not know it");
  }
  if (task.pool != null) checkPoolSizes(task.pool, ["pool"], report);
  checkMachines(task, lenient, report);
}

function checkReplicas({ replicas, replica_policy: policy }: ServiceYaml, lenient: "error" | "warning", report: Report): void {
  const at = ["service", "replica_policy"];
  if (policy == null) return;
  const { min_replicas: min, max_replicas: max, target_qps_per_replica: target } = policy;
  if (replicas != null) report("error", ["service", "replicas"], "cannot stand beside replica_policy: give one of them");
  if (max != null && max < min) report("error", [...at, "max_replicas"], `is ${max}, below min_replicas, which is ${min}`);
  if (target != null && max == null) report("error", [...at, "target_qps_per_replica"], "needs max_replicas");
  if (max != null && max > min && target == null) report(lenient, [...at, "max_replicas"], "is above min_replicas without target_qps_per_replica; SkyServe refuses this");
}

function checkBalancing({ replica_policy: policy, load_balancing_policy: balancing }: ServiceYaml, report: Report): void {
  const byInstance = policy?.target_qps_per_replica != null && typeof policy.target_qps_per_replica === "object";
  if (byInstance && balancing !== "instance_aware_least_load") {
    report("error", ["service", "replica_policy", "target_qps_per_replica"], "by accelerator needs load_balancing_policy: instance_aware_least_load");
  }
  if (!byInstance && balancing === "instance_aware_least_load") {
    report("error", ["service", "load_balancing_policy"], "instance_aware_least_load needs target_qps_per_replica by accelerator, as in {L4: 2.5}");
  }
}

const poolForbids = ["replicas", "replica_policy", "ports", "tls", "load_balancing_policy"] as const;
const poolSizes = ["workers", "min_workers", "max_workers", "queue_length_threshold"] as const;

/** Whether a `service:` section is a pool of workers. */
export function isPool(service: ServiceYaml): boolean {
  return (service.pool != null && service.pool !== false) || poolSizes.some((field) => service[field] != null);
}

function checkPool(service: ServiceYaml, report: Report): void {
  if (!isPool(service)) return;
  for (const field of poolForbids) if (service[field] != null) report("error", ["service", field], "cannot be used with a pool of workers");
  const probe = service.readiness_probe;
  if (probe != null && typeof probe === "object") {
    for (const field of ["headers", "post_data"] as const) if (probe[field] != null) report("error", ["service", "readiness_probe", field], "cannot be used with a pool of workers");
  }
  if (typeof service.pool === "object" && service.pool !== null) checkPoolSizes(service.pool, ["service", "pool"], report);
  else if (typeof service.pool !== "number") checkPoolSizes(service, ["service"], report);
}

function checkPoolSizes(sizes: Pick<ServiceYaml, (typeof poolSizes)[number]>, at: Path, report: Report): void {
  if (sizes.workers == null && sizes.max_workers == null) report("error", at, "needs workers or max_workers");
  if (sizes.max_workers == null) {
    for (const field of ["min_workers", "queue_length_threshold"] as const) if (sizes[field] != null) report("error", [...at, field], "needs max_workers");
  } else if (sizes.min_workers != null && sizes.min_workers > sizes.max_workers) report("error", [...at, "min_workers"], `is ${sizes.min_workers}, above max_workers, which is ${sizes.max_workers}`);
}

function checkProviders({ providers, routing }: ServiceYaml, report: Report): void {
  const names = (providers ?? []).map(({ name }) => name);
  (providers ?? []).forEach((provider, i) => {
    const at = ["service", "providers", i];
    if (names.indexOf(provider.name) !== i) report("error", [...at, "name"], `"${provider.name}" is given twice`);
    if (isExternal(provider) && provider.endpoint == null) report("error", at, `provider "${provider.name}" needs an endpoint, as in https://api.example.com/v1`);
    checkHeaders(provider.headers ?? {}, [...at, "headers"], report);
    if (!isExternal(provider) && provider.endpoint != null) report("error", [...at, "endpoint"], "belongs to external providers; this one is self-hosted");
  });
  const windows = new Set((providers ?? []).flatMap(({ context_window: tokens }) => (tokens == null ? [] : [tokens])));
  if (routing?.context_window_fallback === true && windows.size < 2) {
    report("error", ["service", "routing", "context_window_fallback"], "needs providers of different context_window: a request that is too long for one goes to a larger one");
  }
  const chain = routing?.fallback_chain ?? [];
  // replicas that no entry names go by this one
  const known = names.length > 0 ? names : [ownReplicasSchema.parse({}).name];
  chain.forEach((name, i) => {
    const at = ["service", "routing", "fallback_chain", i];
    const nearest = nearestName(name, known);
    if (!known.includes(name)) report("error", at, `"${name}" is none of the providers: ${known.join(", ")}${nearest === undefined ? "" : `; did you mean ${nearest}?`}`);
    else if (chain.indexOf(name) !== i) report("error", at, `"${name}" is named twice`);
  });
}

/** What HTTP itself, or the edge, says of a request. */
const ownHeaders = /^(host|connection|content-length|content-type|content-encoding|transfer-encoding|keep-alive|te|trailer|upgrade|expect)$/i;

function checkHeaders(headers: Readonly<Record<string, string>>, at: Path, report: Report): void {
  for (const [name, value] of Object.entries(headers)) {
    if (!/^[\w!#$%&'*+.^`|~-]+$/.test(name)) report("error", [...at, name], "is not the name of a header");
    else if (ownHeaders.test(name)) report("error", [...at, name], "cannot be set: it belongs to the request itself");
    // the value may be a secret: it is not repeated
    else if (/[^\t\x20-\x7e\x80-\xff]/.test(value)) report("error", [...at, name], "holds a character that no header may hold, such as a line break");
  }
}

/** Whether a provider is a vendor; the others are the service's own replicas. */
export function isExternal({ type, endpoint }: { type?: string | null | undefined; endpoint?: string | null | undefined }): boolean {
  return type === "external" || (type == null && endpoint != null);
}

function checkPostData({ readiness_probe: probe }: ServiceYaml, report: Report): void {
  if (probe == null || typeof probe === "string" || typeof probe.post_data !== "string") return;
  try {
    JSON.parse(probe.post_data);
  } catch {
    report("error", ["service", "readiness_probe", "post_data"], "is not JSON; write it as a YAML group of fields, or as JSON text");
  }
}

/** What a template's service cannot say itself: it is the hosts' owner's to say. */
function checkTemplate(task: TaskYaml, { template, ports }: ServiceYaml, report: Report): void {
  if (template == null) return;
  const why = "cannot stand beside service.template: the host's template says it";
  for (const field of ["run", "setup", "workdir"] as const) if (task[field] != null && task[field] !== "") report("error", [field], why);
  if (ports != null) report("error", ["service", "ports"], why);
}

function checkMachines(task: TaskYaml, lenient: "error" | "warning", report: Report): void {
  const machines = alternatives(task.resources);
  const policy = task.service?.replica_policy;
  const spot = machines.filter((machine) => machine.use_spot === true).length;
  if (machines.some((machine) => portsOf(machine) === undefined)) report("error", ["resources", "ports"], "must be ports from 1 to 65535, or ranges of them such as 8080-8090");
  for (const field of ["job_recovery", "spot_recovery"] as const) {
    if (machines.some((machine) => machine[field] != null)) report("error", ["resources", field], "cannot be used in a service: replicas that go away are replaced");
  }
  if (spot > 0 && spot < machines.length) report(lenient, ["resources"], "mixes use_spot: true and false; SkyServe refuses this, here the on-demand entries are the fallback");
  const needsSpot = policy?.spot_placer != null ? "spot_placer" : policy?.dynamic_ondemand_fallback === true ? "dynamic_ondemand_fallback" : (policy?.base_ondemand_fallback_replicas ?? 0) > 0 ? "base_ondemand_fallback_replicas" : undefined;
  if (needsSpot !== undefined && spot === 0) report("error", ["service", "replica_policy", needsSpot], "needs use_spot: true in resources");
  if (policy?.spot_placer != null && new Set(machines.map(withoutPlace)).size > 1) {
    report("error", ["service", "replica_policy", "spot_placer"], "needs entries of any_of that differ in cloud, region and zone only");
  }
  if (task.resources?.any_of != null && task.resources.ordered != null) report("error", ["resources", "ordered"], "cannot stand beside any_of: give one of them");
}

/** All that makes a machine, except where it is and how it is paid for. */
function withoutPlace(machine: ResourceYaml): string {
  const kept = Object.entries(machine).filter(([field]) => !["infra", "cloud", "region", "zone", "use_spot"].includes(field));
  return JSON.stringify(kept.sort(([a], [b]) => (a < b ? -1 : 1)));
}
