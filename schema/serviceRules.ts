import { ownReplicasSchema } from "./bundle.ts";
import { checkMachines } from "./machineRules.ts";
import { checkPool, checkPoolSizes, isPool } from "./poolRules.ts";
import { nearestName, type Path, type Report } from "./problem.ts";
import { alternatives } from "./resources.ts";
import { checkRollout } from "./rolloutRules.ts";
import { checkScale } from "./scaleRules.ts";
import { fairleadPolicyFields } from "./scaleYaml.ts";
import { fairleadFields, isExternal, type ServiceYaml } from "./serviceYaml.ts";
import type { TaskYaml } from "./taskYaml.ts";

/**
 * The rules between fields, SkyServe's own (facts/skyserve-compat.md §2). Two that SkyServe has and its users' files break are
 * warnings, unless `strict` asks for SkyServe's answer.
 */
export function checkRules(task: TaskYaml, strict: boolean, report: Report): void {
  if (task.service != null && task.pool != null) report("error", ["pool"], "cannot stand beside service: a file is one or the other");
  if (task.service != null) {
    checkScale(task.service, strict, report);
    checkRollout(task.service, report);
    checkPool(task.service, report);
    checkProviders(task.service, report);
    const probe = task.service.readiness_probe;
    if (typeof probe === "object") checkHeaders(probe?.headers ?? {}, ["service", "readiness_probe", "headers"], report);
    checkPostData(task.service, report);
    checkTemplate(task, task.service, report);
    if (strict) refuseOwnFields(task.service, report);
  }
  if (task.pool != null) checkPoolSizes(task.pool, ["pool"], report);
  if (task.pool != null || (task.service != null && isPool(task.service))) checkPoolMachines(task, report);
  if (strict) refuseWhatSkyPilotDoes(task, report);
  checkMachines(task, strict, report);
}

function checkPoolMachines({ resources }: TaskYaml, report: Report): void {
  const { ordered, accelerators, gpus } = resources ?? {};
  if ((ordered ?? []).length > 0) report("error", ["resources", "ordered"], "cannot be used with a pool of workers: use any_of");
  if (Array.isArray(accelerators ?? gpus)) report("error", ["resources", "accelerators"], "is a list, which is an order, and cannot be used with a pool of workers: write {L4, A100}");
  if (alternatives(resources).some(({ ports }) => ports != null)) report("error", ["resources", "ports"], "cannot be used with a pool of workers: nobody calls them");
}

/** What people write and SkyPilot's own reader refuses. */
function refuseWhatSkyPilotDoes({ name, service, ...task }: TaskYaml, report: Report): void {
  if (typeof name === "number") report("error", ["name"], "must be text");
  if (Object.hasOwn(task, "experimental")) report("error", ["experimental"], "is not known to SkyPilot any more");
  // SkyServe leaves out what has no value right under service, and nowhere below
  for (const path of valueless(service, ["service"])) if (path.length > 2 || path[1] === "readiness_probe") report("error", path, "has no value; leave it out");
  if (service?.replicas === null && service.replica_policy != null) report("error", ["service", "replicas"], "cannot stand beside replica_policy, without a value either");
}

/** Fields without a value; what a probe posts may have some. */
function valueless(value: unknown, path: Path): Path[] {
  if (value === null && path.length > 1) return [path];
  if (typeof value !== "object" || value === null || path.at(-1) === "post_data") return [];
  return Object.entries(value).flatMap(([field, inner]) => valueless(inner, [...path, Array.isArray(value) ? Number(field) : field]));
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
    else if (ownHeaders.test(name) && at.includes("providers")) report("error", [...at, name], "cannot be set: it belongs to the request itself");
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
