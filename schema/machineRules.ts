import { nearestName, type Report } from "./problem.ts";
import { alternatives, entriesOf, portsOf } from "./resources.ts";
import type { ResourcesYaml, ResourceYaml, TaskYaml } from "./taskYaml.ts";

/** Clouds that SkyPilot knows (0.14, `sky/skylet/constants.py`), `k8s` for Kubernetes included. */
const clouds = "aws azure gcp ibm lambda scp oci kubernetes k8s runpod vast vsphere cudo fluidstack paperspace primeintellect do nebius ssh slurm hyperbolic seeweb shadeform yotta mithril verda".split(" ");

/** What SkyServe refuses of `resources:`. What its users' files have all the same is a warning, unless `strict` asks for SkyServe's answer. */
export function checkMachines(task: TaskYaml, strict: boolean, report: Report): void {
  const lenient = strict ? "error" : "warning";
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
  if (task.resources != null) checkChoice(task.resources, report);
  eachMachine(task.resources, (machine, at) => {
    checkPlace(machine, at, strict, report);
    checkAccelerators(machine, at, strict, report);
  });
  if (strict) refuseTextCounts(task.resources, report);
  const both = machines.findIndex(({ infra, cloud, region, zone }) => infra != null && (cloud ?? region ?? zone) != null);
  if (both !== -1) report("error", ["resources", "infra"], "cannot stand beside cloud, region and zone: it says all three, as in aws/us-east-1/us-east-1a");
}

/** What several machines may be chosen from by. */
function checkChoice({ any_of: anyOf, ordered, accelerators, gpus }: ResourcesYaml, report: Report): void {
  const several = entriesOf(accelerators ?? gpus).length > 1;
  if (anyOf != null && ordered != null) report("error", ["resources", "ordered"], "cannot stand beside any_of: give one of them");
  else if (several && (ordered ?? []).length > 0) report("error", ["resources", "accelerators"], "names several beside ordered: name one in each of its entries");
  else if (several && Array.isArray(accelerators ?? gpus) && (anyOf ?? []).length > 0) report("error", ["resources", "accelerators"], "is a list, which is an order, beside any_of, which is none: name one in each of its entries, or write {L4, A100}");
}

function checkPlace({ infra, cloud }: ResourceYaml, at: (string | number)[], strict: boolean, report: Report): void {
  const [named = "", ...places] = (infra ?? cloud ?? "*").split("/");
  const lower = named.toLowerCase();
  const field = infra == null ? "cloud" : "infra";
  const nearest = nearestName(lower, clouds);
  if (strict && field === "cloud" && lower === "k8s") report("error", [...at, field], "is kubernetes in SkyPilot: k8s is a word of infra");
  else if (lower !== "*" && !clouds.includes(lower)) {
    report(named === "" || strict ? "error" : "warning", [...at, field], `"${named}" is no cloud that SkyPilot knows${nearest === undefined ? `: ${clouds.join(", ")}` : `; did you mean ${nearest}?`}`);
  } else if (lower !== "kubernetes" && lower !== "k8s" && lower !== "ssh" && (places.length > 2 || places.includes(""))) report("error", [...at, field], "must be cloud, cloud/region or cloud/region/zone; * stands for any");
}

function checkAccelerators({ accelerators, gpus }: ResourceYaml, at: (string | number)[], strict: boolean, report: Report): void {
  const field = accelerators == null ? "gpus" : "accelerators";
  const named = accelerators ?? gpus;
  if (strict && at.length > 1 && (Array.isArray(named) || entriesOf(named).length > 1)) report("error", [...at, field], "names several within an entry: SkyPilot takes one there");
  if (accelerators != null && gpus != null) report("error", [...at, "gpus"], "is another name of accelerators: give one of them");
  for (const entry of entriesOf(named)) {
    const [name = "", ...rest] = entry.split(":");
    const count = rest.at(-1);
    if (name.trim() === "") report("error", [...at, field], `"${entry}" names no accelerator, as in L4:2`);
    if (count !== undefined && !/^\s*(?=.*[1-9])\d+(\.\d+)?\s*$|^\d+[gmt]b\+?$/i.test(count)) report("error", [...at, field], `"${entry}" has no number above 0 after the colon, as in L4:2`);
  }
}

/** Overridden or not, SkyPilot wants numbers. */
function refuseTextCounts(resources: ResourcesYaml | null | undefined, report: Report): void {
  const { any_of: anyOf, ordered, ...shared } = resources ?? {};
  for (const { accelerators, gpus } of [shared, ...(anyOf ?? []), ...(ordered ?? [])]) {
    const named = accelerators ?? gpus ?? {};
    if (typeof named === "object" && !Array.isArray(named) && Object.values(named).some((many) => typeof many === "string")) report("error", ["resources", "accelerators"], "must have numbers as counts");
  }
}

/** `resources:` itself and each entry of its lists, with where it stands. */
function eachMachine(resources: ResourcesYaml | null | undefined, look: (machine: ResourceYaml, at: (string | number)[]) => void): void {
  if (resources == null) return;
  const { any_of: anyOf, ordered, ...shared } = resources;
  const entries = [...(anyOf ?? []), ...(ordered ?? [])];
  // accelerators that every entry has others for are nobody's
  const { accelerators: _accelerators, gpus: _gpus, ...rest } = shared;
  look(entries.length > 0 && entries.every((entry) => (entry.accelerators ?? entry.gpus) != null) ? rest : shared, ["resources"]);
  (anyOf ?? []).forEach((machine, i) => look(machine, ["resources", "any_of", i]));
  (ordered ?? []).forEach((machine, i) => look(machine, ["resources", "ordered", i]));
}

/** All that makes a machine, except where it is and how it is paid for. */
function withoutPlace(machine: ResourceYaml): string {
  const kept = Object.entries(machine).filter(([field]) => !["infra", "cloud", "region", "zone", "use_spot"].includes(field));
  return JSON.stringify(kept.sort(([a], [b]) => (a < b ? -1 : 1)));
}
