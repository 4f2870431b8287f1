import { z } from "zod";
import { ownReplicasSchema, providerSchema, routingSchema, timeoutsSchema, type Price } from "./bundle.ts";
import { mentionsPort, namesIn, own, type Environment } from "./environment.ts";
import { isPool, poolOf } from "./poolRules.ts";
import { fromZeroSchema, rolloutPolicySchema, scalePolicySchema, type ScalePolicy } from "./policy.ts";
import type { Report } from "./problem.ts";
import { acceleratorsOf, alternatives, gpuCounts, imageOf, limitsOf, placesOf, portsOf } from "./resources.ts";
import { fromZeroOf, policyOf, poolPolicyOf, replicasMaxOf, rolloutOf } from "./scaleSpec.ts";
import { isExternal, type ServiceYaml } from "./serviceYaml.ts";
import { imagePattern, taskSchema, type Probe } from "./task.ts";
import type { TaskYaml } from "./taskYaml.ts";

/** A service as control keeps it: what its file says, resolved, without any secret. */
export const serviceSpecSchema = z.object({
  name: z.string(),
  models: z.array(z.string()).min(1),
  /** Whether the file names a model: /v1/models lists the service then. */
  hasModel: z.boolean(),
  /** What a replica runs; absent for a service of external providers only. */
  task: taskSchema.omit({ service: true, version: true, digest: true, sealedSecrets: true, signed: true }).optional(),
  /** As many as its hubs keep without a scaler's word, and the most that a scaler ever asks for. */
  replicas: z.object({ min: z.number().int().nonnegative(), max: z.number().int().nonnegative() }),
  /** What of them is secret is in `ServiceSecrets`. */
  providers: z.array(providerSchema.omit({ sealedApiKey: true, sealedHeaders: true })),
  timeouts: timeoutsSchema,
  routing: routingSchema.default(routingSchema.parse({})),
  own: ownReplicasSchema.default(ownReplicasSchema.parse({})),
  bodyBytesMax: z.number().int().positive(),
  /** These three are absent for a service without replicas, and where an earlier version wrote it: `replicas.min` of them. */
  policy: scalePolicySchema.optional(),
  rollout: rolloutPolicySchema.optional(),
  /** Absent also: there is a replica at all times. */
  fromZero: fromZeroSchema.optional(),
});
export type ServiceSpec = z.infer<typeof serviceSpecSchema>;
type SpecTask = NonNullable<ServiceSpec["task"]>;

/** Defaults that SkyServe's users rely on (facts/skyserve-compat.md §2), and ours. Seconds and milliseconds by their names. */
const defaults = { initialDelayS: 1200, timeoutS: 15, intervalS: 10, failureThresholdS: 180, drainMs: 120_000, ttftMs: 120_000, idleMs: 15_000, totalMs: 600_000, bodyBytesMax: 20 * 1024 * 1024 };

export interface SpecOptions {
  name: string;
  resolved: Environment;
  /** Providers' headers without those that are secret, by provider name. */
  headers: Readonly<Record<string, Record<string, string>>>;
  purpose: "validate" | "up";
  report: Report;
}

/** A pool of workers: what this version knows of it. */
export interface PoolSpec {
  name: string;
  policy: ScalePolicy;
}

export function buildPool(name: string, task: TaskYaml, { purpose, report }: Pick<SpecOptions, "purpose" | "report">): PoolSpec | undefined {
  const pool = task.pool ?? (task.service != null && isPool(task.service) ? poolOf(task.service).pool : undefined);
  if (pool === undefined) return undefined;
  report(purpose === "up" ? "error" : "warning", [task.pool != null ? "pool" : "service"], "is a pool of workers, which this version does not run yet: it can be checked only");
  return { name, policy: poolPolicyOf(pool) };
}

/** The spec of a file whose shape and rules are sound, or undefined after an error was reported. */
export function buildSpec(task: TaskYaml, options: SpecOptions): ServiceSpec | undefined {
  const { name, report } = options;
  if (task.service == null) {
    report("error", [], "has no service: section; an empty one is written as service: {}");
    return undefined;
  }
  const { service } = task;
  const providers = service.providers ?? [];
  const external = providers.filter(isExternal);
  const externalOnly = external.length > 0 && external.length === providers.length;
  if (externalOnly && task.run != null) report("warning", ["run"], "is not used: every provider is external; add {type: self-hosted, name: …} to run replicas too");
  const specTask = externalOnly ? undefined : buildTask(task, service, options);
  if (specTask === undefined && !externalOnly) return undefined;

  const models = service.model == null ? [name] : [service.model].flat();
  const policy = externalOnly ? undefined : policyOf(service, alternatives(task.resources));
  const fromZero = policy === undefined ? undefined : fromZeroOf(service, policy);
  const min = policy?.min ?? 0;
  if (min > 1 && specTask?.fixedPort !== undefined) {
    report("warning", [service.replicas == null ? "service" : "service", service.replicas == null ? "replica_policy" : "replicas"], `is ${min}, and only one replica fits on a host while run insists on port ${specTask.fixedPort}; listen on $PORT instead`);
  }
  return {
    name,
    models: [...new Set(models)],
    hasModel: service.model != null,
    ...(specTask === undefined ? {} : { task: specTask }),
    replicas: { min, max: policy === undefined ? 0 : replicasMaxOf(policy) },
    providers: buildProviders(service, options),
    timeouts: timeoutsOf(service),
    routing: routingSchema.parse({
      strategy: service.routing?.strategy ?? service.load_balancing_policy ?? undefined,
      fallbackChain: service.routing?.fallback_chain ?? undefined,
      attempts: service.routing?.retries?.attempts ?? undefined,
      onStreamLoss: service.routing?.on_stream_loss ?? undefined,
      hedgeAfterMs: service.routing?.hedge?.after ?? undefined,
      contextWindowFallback: service.routing?.context_window_fallback ?? undefined,
    }),
    own: buildOwn(service, policy?.targetQps),
    bodyBytesMax: service.limits?.max_body_bytes ?? defaults.bodyBytesMax,
    ...(policy === undefined ? {} : { policy, rollout: rolloutOf(service) }),
    ...(fromZero === undefined ? {} : { fromZero }),
  };
}

