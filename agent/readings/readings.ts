import { execFile } from "node:child_process";
import { readFile, statfs } from "node:fs/promises";
import { availableParallelism, freemem, loadavg, totalmem } from "node:os";
import { request } from "undici";
import type { Clock } from "../../schema/clock.ts";
import { gpusMax, readingsEveryMs, readingsFreshMs, type GpuReading, type HostReading, type Readings } from "../../schema/readings.ts";
import type { Timers } from "../timers.ts";
import { amdGpus } from "./amd.ts";
import { dcgmGpus } from "./dcgm.ts";
import { hostReading } from "./host.ts";
import { nvidiaFields, nvidiaGpus } from "./nvidia.ts";

export interface ReadingsOptions {
  /** The agent's state folder: the disk that is read. */
  state: string;
  /** A DCGM exporter's address, asked before any tool. */
  dcgmUrl: string | undefined;
  clock: Clock;
  timers: Timers;
  everyMs?: number;
  /** In place of the programs on the path, for tests. */
  programs?: { nvidia: string; amd: string };
}

export interface HostReadings {
  /** The latest, with its age; undefined when there is none that is fresh. */
  latest(): Readings | undefined;
  close(): void;
}

/** A tool that hangs (a lost GPU makes `nvidia-smi` wait for its driver) is given up before the next round. */
const toolMs = 8_000;
const outputBytesMax = 1024 * 1024;

/** Reads GPUs and host by itself, away from the heartbeat: a tool that hangs must not cost the host its lease. */
export function readHost({ state, dcgmUrl, clock, timers, everyMs = readingsEveryMs, programs = { nvidia: "nvidia-smi", amd: "amd-smi" } }: ReadingsOptions): HostReadings {
  const stop = new AbortController();
  let last: { at: number; gpus: GpuReading[]; host: HostReading } | undefined;
  /** Tools that are not there are not looked for every ten seconds. */
  const absent = new Set<string>();
  let amdNames = "";

  const run = (program: string, args: readonly string[]): Promise<string> =>
    new Promise((resolve) => {
      if (absent.has(program)) return resolve("");
      execFile(program, [...args], { timeout: toolMs, killSignal: "SIGKILL", maxBuffer: outputBytesMax, encoding: "utf8", signal: stop.signal }, (error, output) => {
        if (error !== null && (error as NodeJS.ErrnoException).code === "ENOENT") absent.add(program);
        // a tool that ends with an error may still have told of the GPUs that do well
        resolve(output);
      });
    });

  async function dcgm(): Promise<GpuReading[]> {
    if (dcgmUrl === undefined) return [];
    try {
      const { statusCode, body } = await request(dcgmUrl, { signal: AbortSignal.any([AbortSignal.timeout(toolMs), stop.signal]) });
      if (statusCode !== 200) {
        await body.dump();
        return [];
      }
      let text = "";
      body.setEncoding("utf8");
      for await (const chunk of body) {
        text += String(chunk);
        if (text.length > outputBytesMax) return [];
      }
      return dcgmGpus(text);
    } catch {
      // not there, too slow or cut off: another source may know
      return [];
    }
  }

  async function gpus(): Promise<GpuReading[]> {
    const told = await dcgm();
    if (told.length > 0) return told;
    const nvidia = nvidiaGpus(await run(programs.nvidia, [`--query-gpu=${nvidiaFields.join(",")}`, "--format=csv,noheader,nounits"]));
    if (nvidia.length > 0) return nvidia;
    const metric = await run(programs.amd, ["metric", "-m", "-u", "-p", "-t", "--json"]);
    // names do not change
    if (metric !== "" && amdNames === "") amdNames = await run(programs.amd, ["static", "-a", "--json"]);
    return amdGpus(metric, amdNames);
  }

  async function host(): Promise<HostReading> {
    const [meminfo, disk] = await Promise.all([readFile("/proc/meminfo", "utf8").catch(() => undefined), statfs(state).catch(() => undefined)]);
    return hostReading({
      cpus: availableParallelism(), loads: loadavg(), totalBytes: totalmem(), freeBytes: freemem(), meminfo,
      disk: disk === undefined ? undefined : { blockBytes: disk.bsize, blocks: disk.blocks, available: disk.bavail },
    });
  }

  const round = async (): Promise<void> => {
    // dated by its beginning: what a slow tool says is as old as its question
    const at = clock.now();
    try {
      const [gpuRows, hostRow] = await Promise.all([gpus(), host()]);
      last = { at, gpus: gpuRows.slice(0, gpusMax), host: hostRow };
    } catch {
      // a tool's odd answer must not cost the agent more than this reading, which gets old and goes
    } finally {
      if (!stop.signal.aborted) cancel = timers.after(everyMs, () => void round());
    }
  };
  let cancel = timers.after(0, () => void round());

  return {
    latest() {
      if (last === undefined) return undefined;
      const ageMs = Math.max(0, clock.now() - last.at);
      return ageMs > readingsFreshMs ? undefined : { ageMs, gpus: last.gpus, host: last.host };
    },
    close() {
      stop.abort();
      cancel();
    },
  };
}
