import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { buildWorkers } from "../local/workers.ts";
import type { Bench } from "./bench.ts";
import { launch, listening } from "./children.ts";
import { requestBody } from "./exchange.ts";
import type { HerdJob, HerdTold } from "./fleet-herd.ts";
import { hostId } from "./fleet-links.ts";
import { newHost, regionsOf, replicasBundle, startFleet, type RunningFleet } from "./fleet-peers.ts";
import { freePort } from "./port.ts";
import { publish, startWorkers } from "./workers-running.ts";

/** What becomes of a host: its process is killed, so that its connections end; or it says nothing more, and they stay. */
export type Loss = "killed" | "silent";

export interface LossSample {
  loss: Loss;
  /** Since the loss, until the last request that met the lost host was sent, ms. */
  trafficMs: number;
  /** The slowest answer, and how many failed. */
  slowestMs: number;
  failed: number;
  /** Without traffic: until the region's status no longer says that its replica is ready, ms. */
  idleMs: number;
}

const lossSignals = { killed: "SIGKILL", silent: "SIGSTOP" } as const;
/** From one request to the next, ms. */
const requestEachMs = 25;
/** Watched for so long after a loss: a lease, and some. */
const watchedMs = 6_000;
const idleMsMax = 25_000;

async function freshFleet(bench: Bench, name: string): Promise<RunningFleet> {
  const port = await freePort();
  const workDir = join(bench.workDir, `loss-${name}-${port}`);
  mkdirSync(workDir);
  const fleet = await startFleet({}, 2, { upstreamUrl: bench.upstreams.streams, port, inspectorPort: undefined, cpu: bench.cores.proxy, workDir, cacheDir: bench.options.cacheDir }, bench.cores.load);
  await until("both hosts", 20_000, async () => new Set(await readyHosts(fleet)).size === 2);
  // a view of the router's that has both
  await wait(1_500);
  return fleet;
}

async function until(what: string, ms: number, ask: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + ms; Date.now() < end; await wait(50)) if (await ask()) return;
  throw new Error(`${what} did not come within ${ms} ms`);
}

async function readyHosts({ router }: RunningFleet): Promise<string[]> {
  return (await regionsOf(router)).flatMap(({ hosts, replicas }) => replicas.filter(({ phase, host }) => phase === "ready" && (hosts.find(({ id }) => id === host)?.relays.length ?? 0) > 0).map(({ host }) => host));
}

async function withTraffic(fleet: RunningFleet, loss: Loss): Promise<Pick<LossSample, "trafficMs" | "slowestMs" | "failed">> {
  const seen: { sentAt: number; ms: number; good: boolean; attempts: number }[] = [];
  const one = async (): Promise<void> => {
    const sentAt = performance.now();
    const response = await fetch(fleet.url, { method: "POST", headers: { ...fleet.headers, "content-type": "application/json" }, body: requestBody({ stream: false }) });
    await response.arrayBuffer();
    seen.push({ sentAt, ms: performance.now() - sentAt, good: response.ok, attempts: Number(response.headers.get("x-fairlead-attempts") ?? 1) });
  };
  for (let i = 0; i < 20; i++) await one();
  seen.length = 0;
  const usualMs = 500;
  const asked: Promise<void>[] = [];
  const lostAt = performance.now();
  process.kill(fleet.hosts[0]?.agent.pid ?? 0, lossSignals[loss]);
  while (performance.now() - lostAt < watchedMs) {
    asked.push(one());
    await wait(requestEachMs);
  }
  await Promise.all(asked);
  const met = seen.filter(({ good, attempts, ms }) => !good || attempts > 1 || ms > usualMs);
  return { trafficMs: Math.max(0, ...met.map(({ sentAt }) => sentAt - lostAt)), slowestMs: Math.max(...seen.map(({ ms }) => ms)), failed: seen.filter(({ good }) => !good).length };
}

async function withoutTraffic(fleet: RunningFleet, loss: Loss): Promise<number> {
  const lostAt = performance.now();
  process.kill(fleet.hosts[0]?.agent.pid ?? 0, lossSignals[loss]);
  const id = fleet.hosts[0]?.id ?? "";
  await until("the end of its lease", idleMsMax, async () => !(await readyHosts(fleet)).includes(id));
  return performance.now() - lostAt;
}

/** How soon a host that is lost gets no more requests. */
export async function measureLosses(bench: Bench): Promise<LossSample[]> {
  const samples: LossSample[] = [];
  for (const loss of ["killed", "silent"] as const) {
    bench.say(`a host is ${loss}`);
    const busy = await freshFleet(bench, `${loss}-busy`);
    const traffic = await withTraffic(busy, loss).finally(() => busy.stop());
    const idle = await freshFleet(bench, `${loss}-idle`);
    const idleMs = await withoutTraffic(idle, loss).finally(() => idle.stop());
    samples.push({ loss, ...traffic, idleMs });
  }
  return samples;
}

export interface HerdSample {
  agents: number;
  /** The Hub was away for so long, ms. */
  awayMs: number;
  /** From its being back until all agents were, ms. */
  backMs: number;
  /** Most connections that it answered in any one second. */
  peakPerS: number;
  /** All agents over ten seconds. */
  steadyPerS: number;
}

/** As many as come in any one second. */
function peakOf(times: readonly number[]): number {
  const sorted = [...times].sort((a, b) => a - b);
  let from = 0;
  let peak = 0;
  for (const [i, at] of sorted.entries()) {
    while (at - (sorted[from] ?? 0) >= 1_000) from++;
    peak = Math.max(peak, i - from + 1);
  }
  return peak;
}

/** All agents lose their Hub at once, and come back. */
export async function measureHerd(bench: Bench, agents: number): Promise<HerdSample> {
  const workDir = join(bench.workDir, "herd");
  mkdirSync(workDir);
  const workers = await buildWorkers(join(bench.options.cacheDir, "workers"));
  const [port, fleetPort, herdPort] = [await freePort(), await freePort(), await freePort()];
  const options = { workers, workDir, port, fleetPort, cpu: bench.cores.proxy };
  let running = await startWorkers(options);
  const { host, privateKey } = newHost("any");
  const { bundle } = await replicasBundle(Array.from({ length: agents }, (_, i) => ({ ...host, id: hostId(i), name: hostId(i) })), 0);
  await publish(running.router, bundle);
  const job: HerdJob = { port: herdPort, url: running.fleet.replace("http", "ws"), privateKey, agents };
  const herd = launch([process.execPath, fileURLToPath(new URL("./fleet-herd.ts", import.meta.url)), JSON.stringify(job)], { cpu: bench.cores.load, log: join(workDir, "herd-log") });
  try {
    await listening(herd, herdPort, 10_000);
    const told = async (path = "/told"): Promise<HerdTold> => (await (await fetch(`http://127.0.0.1:${herdPort}${path}`)).json()) as HerdTold;
    await until(`${agents} agents`, 120_000, async () => (await told()).up === agents);
    // links that were good for a while (agent/reconnect.ts)
    await wait(11_000);
    await told("/forget");
    const lostAt = Date.now();
    process.kill(-running.child.pid, "SIGKILL");
    await running.child.exited;
    running = await startWorkers(options);
    const backAt = Date.now();
    await until(`${agents} agents again`, 60_000, async () => (await told()).up === agents);
    const { connectedAt, welcomedAt } = await told();
    return { agents, awayMs: backAt - lostAt, backMs: Math.max(...welcomedAt) - backAt, peakPerS: peakOf(connectedAt), steadyPerS: agents / 10 };
  } finally {
    await herd.end();
    await running.child.end();
  }
}
