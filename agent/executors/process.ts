import { spawn, type ChildProcess } from "node:child_process";
import { closeSync } from "node:fs";
import { access, mkdir, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { availableParallelism, constants, totalmem } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Task } from "../../schema/task.ts";
import { StartError, type Capacity, type Executor, type Exit, type StartOrder } from "../executor.ts";
import { countGpus } from "../gpu.ts";
import { replicaEnvironment } from "./environment.ts";
import { logFiles } from "./logs.ts";
import { endAll, signal } from "./strays.ts";

export interface ProcessExecutorOptions {
  /** An absolute folder that nobody else writes to. */
  state: string;
  /** The agent's own environment. */
  environment: Readonly<Record<string, string | undefined>>;
  /** Opens a task's sealed secrets. */
  openSecrets: (task: Task) => Promise<Record<string, string>>;
}

/** A replica's processes, from the start of its `setup` or `run` until nothing of them is left. */
interface Running {
  order: StartOrder;
  port: number;
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
export async function processExecutor({ state, environment, openSecrets }: ProcessExecutorOptions): Promise<Executor> {
  const folders = { logs: join(state, "logs"), replicas: join(state, "replicas"), scripts: join(state, "scripts") };
  for (const folder of Object.values(folders)) await mkdir(folder, { recursive: true, mode: 0o700 });
  const logs = logFiles(folders.logs);
  const running = new Map<string, Running>();
  /** Known values that must not leave the host by way of a log line in a reason. */
  const secretsOf = new Map<string, string[]>();
  /** The digest whose `setup` has succeeded, by replica: it is not run again at a restart. */
  const setupDone = new Map<string, string>();
  /** Who has which port, from before its start until after its end. */
  const ports = new Map<number, string>();
  const bash = await findProgram("bash", environment["PATH"] ?? "");

  // what an agent that was killed left behind, and its keepers have not ended yet
  await endAll({ mark: { state }, graceMs: 0 });

  async function place(id: string, task: Task): Promise<{ port: number; folder: string }> {
    let folder = join(folders.replicas, id);
    if (task.workdir === undefined) await mkdir(folder, { recursive: true, mode: 0o700 });
    else {
      folder = task.workdir;
      const found = await stat(folder).catch(() => undefined);
      if (!found?.isDirectory()) throw new StartError(`its workdir ${folder} is no folder on this host, and files are not copied to hosts`);
    }
    if (task.fixedPort === undefined) {
      for (;;) {
        const port = await listenOnce(0);
        if (ports.has(port)) continue;
        ports.set(port, id);
        return { port, folder };
      }
    }
    const other = ports.get(task.fixedPort);
    if (other !== undefined) throw new StartError(`port ${task.fixedPort} is in use by replica ${other}`, { wait: true });
    ports.set(task.fixedPort, id);
    try {
      await listenOnce(task.fixedPort);
    } catch (error) {
      const code = error instanceof Error && "code" in error ? error.code : undefined;
      if (code === "EADDRINUSE") throw new StartError(`port ${task.fixedPort} is in use by another program on this host`, { wait: true });
      throw new StartError(`port ${task.fixedPort} cannot be used: ${String(code ?? error)}`);
    }
    return { port: task.fixedPort, folder };
  }

  function leave(id: string): void {
    running.delete(id);
    for (const [port, holder] of ports) if (holder === id) ports.delete(port);
  }

  async function launch(entry: Running): Promise<void> {
    const { order, stage } = entry;
    const text = stage === "setup" ? order.task.setup : order.task.run;
    const script = join(folders.scripts, `${order.id}.${stage}`);
    await writeFile(script, `${text ?? ""}\n`, { mode: 0o600 });
    if (entry.stopping) return;
    logs.note(order.id, `${stage} of version ${order.task.version} begins, port ${entry.port}`);
    const out = logs.open(order.id);
    const child = spawn("/bin/sh", [keeper, bash ?? "sh", script], {
      cwd: entry.folder,
      env: entry.environment,
      detached: true,
      stdio: ["ignore", out, out, "pipe"],
    });
    closeSync(out);
    if (child.pid === undefined) {
      const problem = await new Promise<Error>((resolve) => child.once("error", resolve));
      throw new StartError(`its shell could not be started: ${problem.message}`);
    }
    child.on("error", () => {});
    // only held open: its end tells the keeper that the agent is gone
    child.stdio[3]?.on("error", () => {});
    entry.child = child;
    child.once("exit", (code, name) => void ended(entry, child, code, name));
    order.onStage(stage, entry.port, child.pid);
  }

  async function ended(entry: Running, child: ChildProcess, code: number | null, name: NodeJS.Signals | null): Promise<void> {
    const { order, stage } = entry;
    const exit = exitOf(code, name);
    logs.note(order.id, `${stage} ${exit.signal === undefined ? `exited with code ${exit.code}` : `was ended by ${exit.signal}`}`);
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
    order.onExit({ ...exit, during: stage, lastLine: await executor.logs.lastLine(order.id) });
  }

  const executor: Executor = {
    async start(order) {
      const { id, task } = order;
      if (running.has(id)) throw new StartError("it is running already");
      try {
        const { port, folder } = await place(id, task);
        const secrets = await openSecrets(task).catch((error: unknown) => {
          if (error instanceof StartError) throw error;
          // the cause is not told: its text could hold what it was about
          throw new StartError("its secrets could not be opened: they are sealed to another key than this host's");
        });
        secretsOf.set(id, Object.values(secrets).filter((value) => value.length >= 4));
        const stage = task.setup !== undefined && setupDone.get(id) !== task.digest ? "setup" : "run";
        const entry: Running = {
          order, port, folder, stage, stopping: false,
          environment: replicaEnvironment({ own: environment, task, secrets, id, number: order.number, port, state }),
        };
        running.set(id, entry);
        await launch(entry);
      } catch (error) {
        leave(id);
        throw error;
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

    logs: {
      tail: (id, lines) => logs.tail(id, lines),
      follow: (id, lines, isOver, stop) => logs.follow(id, lines, isOver, stop),
      trim: (id) => logs.trim(id),
      async lastLine(id) {
        let line = await logs.lastLine(id);
        for (const secret of secretsOf.get(id) ?? []) line = line?.replaceAll(secret, "***");
        return line;
      },
    },

    async killAll() {
      for (const entry of running.values()) {
        entry.stopping = true;
        if (entry.child?.pid !== undefined) signal(-entry.child.pid, "SIGKILL");
      }
      await endAll({ mark: { state }, graceMs: 0 });
    },

    async forget(id) {
      secretsOf.delete(id);
      setupDone.delete(id);
      await rm(join(folders.replicas, id), { recursive: true, force: true });
      for (const stage of ["setup", "run"]) await rm(join(folders.scripts, `${id}.${stage}`), { force: true });
      await logs.prune(new Set(running.keys()));
    },

    async capacity(): Promise<Capacity> {
      return { gpus: await countGpus(), cpus: availableParallelism(), memoryBytes: totalmem() };
    },
  };
  return executor;
}

/** The exit of a script as its keeper passes it on: 128+n says that signal n ended it. */
export function exitOf(code: number | null, name: NodeJS.Signals | null): Pick<Exit, "code" | "signal"> {
  if (name !== null) return { code: undefined, signal: name };
  const number = (code ?? 0) - 128;
  const known = number > 0 ? Object.entries(constants.signals).find(([, value]) => value === number)?.[0] : undefined;
  return known === undefined ? { code: code ?? 0, signal: undefined } : { code: undefined, signal: known };
}

async function findProgram(name: string, path: string): Promise<string | undefined> {
  for (const folder of [...path.split(delimiter), "/bin", "/usr/bin", "/usr/local/bin"]) {
    if (folder === "") continue;
    const file = join(folder, name);
    if (await access(file, 1).then(() => true, () => false)) return file;
  }
  return undefined;
}

/** Listens on a loopback port and lets it go: proof that it is free. @returns the port, chosen by the system for 0 */
function listenOnce(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : port));
    });
  });
}
