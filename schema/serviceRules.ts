import { ownReplicasSchema } from "./bundle.ts";
import { checkPool, checkPoolSizes } from "./poolRules.ts";
import { nearestName, type Path, type Report } from "./problem.ts";
import { alternatives, portsOf } from "./resources.ts";
import { checkRollout } from "./rolloutRules.ts";
import { checkScale } from "./scaleRules.ts";
import { fairleadPolicyFields } from "./scaleYaml.ts";
import { fairleadFields, isExternal, type ServiceYaml } from "./serviceYaml.ts";
import type { ResourceYaml, TaskYaml } from "./taskYaml.ts";

/**
 * The rules between fields, SkyServe's own (facts/skyserve-compat.md §2). Two that SkyServe has and its users' files break are
 * warnings, unless `strict` asks for SkyServe's answer.
 */
export function checkRules(task: TaskYaml, strict: boolean, report: Report): void {
  const lenient = strict ? "error" : "warning";
  if (task.service != null && task.pool != null) report("error", ["pool"], "cannot stand beside service: a file is one or the other");
  if (task.service != null) {
    checkScale(task.service, strict, report);
    checkRollout(task.service, report);
    checkPool(task.service, report);
    checkProviders(task.service, report);
    checkPostData(task.service, report);
    checkTemplate(task, task.service, report);
    if (strict) refuseOwnFields(task.service, report);
  }
  if (task.pool != null) checkPoolSizes(task.pool, ["pool"], report);
  checkMachines(task, lenient, report);
}

function refuseOwnFields(service: ServiceYaml, report: Report): void {
  const policy = service.replica_policy ?? {};
  for (const field of fairleadFields) if (Object.hasOwn(service, field)) report("error", ["service", field], "is Fairlead's, SkyServe does not know it");
  for (const field of fairleadPolicyFields) if (Object.hasOwn(policy, field)) report("error", ["service", "replica_policy", field], "is Fairlead's, SkyServe does not know it");
  const placer = service.replica_policy?.spot_placer;
  if (placer != null && placer !== "dynamic_fallback") report("error", ["service", "replica_policy", "spot_placer"], "must be dynamic_fallback: SkyServe has no other");
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