/** SkyServe's `stream_timeout_seconds` bounds each wait of its balancer for a replica: for the first bytes, and for those after. */
function timeoutsOf({ routing, load_balancer: balancer }: ServiceYaml): ServiceSpec["timeouts"] {
  const given = routing?.timeouts;
  const each = balancer?.stream_timeout_seconds == null ? undefined : balancer.stream_timeout_seconds * 1000;
  const ttftMs = given?.ttft ?? each ?? defaults.ttftMs;
  return { ttftMs, idleMs: given?.idle ?? each ?? defaults.idleMs, totalMs: given?.total ?? Math.max(defaults.totalMs, each ?? 0) };
}

function buildTask(task: TaskYaml, service: ServiceYaml, { resolved, purpose, report }: SpecOptions): SpecTask | undefined {
  const { template } = service;
  if (template == null && (task.run == null || task.run.trim() === "")) {
    report("error", ["run"], "is missing: a service with replicas needs a command to run, or service.template");
    return undefined;
  }
  const workdir = typeof task.workdir === "string" && task.workdir !== "" ? task.workdir : undefined;
  if (purpose === "up" && workdir !== undefined && !workdir.startsWith("/")) {
    report("error", ["workdir"], `is "${workdir}", relative to nowhere: give the whole path (fairlead up does)`);
  }
  // a template listens where its host's owner wrote down
  const port = template == null ? choosePort(task, service, resolved, report) : "any";
  if (port === undefined) return undefined;
  const probe = buildProbe(service.readiness_probe);
  const machines = alternatives(task.resources);
  const image = machines.map((machine) => imageOf(machine)).find((name) => name !== undefined);
  if (image !== undefined && !imagePattern.test(image)) report("error", ["resources", "image_id"], `"docker:${image}" names no image; write docker:registry/name:tag`);
  const mounts = image === undefined ? {} : buildMounts(task.volumes, report);
  const limits = limitsOf(machines);
  const accelerators = acceleratorsOf(machines);
  const places = placesOf(machines);
  return {
    ...(task.setup == null ? {} : { setup: task.setup }),
    run: template == null ? (task.run ?? "") : "",
    ...(template == null ? {} : { template: { name: template.name, parameters: template.parameters ?? {} } }),
    gate: service.model != null || probe.path.startsWith("/v1") ? "openai" : "any",
    ...(workdir === undefined ? {} : { workdir }),
    envs: resolved.envs,
    ...(port === "any" ? {} : { fixedPort: port }),
    probe,
    drainMs: defaults.drainMs,
    gpus: machines.flatMap((machine) => gpuCounts(machine.accelerators))[0] ?? 0,
    ...(accelerators.length === 0 ? {} : { accelerators }),
    ...(places.length === 0 ? {} : { places }),
    ...(image === undefined ? {} : { image }),
    ...(Object.keys(mounts).length === 0 ? {} : { mounts }),
    ...(Object.keys(limits).length === 0 ? {} : { limits }),
  };
}

/** Folders of the host that a container sees: entries of `volumes` whose value is a whole path. */
function buildMounts(volumes: TaskYaml["volumes"], report: Report): Record<string, string> {
  const mounts: Record<string, string> = {};
  for (const [target, source] of Object.entries(volumes ?? {})) {
    if (typeof source !== "string" || !source.startsWith("/")) continue;
    if (!target.startsWith("/")) report("error", ["volumes", target], "must be a whole path in the container, as in /models");
    else mounts[target] = source;
  }
  return mounts;
}

