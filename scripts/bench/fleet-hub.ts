import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { serialize } from "node:v8";
import { newRow, snapshot } from "../../edge/hub/roster.ts";
import { buildWorkers } from "../local/workers.ts";
import type { Bench } from "./bench.ts";
import { launch, listening, type Child } from "./children.ts";
import { cpuMsOf } from "./cpu.ts";
import { startBare } from "./fleet-bare.ts";
import { hostId, type LinksJob, type LinksTold } from "./fleet-links.ts";
import { newHost, replicasBundle } from "./fleet-peers.ts";
import { rssKiBOf } from "./memory.ts";
import { freePort } from "./port.ts";
import { publish, startWorkers } from "./workers-running.ts";

/** Who takes heartbeats: a Hub, or a bare object. */
export type Taker = "hub" | "bare";

export interface HeartbeatSample {
  agents: number;
  sentPerS: number;
  cpuUsPerHeartbeat: number;
  /** Share of a core at this rate. */
  core: number;
}

export interface Joining {
  agents: number;
  joinedPerS: number;
  cpuMsPerAgent: number;
  rssKiBPerAgent: number;
}

export interface ViewSample {
  hosts: number;
  replicas: number;
  /** What a snapshot is on the wire between a Hub and an isolate. */
  snapshotKiB: number;
  /** CPU of the Hub and of the isolate together for one refresh of a view. */
  cpuMsPerRefresh: number;
  /** A request that waits for the refresh, p50. */
  refreshMs: number;
}

export interface HubFigures {
  joining: Record<Taker, Joining[]>;
  heartbeats: Record<Taker, HeartbeatSample[]>;
  view: ViewSample | undefined;
}

/** Time of a heartbeat (schema/protocol.ts). */
const beatS = 5;

interface Side {
  taker: Taker;
  pid: number;
  router: string | undefined;
  key: string;
  say: (path: string) => Promise<Response>;
  stop: () => Promise<unknown>;
}

async function startSide(bench: Bench, taker: Taker, hostCount: number, replicas: number): Promise<Side> {
  const workDir = join(bench.workDir, `${taker}-${hostCount}-${replicas}`);
  mkdirSync(workDir);
  const { host, privateKey } = newHost("any");
  let child: Child;
  let url: string;
  let router: string | undefined;
  let key = "";
  if (taker === "hub") {
    const workers = await buildWorkers(join(bench.options.cacheDir, "workers"));
    const running = await startWorkers({ workers, workDir, port: await freePort(), cpu: bench.cores.proxy });
    const made = await replicasBundle(Array.from({ length: hostCount }, (_, i) => ({ ...host, id: hostId(i), name: hostId(i) })), 0);
    key = made.key;
    await publish(running.router, made.bundle);
    ({ child, router } = running);
    url = `${running.fleet.replace("http", "ws")}/agents/link/local`;
  } else ({ child, url } = await startBare({ workDir, cpu: bench.cores.proxy }));
  const port = await freePort();
  const job: LinksJob = { port, url, privateKey, replicas, kind: taker };
  const links = launch([process.execPath, fileURLToPath(new URL("./fleet-links.ts", import.meta.url)), JSON.stringify(job)], { cpu: bench.cores.load, log: join(workDir, "links-log") });
  await listening(links, port, 10_000);
  return {
    taker, pid: child.pid, router, key,
    async say(path) {
      const response = await fetch(`http://127.0.0.1:${port}${path}`);
      if (!response.ok) throw new Error(`the simulated agents of ${taker} say: ${await response.text()}`);
      return response;
    },
    stop: () => Promise.all([links.end(), child.end()]),
  };
}

async function joined(side: Side, agents: number): Promise<Joining> {
  const [cpuMs, rssKiB, startMs] = [cpuMsOf([side.pid]), rssKiBOf([side.pid]), performance.now()];
  await side.say(`/open?count=${agents}`);
  const tookMs = performance.now() - startMs;
  // what joining left is dealt with
  await wait(1_000);
  return { agents, joinedPerS: (agents / tookMs) * 1_000, cpuMsPerAgent: (cpuMsOf([side.pid]) - cpuMs) / agents, rssKiBPerAgent: (rssKiBOf([side.pid]) - rssKiB) / agents };
}

