import { spawn, type ChildProcess } from "node:child_process";
import { closeSync } from "node:fs";
import { access, mkdir, rm, stat, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Task } from "../../schema/task.ts";
import { StartError, type Executor, type StartOrder } from "../executor.ts";
import { listGpus, visibleDevices } from "../gpu.ts";
import { hostCapacity } from "./capacity.ts";
import type { Cgroup, Cgroups } from "./cgroup.ts";
import { asStartError } from "./disk.ts";
import { replicaEnvironment } from "./environment.ts";
import { describeExit, exitOf } from "./exit.ts";
import { limitsOf, type Limits } from "./limits.ts";
import { logFiles, type LogFiles } from "./logs.ts";
import { outOfMemoryKills, wasForMemory } from "./memory.ts";
import { keepPlaces, type Place, type Places } from "./places.ts";
import { endAll, signal } from "./strays.ts";

export interface ProcessExecutorOptions {
  /** An absolute folder that nobody else writes to. */
  state: string;
  /** The agent's own environment. */
  environment: Readonly<Record<string, string | undefined>>;
  /** Opens a task's sealed secrets. */
  openSecrets: (task: Task) => Promise<Record<string, string>>;
  /** Shared by the executors of a host. */
  logs?: LogFiles;
  places?: Places;
  /** What the host's owner allows each replica. */
  limits?: Limits;
  /** Where limits hold for all of a replica's processes together. */
  cgroups?: Cgroups | undefined;
}

/** A replica's processes, from the start of its `setup` or `run` until nothing of them is left. */
interface Running {
  order: StartOrder;
  place: Place;
  limits: Limits;
  cgroup: Cgroup | undefined;
  /** The kernel's kills for want of memory when the stage began. */
  killsBefore?: number | undefined;
  environment: Record<string, string>;
  folder: string;
  stage: "setup" | "run";
  /** Absent before the first stage has begun. */
  child?: ChildProcess;
  stopping: boolean;
}

const keeper = fileURLToPath(new URL("keeper.sh", import.meta.url));

/**
 * Runs replicas as local commands: `setup` once, then `run`, each by a shell keeper that leads its own session and ends
 * everything when the agent is gone (`keeper.sh`).
 */
