import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Bench } from "./bench.ts";
import { peers as allPeers } from "./peers/all.ts";
import { isSkipped, type Peer, type Running } from "./peers/peer.ts";
import { freePort } from "./port.ts";

/** Who takes part, and why the others do not. */
export interface Lineup {
  present: { peer: Peer; version: string }[];
  leftOut: Map<string, string>;
  /** Scenarios for which a present peer gave no figures, with the reason. */
  gaps: string[];
}

export interface Started {
  name: string;
  running: Running;
}

export async function install({ options, say }: Bench, names: string[], from: readonly Peer[] = allPeers): Promise<Lineup> {
  const lineup: Lineup = { present: [], leftOut: new Map(), gaps: [] };
  for (const peer of from) {
    if (peer.name !== "direct" && !names.includes(peer.name)) continue;
    const found = await peer.install(options.cacheDir).catch((error: Error) => ({ skipped: error.message }));
    if (isSkipped(found)) {
      lineup.leftOut.set(peer.name, found.skipped);
      say(`left out: ${peer.name}: ${found.skipped}`);
    } else lineup.present.push({ peer, version: found.version });
  }
  return lineup;
}

/** Tries for some seconds, since a proxy may listen before it can answer. */
async function passes(check: () => Promise<void>): Promise<void> {
  const deadline = Date.now() + 5_000;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await sleep(250);
    }
  }
}

/** Starts everyone before one upstream and keeps those that pass the check. Idle proxies cost next to nothing, so all stay up while they take turns. */
export async function startAll(bench: Bench, lineup: Lineup, upstreamUrl: string, check: (running: Running) => Promise<void>, { inspect = false } = {}): Promise<Started[]> {
  const started: Started[] = [];
  for (const { peer } of lineup.present) {
    if (lineup.leftOut.has(peer.name)) continue;
    const port = await freePort();
    const workDir = join(bench.workDir, `${peer.name}-${port}`);
    mkdirSync(workDir);
    let running: Running | undefined;
    try {
      const inspectorPort = inspect ? await freePort() : undefined;
      const answer = await peer.start({ upstreamUrl, port, inspectorPort, cpu: bench.cores.proxy, workDir, cacheDir: bench.options.cacheDir });
      if (isSkipped(answer)) throw new Error(answer.skipped);
      running = answer;
      await passes(() => check(answer));
      started.push({ name: peer.name, running });
      bench.say(`started: ${peer.name}`);
    } catch (error) {
      await running?.stop();
      leaveOut(bench, lineup, peer.name, error);
    }
  }
  return started;
}

function leaveOut({ say }: Bench, { leftOut }: Lineup, name: string, error: unknown): void {
  const reason = error instanceof Error ? error.message : String(error);
  leftOut.set(name, reason);
  say(`left out: ${name}: ${reason}`);
}

/** Notes that a peer has no figures for one scenario; it stays for the others. */
export function noteGap({ say }: Bench, { gaps }: Lineup, what: string, name: string, error: unknown): void {
  const gap = `no figures: ${name}, ${what}: ${error instanceof Error ? error.message : String(error)}`;
  gaps.push(gap);
  say(gap);
}

export async function stopAll(started: Started[]): Promise<void> {
  await Promise.all(started.map(({ running }) => running.stop()));
}