/** The port that `run` insists on, or `any` when it listens where `$PORT` says; undefined after an error was reported. */
function choosePort(task: TaskYaml, service: ServiceYaml, { envs, secrets }: Environment, report: Report): number | "any" | undefined {
  // a PORT of the file's own is a fixed port by another name
  const ownPort = ["PORT", "FAIRLEAD_PORT"].some((name) => Object.hasOwn(envs, name) || Object.hasOwn(secrets, name));
  if (!ownPort && mentionsPort(`${task.setup ?? ""}\n${task.run ?? ""}`)) return "any";
  const byMachine = alternatives(task.resources).map((machine) => portsOf(machine) ?? []);
  const ports = [...new Set(byMachine.flat())];
  if (service.ports != null) {
    const lacking = ports.length > 0 && byMachine.some((own) => !own.includes(service.ports ?? 0));
    if (lacking) report("error", ["service", "ports"], `is ${service.ports}, which resources.ports does not name`);
    return service.ports;
  }
  const [port] = ports;
  if (port === undefined) report("error", task.resources == null ? ["run"] : ["resources"], "names no port: listen on $PORT in run, or say which port with resources.ports");
  else if (ports.length > 1) report("error", ["resources", "ports"], `names ${ports.join(", ")}: say with service.ports which one answers requests`);
  return port;
}

function buildProbe(probe: ServiceYaml["readiness_probe"]): Probe {
  const fields = typeof probe === "string" ? { path: probe } : (probe ?? { path: "/" });
  const post = "post_data" in fields ? fields.post_data : undefined;
  return {
    path: fields.path,
    initialDelayMs: (("initial_delay_seconds" in fields ? fields.initial_delay_seconds : null) ?? defaults.initialDelayS) * 1000,
    timeoutMs: (("timeout_seconds" in fields ? fields.timeout_seconds : null) ?? defaults.timeoutS) * 1000,
    intervalMs: (("endpoint_probe_interval_seconds" in fields ? fields.endpoint_probe_interval_seconds : null) ?? defaults.intervalS) * 1000,
    failureThresholdMs: (("consecutive_failure_threshold_timeout" in fields ? fields.consecutive_failure_threshold_timeout : null) ?? defaults.failureThresholdS) * 1000,
    ...(post == null ? {} : { postBody: typeof post === "string" ? post : JSON.stringify(post) }),
    headers: ("headers" in fields ? fields.headers : null) ?? {},
  };
}

/** US dollars per million tokens as people write them, as integer micro-USD. Cached input costs as input unless it is said. */
function buildPrice(price: NonNullable<ServiceYaml["providers"]>[number]["price"]): Price | undefined {
  // a group without a number says nothing; a price of nothing would win every comparison
  if (price == null || [price.input, price.cached_input, price.output].every((usd) => usd == null)) return undefined;
  const micro = (usd: number | null | undefined): number => Math.round((usd ?? 0) * 1_000_000);
  return { inputMicroUsd: micro(price.input), cachedInputMicroUsd: micro(price.cached_input ?? price.input), outputMicroUsd: micro(price.output) };
}

/** The service's own replicas, as the entry of type self-hosted says. */
function buildOwn(service: ServiceYaml, qps: ScalePolicy["targetQps"]): ServiceSpec["own"] {
  const entry = (service.providers ?? []).find((provider) => !isExternal(provider));
  return ownReplicasSchema.parse({ name: entry?.name, weight: entry?.weight ?? undefined, fallback: entry?.fallback ?? undefined, price: buildPrice(entry?.price), contextWindow: entry?.context_window ?? undefined, continuation: entry?.supports?.continuation ?? undefined, qps: typeof qps === "object" ? qps : undefined });
}

/** External providers in the order in which they are tried: the fallback chain's, then the file's. */
function buildProviders(service: ServiceYaml, { headers, purpose, report }: SpecOptions): ServiceSpec["providers"] {
  const chain = service.routing?.fallback_chain ?? [];
  const rank = (name: string) => (chain.includes(name) ? chain.indexOf(name) : chain.length);
  const out: ServiceSpec["providers"] = [];
  (service.providers ?? []).forEach((provider, i) => {
    if (!isExternal(provider)) return;
    const at = ["service", "providers", i];
    if (provider.dialect != null && provider.dialect !== "openai") {
      report(purpose === "up" ? "error" : "warning", [...at, "dialect"], `${provider.dialect} is not spoken yet; openai is`);
    }
    const endpoint = provider.endpoint ?? "";
    if (namesIn(endpoint).length === 0) {
      const url = URL.parse(endpoint);
      if (url === null || !/^https?:$/.test(url.protocol)) report("error", [...at, "endpoint"], "must be a URL, as in https://api.example.com/v1");
      else if (url.username !== "" || url.password !== "") report("error", [...at, "endpoint"], "must not hold a password: use api_key");
    }
    out.push(
      providerSchema.omit({ sealedApiKey: true, sealedHeaders: true, endpoint: true }).extend({ endpoint: z.string() }).parse({
        name: provider.name,
        endpoint,
        dialect: "openai",
        model: provider.model ?? undefined,
        weight: provider.weight ?? undefined,
        fallback: provider.fallback ?? undefined,
        price: buildPrice(provider.price),
        contextWindow: provider.context_window ?? undefined,
        continuation: provider.supports?.continuation ?? undefined,
        headers: own(headers, provider.name),
      }),
    );
  });
  return out.sort((a, b) => rank(a.name) - rank(b.name));
}
