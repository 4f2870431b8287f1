import { spawn, type ChildProcess } from "node:child_process";
import { openSync, closeSync, readFileSync, writeFileSync, existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { backoffMs } from "../../schema/clock.ts";

export interface PartOptions {
  name: "workerd" | "control" | "agent";
  /** The world's state folder: logs and pids are kept there. */
  state: string;
  /** Starts the process, its output into this file descriptor. */
  start: (output: number) => ChildProcess;
  /** Told when the part dies by itself and is started again. */
  died: (name: string, how: string) => void;
}

/** One process of the world: started again when it dies, ended by its id. */
export class Part {
  readonly name: string;
  readonly log: string;
  readonly #options: PartOptions;
  #child: ChildProcess | undefined;
  #stopping = false;
  #restarts = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: PartOptions) {
    this.#options = options;
    this.name = options.name;
    this.log = join(options.state, "logs", `${options.name}.log`);
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  start(): void {
    const output = openSync(this.log, "a");
    const child = this.#options.start(output);
    closeSync(output);
    const startedAt = Date.now();
    this.#child = child;
    rememberPid(this.#options.state, this.name, child.pid);
    child.once("error", () => undefined);
    child.once("exit", (code, signal) => {
      if (this.#stopping || this.#child !== child) return;
      this.#child = undefined;
      if (Date.now() - startedAt > 10_000) this.#restarts = 0;
      this.#options.died(this.name, signal === null ? `exited with ${code}` : `was killed by ${signal}`);
      this.#timer = setTimeout(() => this.start(), backoffMs(this.#restarts++, Math.random, { baseMs: 400, capMs: 10_000, floorMs: 200 }));
    });
  }

  /** SIGTERM, then SIGKILL to the whole group after `graceMs`. Resolves when the process is gone. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#timer);
    const child = this.#child;
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return forgetPid(this.#options.state, this.name);
    const { pid } = child;
    const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.kill("SIGTERM");
    const timer = setTimeout(() => {
      try {
        process.kill(-pid, "SIGKILL");
      } catch {
        child.kill("SIGKILL");
      }
    }, graceMs);
    await gone;
    clearTimeout(timer);
    forgetPid(this.#options.state, this.name);
  }

  /** The end of its log, for an error message. */
  tail(lines = 8): string {
    if (!existsSync(this.log)) return "";
    return readFileSync(this.log, "utf8").trimEnd().split("\n").slice(-lines).join("\n");
  }
}

/** Which process is which: for tests, and for ending what a killed `scripts/up` has left. */
function pidsFile(state: string): string {
  return join(state, "pids.json");
}

export function readPids(state: string): Record<string, number> {
  return existsSync(pidsFile(state)) ? (JSON.parse(readFileSync(pidsFile(state), "utf8")) as Record<string, number>) : {};
}

export function rememberPid(state: string, name: string, pid: number | undefined): void {
  if (pid !== undefined) writeFileSync(pidsFile(state), JSON.stringify({ ...readPids(state), [name]: pid }));
}

export function forgetPid(state: string, name: string): void {
  const { [name]: _, ...rest } = readPids(state);
  if (Object.keys(rest).length === 0) rmSync(pidsFile(state), { force: true });
  else writeFileSync(pidsFile(state), JSON.stringify(rest));
}

/** A Node process of the project, in a group of its own so that a terminal's Ctrl-C reaches `scripts/up` only. */
export function startNode(file: string, args: string[], env: Record<string, string>, output: number, cwd: string): ChildProcess {
  return spawn(process.execPath, [file, ...args], { cwd, env: { ...process.env, ...env }, stdio: ["ignore", output, output], detached: true });
}
