import type { Path, Report } from "./problem.ts";
import { acceleratorsOf, alternatives, gpuCounts, imageOf, placesOf } from "./resources.ts";
import { isExternal, type ServiceYaml } from "./serviceYaml.ts";
import type { TaskYaml } from "./taskYaml.ts";

/** Say what a file asks for and this version accepts without acting on it, so that nobody relies on it. */
export function warnNotYet(task: TaskYaml, report: Report): void {
  const warn = (path: Path, message: string) => report("warning", path, message);
  if (task.service != null) {
    warnService(task.service, warn);
    warnRouting(task.service, warn);
  }
  warnTask(task, warn);
}

type Warn = (path: Path, message: string) => void;

function warnService(service: ServiceYaml, warn: Warn): void {
  const balancing = service.load_balancing_policy;
  const strategy = service.routing?.strategy;
  if (balancing != null && strategy != null && balancing !== strategy) warn(["service", "load_balancing_policy"], `is ${balancing}, and routing.strategy, ${strategy}, is what counts`);
  if (strategy === "instance_aware_least_load" && typeof service.replica_policy?.target_qps_per_replica !== "object") {
    warn(["service", "routing", "strategy"], "instance_aware_least_load takes all replicas for alike: target_qps_per_replica by accelerator, as in {L4: 2.5}, says what each takes");
  }
  const { ttft, idle } = service.routing?.timeouts ?? {};
  if (service.load_balancer?.stream_timeout_seconds != null && ttft != null && idle != null) warn(["service", "load_balancer", "stream_timeout_seconds"], "is not used: routing.timeouts says both ttft and idle");
  if (service.tls != null) warn(["service", "tls"], "is not needed: the edge serves HTTPS by itself");
  for (const field of ["rpm", "tpm", "max_concurrency"] as const) if (service.limits?.[field] != null) warn(["service", "limits", field], "is not acted on yet");
  if ((service.limits?.max_body_bytes ?? 0) > bodyBytesMaxEver) warn(["service", "limits", "max_body_bytes"], `is ${service.limits?.max_body_bytes}, and the edge takes ${bodyBytesMaxEver} at most of what it reads, which is all but /s/NAME/`);
  const probe = service.readiness_probe;
  for (const [name, value] of Object.entries(typeof probe === "object" ? (probe?.headers ?? {}) : {})) {
    if (/^(authorization|x-api-key|cookie)$/i.test(name) && !value.includes("$")) {
      warn(["service", "readiness_probe", "headers", name], "is written in clear: put it under secrets: and refer to it as $NAME");
    }
  }
}

/** A larger body is refused before its service is known (`edge/http/inference.ts`). */
const bodyBytesMaxEver = 20 * 1024 * 1024;

/** The edge begins no more attempts for one request, whatever people set (`edge/forward/attempts.ts`). */
const attemptsMaxEver = 6;

function warnRouting({ providers, routing }: ServiceYaml, warn: Warn): void {
  const at = ["service", "routing"];
  const attempts = routing?.retries?.attempts ?? 0;
  if (attempts > attemptsMaxEver) warn([...at, "retries", "attempts"], `is ${attempts}, and a request makes ${attemptsMaxEver} at most`);
  if (routing?.timeouts?.connect != null) warn([...at, "timeouts", "connect"], "is not acted on: the edge's platform opens connections by itself; ttft bounds it");
  const all = providers ?? [];
  const unpriced = all.filter(({ price }) => price?.input == null && price?.output == null);
  if (routing?.strategy === "cost_optimized" && all.length > 1 && unpriced.length > 0) {
    warn([...at, "strategy"], `cost_optimized weighs prices, and ${unpriced.map(({ name }) => `"${name}"`).join(", ")} ${unpriced.length === 1 ? "has" : "have"} none`);
  }
  const entry = all.findIndex((provider) => !isExternal(provider));
  all.forEach((provider, i) => {
    const here = ["service", "providers", i];
    if (provider.timeouts != null) warn([...here, "timeouts"], "is not acted on: routing.timeouts holds for every upstream");
    if (provider.price != null && provider.price.input == null) warn([...here, "price"], "says nothing of input, which counts as free");
    if (isExternal(provider)) return;
    if (i !== entry) warn(here, `is not used: the service's replicas are "${all[entry]?.name}"`);
    if (provider.type === "skypilot") warn([...here, "type"], "skypilot is not acted on yet: replicas run on the hosts that have enrolled");
    for (const field of ["api_key", "dialect", "model", "headers"] as const) {
      if (provider[field] != null) warn([...here, field], "is not used: it belongs to external providers, and this is the service's own replicas");
    }
  });
}

const unheeded = ["instance_type", "disk_size", "ephemeral_storage", "disk_tier", "local_disk", "network_tier", "max_hourly_cost", "autostop", "labels", "priority", "priority_class"] as const;

/** As in `4+`. */
function isLeast(amount: string | number | null | undefined): boolean {
  return typeof amount === "string" && amount.trim().endsWith("+");
}

function warnTask(task: TaskYaml, warn: Warn): void {
  const machines = alternatives(task.resources);
  const ignored = unheeded.filter((field) => machines.some((machine) => machine[field] != null));
  if (ignored.length > 0) warn(["resources"], `${ignored.join(", ")}: not acted on, machines are those that have enrolled`);
  for (const field of ["cpus", "memory"] as const) {
    if (machines.some((machine) => isLeast(machine[field]))) warn(["resources", field], "is the least that is wanted, and not acted on: hosts are chosen by GPUs and place; without the plus sign it bounds each replica");
  }
  if (placesOf(machines).some(({ cloud, region, zone }) => cloud !== undefined && region === undefined && zone === undefined)) warn(["resources"], "names a cloud only, which is not acted on: hosts are told apart by zone, and by region as its beginning");
  if (machines.some((machine) => machine.use_spot === true)) warn(["resources", "use_spot"], "takes those of the enrolled hosts whose agents say that they are spot machines, or any where none says so; none is rented by itself");
  const images = new Set(machines.map((machine) => imageOf(machine)));
  if (machines.some((machine) => machine.image_id != null && imageOf(machine) === undefined)) warn(["resources", "image_id"], "is not acted on: of images, those of containers are, as in docker:vllm/vllm-openai:latest");
  else if (images.size > 1) warn(["resources", "image_id"], `is not the same for all machines; ${[...images].find((image) => image !== undefined)} is used on each host`);
  const counts = machines.flatMap((machine) => gpuCounts(machine.accelerators));
  if (new Set(counts).size > 1) {
    const bySize = acceleratorsOf(machines).length === 0;
    warn(["resources", "accelerators"], bySize ? `name machines with different numbers of GPUs by their memory; the first, ${counts[0]}, is used` : `name machines with different numbers of GPUs; on a host that does not say what its GPUs are, the first, ${counts[0]}, is used`);
  }
  if ((task.num_nodes ?? 1) > 1) warn(["num_nodes"], "is not acted on yet: a replica is one host");
  if (typeof task.workdir === "object" && task.workdir !== null) warn(["workdir"], "from a repository is not acted on yet: use a folder on the host");
  if (task.file_mounts != null && Object.keys(task.file_mounts).length > 0) warn(["file_mounts"], "is not acted on yet: have the files on the host");
  const unmounted = Object.values(task.volumes ?? {}).filter((source) => typeof source !== "string" || !source.startsWith("/"));
  if (unmounted.length > 0 || (Object.keys(task.volumes ?? {}).length > 0 && images.has(undefined))) warn(["volumes"], "is acted on for folders of the host and services with an image only: have the files on the host");
}