export async function processExecutor({ state, environment, openSecrets, limits = {}, cgroups, ...shared }: ProcessExecutorOptions): Promise<Executor> {
  const folders = { logs: join(state, "logs"), replicas: join(state, "replicas"), scripts: join(state, "scripts") };
  for (const folder of Object.values(folders)) await mkdir(folder, { recursive: true, mode: 0o700 });
  const { logs = logFiles(folders.logs), places = keepPlaces({ listGpus: () => listGpus(environment) }) } = shared;
  const running = new Map<string, Running>();
  /** The digest whose `setup` has succeeded, by replica: it is not run again at a restart. */
  const setupDone = new Map<string, string>();
  const bash = await findProgram("bash", environment["PATH"] ?? "");

  // what an agent that was killed left behind, and its keepers have not ended yet
  await endAll({ mark: { state }, graceMs: 0 });

  async function folderOf(id: string, { workdir }: Task): Promise<string> {
    if (workdir === undefined) {
      const folder = join(folders.replicas, id);
      await mkdir(folder, { recursive: true, mode: 0o700 });
      return folder;
    }
    const found = await stat(workdir).catch(() => undefined);
    if (!found?.isDirectory()) throw new StartError(`its workdir ${workdir} is no folder on this host, and files are not copied to hosts`);
    return workdir;
  }

  function leave(id: string): void {
    void running.get(id)?.cgroup?.close();
    running.delete(id);
    places.give(id);
  }

  async function launch(entry: Running): Promise<void> {
    const { order, stage } = entry;
    const text = stage === "setup" ? order.task.setup : order.task.run;
    const script = join(folders.scripts, `${order.id}.${stage}`);
    await writeFile(script, `${text ?? ""}\n`, { mode: 0o600 });
    if (entry.stopping) return;
    logs.note(order.id, `${stage} of version ${order.task.version} begins, port ${entry.place.port}`);
    entry.killsBefore = await outOfMemoryKills();
    const out = logs.open(order.id);
    // a group of its own bounds all of a replica together; what a process can be bounded by alone is its data
    const dataKiB = entry.cgroup === undefined && entry.limits.memoryBytes !== undefined ? String(Math.floor(entry.limits.memoryBytes / 1024)) : "";
    const child = spawn("/bin/sh", [keeper, bash ?? "sh", script, dataKiB, entry.cgroup?.procs ?? ""], {
      cwd: entry.folder,
      env: entry.environment,
      detached: true,
      stdio: ["ignore", out, out, "pipe"],
    });
    closeSync(out);
    if (child.pid === undefined) {
      const problem = await new Promise<Error>((resolve) => child.once("error", resolve));
      // EAGAIN, ENOMEM: too many processes, or no memory for one more
      throw new StartError(`its shell could not be started: ${problem.message}`, { wait: /EAGAIN|ENOMEM/.test(problem.message) });
    }
    child.on("error", () => {});
    // only held open: its end tells the keeper that the agent is gone
    child.stdio[3]?.on("error", () => {});
    entry.child = child;
    child.once("exit", (code, name) => {
      ended(entry, child, code, name).catch((error: unknown) => {
        leave(order.id);
        order.onExit({ during: entry.stage, code: code ?? undefined, signal: name ?? undefined, lastLine: error instanceof Error ? error.message : undefined });
      });
    });
    order.onStage(stage, entry.place.port, child.pid);
  }

  async function ended(entry: Running, child: ChildProcess, code: number | null, name: NodeJS.Signals | null): Promise<void> {
    const { order, stage } = entry;
    const exit = exitOf(code, name);
    const outOfMemory = (await entry.cgroup?.killedForMemory()) === true ? "certain" : wasForMemory(exit.signal, entry.killsBefore, await outOfMemoryKills());
    logs.note(order.id, describeExit(stage, exit));
    // while it is being stopped, `stop` ends the rest with patience
    if (!entry.stopping) await endAll({ group: child.pid, mark: { state, replica: order.id }, graceMs: 0 });
    child.stdio[3]?.destroy();
    if (entry.stopping) return;
    if (stage === "setup" && exit.code === 0) {
      setupDone.set(order.id, order.task.digest);
      entry.stage = "run";
      try {
        await launch(entry);
      } catch (error) {
        leave(order.id);
        order.onExit({ during: "run", code: undefined, signal: undefined, lastLine: error instanceof Error ? error.message : undefined });
      }
      return;
    }
    leave(order.id);
    order.onExit({ ...exit, during: stage, lastLine: await logs.lastLine(order.id), ...(outOfMemory === undefined ? {} : { outOfMemory }) });
  }

  const executor: Executor = {
    refusal: ({ image }) => (image === undefined ? undefined : `it needs the image ${image}, and this host runs no containers: its owner can allow them under "executors:" in the agent's configuration`),

    async start(order) {
      const { id, task } = order;
      const refusal = executor.refusal(task);
      if (refusal !== undefined) throw new StartError(refusal);
      if (running.has(id)) throw new StartError("it is running already");
      try {
        const folder = await folderOf(id, task);
        const place = await places.take(id, task);
        const secrets = await openSecrets(task).catch((error: unknown) => {
          if (error instanceof StartError) throw error;
          // the cause is not told: its text could hold what it was about
          throw new StartError("its secrets could not be opened: they are sealed to another key than this host's");
        });
        logs.conceal(id, Object.values(secrets));
        const stage = task.setup !== undefined && setupDone.get(id) !== task.digest ? "setup" : "run";
        const bounds = limitsOf(task, limits);
        const cgroup = Object.values(bounds).every((bound) => bound === undefined) ? undefined : await cgroups?.open(id, bounds);
        const entry: Running = {
          order, place, folder, stage, stopping: false, limits: bounds, cgroup,
          environment: {
            ...replicaEnvironment({ own: environment, task, secrets, id, number: order.number, port: place.port, state }),
            ...visibleDevices(place.gpus, await places.vendor()),
          },
        };
        running.set(id, entry);
        await launch(entry);
      } catch (error) {
        leave(id);
        throw asStartError(error);
      }
    },

    async stop(id, graceMs) {
      const entry = running.get(id);
      if (entry) entry.stopping = true;
      const left = await endAll({ group: entry?.child?.pid, mark: { state, replica: id }, graceMs });
      leave(id);
      if (left.length > 0) throw new Error(`${left.length} of its processes would not end, the first is ${left[0]}`);
    },

    status(id) {
      const entry = running.get(id);
      return entry === undefined ? "absent" : entry.stopping ? "ending" : entry.stage;
    },

    logs,

    async killAll() {
      for (const entry of running.values()) {
        entry.stopping = true;
        if (entry.child?.pid !== undefined) signal(-entry.child.pid, "SIGKILL");
      }
      await endAll({ mark: { state }, graceMs: 0 });
    },

    async forget(id) {
      logs.conceal(id, []);
      setupDone.delete(id);
      await rm(join(folders.replicas, id), { recursive: true, force: true });
      for (const stage of ["setup", "run"]) await rm(join(folders.scripts, `${id}.${stage}`), { force: true });
      await logs.prune(places.holders());
    },

    capacity: () => hostCapacity(state, places),
  };
  return executor;
}

async function findProgram(name: string, path: string): Promise<string | undefined> {
  for (const folder of [...path.split(delimiter), "/bin", "/usr/bin", "/usr/local/bin"]) {
    if (folder === "") continue;
    const file = join(folder, name);
    if (await access(file, 1).then(() => true, () => false)) return file;
  }
  return undefined;
}
