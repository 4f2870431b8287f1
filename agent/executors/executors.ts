import { join } from "node:path";
import { mkdir } from "node:fs/promises";
import type { Task } from "../../schema/task.ts";
import { StartError, type Executor } from "../executor.ts";
import { listGpus } from "../gpu.ts";
import { delegatedCgroups } from "./cgroup.ts";
import type { ExecutorsConfig } from "./config.ts";
import { diskOf, diskProblem } from "./disk.ts";
import type { Limits } from "./limits.ts";
import { logFiles } from "./logs.ts";
import { keepPlaces } from "./places.ts";
import { processExecutor } from "./process.ts";

export interface HostExecutorOptions {
  /** An absolute folder that nobody else writes to. */
  state: string;
  /** Tells this agent's containers from those of others on the same engine. */
  owner: string;
  config: ExecutorsConfig;
  /** The agent's own environment. */
  environment: Readonly<Record<string, string | undefined>>;
  /** Opens a task's sealed secrets. */
  openSecrets: (task: Task) => Promise<Record<string, string>>;
  /** What the host's owner should know of. */
  log: { info: (text: string) => void; warn: (text: string) => void };
}

/** What is left of a log where the disk is full: enough for what went wrong. */
const tightBytes = 1024 * 1024;

/** The executors that a host offers, as one: containers for tasks with an image, processes for the others. Ports, GPUs and logs are shared. */
export async function hostExecutor({ state, owner, config, environment, openSecrets, log }: HostExecutorOptions): Promise<Executor> {
  await mkdir(join(state, "logs"), { recursive: true, mode: 0o700 });
  const places = keepPlaces({ listGpus: () => listGpus(environment) });
  const logs = logFiles(join(state, "logs"));
  const limits: Limits = { memoryBytes: config.limits.memory, cpus: config.limits.cpus, pids: config.limits.pids };
  const cgroups = await delegatedCgroups();
  log.info(`replicas that are processes: ${cgroups ? "memory, cpus and pids are bounded by control groups" : "memory is bounded for each process by itself, cpus and pids are not (no control group of version 2 is delegated to the agent)"}`);
  const shared = { state, logs, places, limits, openSecrets };
  const processes = await processExecutor({ ...shared, environment, cgroups });
  // its client is 35 MB and a third of a second of work: only where it is used
  const containers = config.docker === undefined ? undefined : await (await import("./docker/docker.ts")).dockerExecutor({ ...shared, owner, config: config.docker, onProblem: log.warn });
  const all = containers === undefined ? [processes] : [processes, containers];
  /** Who has, or last had, a replica. */
  const executorOf = new Map<string, Executor>();
  const choose = ({ image }: Task): Executor => (image !== undefined && containers !== undefined ? containers : processes);

  return {
    refusal: (task) => choose(task).refusal(task),
    async start(order) {
      const full = diskProblem(await diskOf(state), state, config.disk_free);
      if (full !== undefined) throw new StartError(full, { wait: true });
      const executor = choose(order.task);
      const before = executorOf.get(order.id);
      // the same id with another image: what the other executor keeps for a restart is of no more use
      if (before !== undefined && before !== executor) await before.forget(order.id);
      executorOf.set(order.id, executor);
      await executor.start(order);
    },
    stop: async (id, graceMs) => executorOf.get(id)?.stop(id, graceMs),
    status: (id) => executorOf.get(id)?.status(id) ?? "absent",
    // on a full disk the replicas' own logs are what can go
    logs: { ...logs, trim: async (id) => logs.trim(id, diskProblem(await diskOf(state), state, config.disk_free) === undefined ? undefined : tightBytes) },
    async killAll() {
      await Promise.allSettled(all.map((executor) => executor.killAll()));
    },
    async forget(id) {
      await Promise.all(all.map((executor) => executor.forget(id)));
      executorOf.delete(id);
    },
    capacity: () => processes.capacity(),
  };
}
