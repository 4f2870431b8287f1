import { generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { routeServiceSchema, type Bundle, type FleetHost } from "../../schema/bundle.ts";
import type { RegionStatus } from "../../schema/snapshot.ts";
import { buildWorkers, type BuiltWorker, type WorkerName } from "../local/workers.ts";
import { checkAnswer } from "./check.ts";
import { launch, type Child } from "./children.ts";
import { model } from "./exchange.ts";
import { bareRelay } from "./fleet-bare-relay.ts";
import type { HostJob } from "./fleet-host.ts";
import { direct } from "./peers/direct.ts";
import { fairlead } from "./peers/fairlead.ts";
import type { Peer, Running, StartOptions } from "./peers/peer.ts";
import { workerd } from "./peers/workerd.ts";
import { endpoint } from "./upstream.ts";
import { benchKey, publish, startWorkers, values } from "./workers-running.ts";

/** How long a host may take to join and its replica to be routable, in ms: two staggered links and a heartbeat. */
const joinMs = 15_000;

/** A host with a key of its own. */
export function newHost(id: string): { host: FleetHost; privateKey: string } {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  // the last 32 bytes of an Ed25519 key's SPKI are the key (RFC 8410)
  const raw = publicKey.export({ type: "spki", format: "der" }).subarray(-32).toString("base64");
  return { host: { id, name: id, region: "local", publicKey: raw, revoked: false }, privateKey: privateKey.export({ type: "pkcs8", format: "pem" }) as string };
}

/** One service with replicas of its own on these hosts. */
export async function replicasBundle(hosts: FleetHost[], count: number): Promise<{ bundle: Bundle; key: string }> {
  const { key, record } = await benchKey();
  const service = routeServiceSchema.parse({ name: "bench", version: 1, models: [model], listed: true, createdAt: 1, providers: [], selfHosted: true, timeouts: { ttftMs: 120_000, totalMs: 600_000 }, bodyBytesMax: 1_000_000 });
  const probe = { path: "/", initialDelayMs: 1_000, timeoutMs: 1_000, intervalMs: 1_000, failureThresholdMs: 1_000, headers: {} };
  const task = { service: "bench", version: 1, digest: "bench-1", run: "", envs: {}, drainMs: 1_000, gpus: 0, probe };
  return {
    key,
    bundle: { route: { version: 1, publishedAt: 1, services: [service], keys: [record] }, fleet: { hosts, services: [{ task, replicas: { local: count }, sealedSecrets: {} }], removed: [] } },
  };
}

/** What Hubs say. */
export async function regionsOf(router: string): Promise<RegionStatus[]> {
  const response = await fetch(`${router}/internal/status`, { headers: { authorization: `Bearer ${values.FAIRLEAD_CONTROL_TOKEN}` } });
  return ((await response.json()) as { regions: RegionStatus[] }).regions;
}

let workers: Record<WorkerName, BuiltWorker> | undefined;

/** A fleet whose hosts all stand before one upstream. */
export interface RunningFleet extends Running {
  router: string;
  hosts: { id: string; agent: Child }[];
}

export async function startFleet(more: Partial<HostJob>, count: number, { upstreamUrl, port, inspectorPort, cpu, workDir, cacheDir }: StartOptions, loadCpu: number | undefined): Promise<RunningFleet> {
  workers ??= await buildWorkers(join(cacheDir, "workers"));
  const { child, router, fleet, inspectorUrl } = await startWorkers({ workers, workDir, port, inspectorPort, cpu });
  const made = Array.from({ length: count }, (_, i) => newHost(`host_bench_${i}`));
  const { bundle, key } = await replicasBundle(made.map(({ host }) => host), count);
  // replicas stay where they are placed first: all hosts are to be there before there are any
  await publish(router, { ...bundle, fleet: { ...bundle.fleet, services: [] } });
  const hosts = made.map(({ host: { id }, privateKey }) => {
    const job: HostJob = { fleet, host: id, privateKey, upstreamPort: Number(new URL(upstreamUrl).port), ...more };
    return { id, agent: launch([process.execPath, fileURLToPath(new URL("./fleet-host.ts", import.meta.url)), JSON.stringify(job)], { cpu: loadCpu, log: join(workDir, `${id}-log`) }) };
  });
  const running: RunningFleet = {
    url: endpoint(router),
    headers: { authorization: `Bearer ${key}` },
    pids: [child.pid],
    inspectorUrl,
    router,
    hosts,
    stop: async () => void (await Promise.all([...hosts.map(({ agent }) => agent.end()), child.end()])),
  };
  for (const end = Date.now() + joinMs; ; await wait(100)) {
    try {
      const connected = (await regionsOf(router)).flatMap(({ hosts: seen }) => seen.filter(({ linkUp }) => linkUp));
      if (connected.length < count) throw new Error(`${connected.length} of ${count} hosts are connected`);
      await publish(router, { ...bundle, route: { ...bundle.route, version: 2 } });
      await checkAnswer(running);
      return running;
    } catch (error) {
      if (Date.now() < end) continue;
      await running.stop();
      throw new Error(`its host did not join: ${error instanceof Error ? error.message : String(error)}: ${hosts[0]?.agent.lastLines()}`, { cause: error });
    }
  }
}

/**
 * The ways to the same upstream: `workerd`, a bare Worker's; `relay-bare`, a relay that does nothing but carry; `provider`, which the router fetches as it does a vendor; `relay`, through a host's own data links;
 * `gate`, through its gate. The agent's process runs beside the upstream and counts for nobody.
 */
export function carriages(loadCpu: number | undefined): Peer[] {
  const install = async (): Promise<{ version: string }> => ({ version: "this checkout" });
  return [direct, workerd, bareRelay(loadCpu), { ...fairlead, name: "provider" }, { name: "relay", install, start: (options) => startFleet({}, 1, options, loadCpu) }, { name: "gate", install, start: (options) => startFleet({ gate: true }, 1, options, loadCpu) }];
}