async function beats(side: Side, agents: number, seconds: number): Promise<HeartbeatSample> {
  const told = async (): Promise<LinksTold> => (await (await side.say("/told")).json()) as LinksTold;
  await side.say(`/beat?perS=${agents / beatS}`);
  await wait(1_000);
  const [before, cpuMs, startMs] = [await told(), cpuMsOf([side.pid]), performance.now()];
  await wait(seconds * 1_000);
  const [after, tookMs] = [await told(), performance.now() - startMs];
  // what is still to be taken counts too
  await side.say("/beat?perS=0");
  await wait(500);
  const usedMs = cpuMsOf([side.pid]) - cpuMs;
  const sent = after.sent - before.sent;
  if (after.open < agents) throw new Error(`only ${after.open} of ${agents} links to the ${side.taker} are open`);
  return { agents, sentPerS: (sent / tookMs) * 1_000, cpuUsPerHeartbeat: (usedMs / sent) * 1_000, core: usedMs / tookMs };
}

/** Files that a process may open; unknown where there is no proc(5). */
function filesMax(): number {
  if (!existsSync("/proc/self/limits")) return Number.POSITIVE_INFINITY;
  return Number(/^Max open files\s+\d+\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1] ?? Number.POSITIVE_INFINITY);
}

/** workerd holds two files for a WebSocket; it, its databases and the upstream have some of their own. */
const filesPerAgent = 2;
const filesOwn = 500;

/** Heartbeats at their usual rate, a Hub and a bare object in turns. */
export async function measureHeartbeats(bench: Bench, agents: number): Promise<Pick<HubFigures, "joining" | "heartbeats">> {
  const most = Math.floor((filesMax() - filesOwn) / filesPerAgent);
  if (agents > most) throw new Error(`Cannot open the links of ${agents} agents: a process may open ${filesMax()} files here, which is ${most} agents (--agents ${most}, or a higher limit: ulimit -Hn)`);
  const sides: Side[] = [];
  const figures: Pick<HubFigures, "joining" | "heartbeats"> = { joining: { hub: [], bare: [] }, heartbeats: { hub: [], bare: [] } };
  try {
    for (const taker of ["bare", "hub"] as const) {
      const side = await startSide(bench, taker, agents, 1);
      sides.push(side);
      figures.joining[taker].push(await joined(side, agents));
      bench.say(`${agents} agents have joined the ${taker}`);
    }
    for (let round = 1; round <= bench.options.rounds; round++) {
      for (const side of sides) {
        bench.say(`heartbeats of ${agents} agents: round ${round} of ${bench.options.rounds}: ${side.taker}`);
        figures.heartbeats[side.taker].push(await beats(side, agents, bench.options.seconds));
      }
    }
  } finally {
    await Promise.all(sides.map((side) => side.stop()));
  }
  return figures;
}

/** Refreshes of an isolate's view: a request for a model that is unknown asks the Hub for news. */
export async function measureView(bench: Bench, hosts: number, replicasEach: number): Promise<ViewSample> {
  const side = await startSide(bench, "hub", hosts, replicasEach);
  try {
    await side.say(`/open?count=${hosts}`);
    const refresh = async (): Promise<number> => {
      // a view younger than this is not refreshed (edge/view.ts)
      await wait(300);
      const startMs = performance.now();
      const response = await fetch(`${side.router}/v1/chat/completions`, { method: "POST", headers: { authorization: `Bearer ${side.key}` }, body: JSON.stringify({ model: "unknown", messages: [{ role: "user", content: "?" }] }) });
      await response.arrayBuffer();
      if (response.status !== 404) throw new Error(`a model that is unknown was answered with ${response.status}`);
      return performance.now() - startMs;
    };
    for (let i = 0; i < 3; i++) await refresh();
    const times: number[] = [];
    const cpuMs = cpuMsOf([side.pid]);
    for (let i = 0; i < 5 * bench.options.seconds; i++) times.push(await refresh());
    const usedMs = cpuMsOf([side.pid]) - cpuMs;
    times.sort((a, b) => a - b);
    const rows = Array.from({ length: hosts }, (_, i) => ({
      ...newRow(hostId(i), 1, 1),
      relays: [0, 1],
      replicas: Array.from({ length: replicasEach }, (__, n) => ({ id: `bench.local.${hostId(i)}.${n}`, service: "bench", number: n, version: 1, digest: "bench-1", phase: "ready" as const, since: 1, restarts: 0, wasReady: true, inFlight: 1, load: { running: 1, queueDepth: 0, kvUsage: 0.1 }, engine: "vllm" as const })),
    }));
    return { hosts, replicas: hosts * replicasEach, snapshotKiB: serialize(snapshot(rows, "local", 1)).byteLength / 1_024, cpuMsPerRefresh: usedMs / times.length, refreshMs: times[times.length >> 1] ?? Number.NaN };
  } finally {
    await side.stop();
  }
}
