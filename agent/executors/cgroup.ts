import { mkdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Limits } from "./limits.ts";
import { countOf } from "./memory.ts";

/** A replica's own control group. */
export interface Cgroup {
  /** Where a process writes its number to become a member. */
  procs: string;
  /** Whether the kernel has killed in it for want of memory. */
  killedForMemory(): Promise<boolean>;
  /** Removes it once it is empty. */
  close(): Promise<void>;
}

export interface Cgroups {
  /** @throws Error when a limit cannot be set */
  open(id: string, limits: Limits): Promise<Cgroup>;
}

/** The period that the kernel counts processor time in (cgroup-v2.rst: cpu.max's default). */
const cpuPeriodUs = 100_000;
const needed = ["memory", "pids", "cpu"];

/**
 * The part of the control group tree (version 2) that was delegated to the agent, as by systemd's `Delegate=yes`: the agent moves
 * to a leaf of it and gives each replica a leaf of its own. Undefined where nothing is delegated; limits are less then.
 *
 * @param mount where version 2 is mounted
 * @param self what /proc/self/cgroup says
 */
export async function delegatedCgroups(mount = "/sys/fs/cgroup", self?: string): Promise<Cgroups | undefined> {
  const path = /^0::(\/.*)$/m.exec(self ?? (await readFile("/proc/self/cgroup", "latin1").catch(() => "")))?.[1];
  if (path === undefined) return undefined;
  const own = join(mount, path);
  const offered = (await readFile(join(own, "cgroup.controllers"), "latin1").catch(() => "")).trim().split(/\s+/);
  if (!needed.every((controller) => offered.includes(controller))) return undefined;
  // processes may be in leaves only: where others share the agent's group, nothing is handed on and we go back
  const leaf = join(own, "fairlead-agent");
  try {
    await mkdir(leaf).catch(keepExisting);
    await writeFile(join(leaf, "cgroup.procs"), String(process.pid));
    await writeFile(join(own, "cgroup.subtree_control"), needed.map((controller) => `+${controller}`).join(" "));
  } catch {
    await writeFile(join(own, "cgroup.procs"), String(process.pid)).catch(() => {});
    await rmdir(leaf).catch(() => {});
    return undefined;
  }
  return {
    async open(id, { memoryBytes, cpus, pids }) {
      const folder = join(own, `fairlead-${id}`);
      await mkdir(folder).catch(keepExisting);
      const set = (file: string, value: string): Promise<void> => writeFile(join(folder, file), value);
      await set("memory.max", memoryBytes === undefined ? "max" : String(memoryBytes));
      await set("pids.max", pids === undefined ? "max" : String(pids));
      await set("cpu.max", cpus === undefined ? "max" : `${Math.ceil(cpus * cpuPeriodUs)} ${cpuPeriodUs}`);
      const kills = async (): Promise<number> => countOf("oom_kill", await readFile(join(folder, "memory.events"), "latin1").catch(() => "")) ?? 0;
      const before = await kills();
      return {
        procs: join(folder, "cgroup.procs"),
        killedForMemory: async () => (await kills()) > before,
        // one that is not empty yet is taken again by the next start
        close: () => rmdir(folder).catch(() => {}),
      };
    },
  };
}

function keepExisting(error: unknown): void {
  if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
}
