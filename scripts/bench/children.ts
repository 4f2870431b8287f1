import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { which } from "./which.ts";

/** A started process. It leads its own process group, so that ending it ends what it started. */
export interface Child {
  pid: number;
  /** The last lines it wrote, for a reason why it did not work. */
  lastLines(): string;
  exited: Promise<number>;
  end(): Promise<void>;
}

export interface LaunchOptions {
  /** Core to pin to; undefined leaves it to the kernel. */
  cpu?: number | undefined;
  env?: Record<string, string | undefined> | undefined;
  cwd?: string | undefined;
  /** File that takes stdout and stderr. */
  log: string;
}

const live = new Set<ChildProcess>();

/** Every process the benchmark starts is started here, and is in `live` until it is gone. */
function start(command: string[], options: { cpu?: number | undefined; env?: NodeJS.ProcessEnv | undefined; cwd?: string | undefined; stdio: ["ignore", number | "pipe", number | "pipe"] }): ChildProcess {
  const taskset = options.cpu === undefined ? undefined : which("taskset");
  const [program = "", ...args] = taskset ? [taskset, "-c", String(options.cpu), ...command] : command;
  const child = spawn(program, args, { detached: true, cwd: options.cwd ?? process.cwd(), env: options.env ?? process.env, stdio: options.stdio });
  live.add(child);
  child.once("exit", () => live.delete(child));
  child.once("error", () => live.delete(child));
  return child;
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // The group is gone already.
  }
}

/** Starts a process that stays. Traffic to 127.0.0.1 must not take a proxy that the environment names. */
export function launch(command: string[], { cpu, env, cwd, log }: LaunchOptions): Child {
  const file = openSync(log, "a");
  const child = start(command, { cpu, cwd, stdio: ["ignore", file, file], env: { ...process.env, NO_PROXY: "127.0.0.1,localhost", no_proxy: "127.0.0.1,localhost", ...env } });
  closeSync(file);
  const exited = new Promise<number>((done) => {
    child.once("exit", (code) => done(code ?? -1));
    child.once("error", () => done(-1));
  });
  return {
    pid: child.pid ?? -1,
    lastLines: () => readFileSync(log, "utf8").trim().split("\n").slice(-3).join(" | ").slice(-400),
    exited,
    async end() {
      signalGroup(child, "SIGTERM");
      // Some proxies drain for many seconds; nothing here is worth draining.
      if ((await Promise.race([exited, sleep(1_000, "late", { ref: false })])) === "late") signalGroup(child, "SIGKILL");
      await exited;
      signalGroup(child, "SIGKILL");
    },
  };
}

export interface Output {
  code: number;
  stdout: string;
  stderr: string;
  timedOut: boolean;
}

/** Runs a command to its end and returns what it wrote; after `timeoutMs` it is killed. */
export async function output(command: string[], { timeoutMs, cpu, env, cwd }: { timeoutMs: number; cpu?: number | undefined; env?: NodeJS.ProcessEnv | undefined; cwd?: string | undefined }): Promise<Output> {
  const child = start(command, { cpu, cwd, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout?.on("data", (chunk) => (stdout += chunk));
  child.stderr?.on("data", (chunk) => (stderr = (stderr + chunk).slice(-4_000)));
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    signalGroup(child, "SIGKILL");
  }, timeoutMs);
  const code = await new Promise<number>((done) => {
    child.once("close", (status) => done(status ?? -1));
    child.once("error", (error) => {
      stderr += error.message;
      done(-1);
    });
  });
  clearTimeout(timer);
  return { code, stdout, stderr, timedOut };
}

/** Waits until `port` on 127.0.0.1 accepts connections. Throws when the child ends first or `timeoutMs` passes. */
export async function listening(child: Child, port: number, timeoutMs: number): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  let ended: number | undefined;
  void child.exited.then((code) => (ended = code));
  while (Date.now() < deadline) {
    if (ended !== undefined) throw new Error(`it ended with ${ended}: ${child.lastLines()}`);
    const open = await new Promise<boolean>((done) => {
      const socket = connect(port, "127.0.0.1");
      socket.once("connect", () => done(true)).once("error", () => done(false));
      socket.once("connect", () => socket.destroy());
    });
    if (open) return;
    await sleep(50);
  }
  throw new Error(`nothing listened on port ${port} within ${timeoutMs / 1000} s: ${child.lastLines()}`);
}

/** Kills what is still running, at once: for the end of the program, however it comes. */
export function killAll(): void {
  for (const child of live) signalGroup(child, "SIGKILL");
}
