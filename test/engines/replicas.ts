import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { readEngine } from "../../agent/engine.ts";
import { findMarked } from "../../agent/executors/strays.ts";

/** The processes of one replica, as the agent started them (Linux). */
export interface Processes {
  id: string;
  port: number;
  pids: number[];
}

/** @param state the state folder of the world whose agent runs them */
export async function processesOf(state: string, ids: readonly string[]): Promise<Processes[]> {
  return Promise.all(ids.map(async (id) => {
    const pids = await findMarked({ state: join(state, "agent"), replica: id });
    // a process may have written its name over its environment
    const environments = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/environ`, "utf8").catch(() => "")));
    return { id, port: Number(environments.map((text) => /(?:^|\0)PORT=(\d+)/.exec(text)?.[1]).find((port) => port !== undefined) ?? 0), pids };
  }));
}

/** Those of some processes that run a program of this name. */
export async function named(pids: readonly number[], name: string): Promise<number[]> {
  const names = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/comm`, "utf8").catch(() => "")));
  return pids.filter((_, i) => names[i]?.trim() === name);
}

/** User and system time of some processes, in clock ticks. */
async function ticks(pids: readonly number[]): Promise<number> {
  const all = await Promise.all(pids.map(async (pid) => {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return Number(fields[11] ?? 0) + Number(fields[12] ?? 0);
  }));
  return all.reduce((sum, value) => sum + value, 0);
}

/** So much is more than answering a probe takes, and so many times what the others did is not chance. */
const ticksMin = 20;
const clearly = 3;

/** The replica that is generating: by what it tells of its load, where SGLang is 40 tokens behind, else by who computes. */
export async function busyOne(replicas: readonly Processes[], tellsLoad: boolean): Promise<Processes | undefined> {
  const before = await Promise.all(replicas.map(({ pids }) => ticks(pids)));
  for (const endsAt = performance.now() + 30_000; performance.now() < endsAt; ) {
    if (tellsLoad) {
      const loads = await Promise.all(replicas.map(async ({ port }) => (await readEngine(port, undefined, 2_000)).reading.load?.running ?? 0));
      const busy = replicas.find((_, i) => (loads[i] ?? 0) > 0);
      if (busy !== undefined) return busy;
      await wait(20);
      continue;
    }
    await wait(100);
    const spent = (await Promise.all(replicas.map(({ pids }) => ticks(pids)))).map((now, i) => now - (before[i] ?? 0));
    const [most = 0, next = 0] = spent.toSorted((a, b) => b - a);
    if (most >= ticksMin && most >= clearly * next) return replicas[spent.indexOf(most)];
  }
  return undefined;
}
