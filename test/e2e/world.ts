import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { findMarked } from "../../agent/executors/strays.ts";

const root = join(import.meta.dirname, "../..");

export interface Up {
  endpoint: string;
  apiKey: string;
  control: string;
  adminKey: string;
  metrics: string;
  pid: number;
}

/** Ask again and again until there is an answer; an error that names what was waited for when there is none in time. */
export async function until<T>(what: string, ms: number, ask: () => T | undefined | false | Promise<T | undefined | false>): Promise<T> {
  let failure: unknown;
  for (const end = Date.now() + ms; Date.now() < end; await wait(40)) {
    try {
      const value = await ask();
      if (value !== undefined && value !== false) return value;
      failure = undefined;
    } catch (error) {
      failure = error;
    }
  }
  throw new Error(`${what} did not happen within ${ms} ms${failure instanceof Error ? `: ${failure.message}` : ""}`);
}

export interface Ran {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** A whole Fairlead of real processes, in a state folder of its own. */
export class World {
  readonly state: string;
  readonly up: Up;
  readonly #child: ChildProcess;
  #output: () => string;

  protected constructor(state: string, up: Up, child: ChildProcess, output: () => string) {
    this.state = state;
    this.up = up;
    this.#child = child;
    this.#output = output;
  }

  /** `scripts/up`, on free ports. */
  static async start(args: string[] = ["--no-example"], state = mkdtempSync(join(tmpdir(), "fairlead-world-"))): Promise<World> {
    const child = spawn(join(root, "scripts/up"), ["--port", "0", "--control-port", "0", "--fleet-port", "0", "--state", state, ...args], { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
    const file = join(state, "up.json");
    try {
      const up = await until("scripts/up", 180_000, () => {
        if (child.exitCode !== null) throw new Error(`scripts/up exited with ${child.exitCode}:\n${output}`);
        return existsSync(file) && (JSON.parse(readFileSync(file, "utf8")) as Up);
      });
      return new World(state, up, child, () => output);
    } catch (error) {
      child.kill("SIGTERM");
      throw new Error(`${error instanceof Error ? error.message : String(error)}\n${output}`, { cause: error });
    }
  }

  get router(): string {
    return this.up.endpoint.replace(/\/v1$/, "");
  }

  /** Where agents dial in. */
  get fleet(): string {
    return /fleet_url: (\S+)/.exec(readFileSync(join(this.state, "agent.yaml"), "utf8"))?.[1] ?? "";
  }

  get output(): string {
    return this.#output();
  }

  /** Process ids by part: workerd, control, agent. */
  pids(): Record<string, number> {
    return JSON.parse(readFileSync(join(this.state, "pids.json"), "utf8")) as Record<string, number>;
  }

  /** The `fairlead` command, as a user of this world. */
  async cli(args: string[], { input, timeoutMs = 60_000 }: { input?: string; timeoutMs?: number } = {}): Promise<Ran> {
    const child = spawn(join(root, "node_modules/.bin/node"), [join(root, "control/cli/fairlead.mjs"), ...args], {
      cwd: root,
      env: { ...process.env, FAIRLEAD_CONTROL_URL: this.up.control, FAIRLEAD_ADMIN_KEY: this.up.adminKey, NO_COLOR: "1" },
      timeout: timeoutMs,
    });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    child.stdin.end(input ?? "");
    // its end, and that of all it said
    const [code] = (await once(child, "close")) as [number | null];
    return { code, stdout, stderr };
  }

  /** A request with this world's key. */
  fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    headers.set("authorization", `Bearer ${this.up.apiKey}`);
    if (typeof init.body === "string" && !headers.has("content-type")) headers.set("content-type", "application/json");
    return fetch(this.router + path, { ...init, headers });
  }

  chat(model: string, body: Record<string, unknown> = {}, init: RequestInit = {}): Promise<Response> {
    return this.fetch("/v1/chat/completions", { method: "POST", body: JSON.stringify({ model, messages: [{ role: "user", content: "Hello" }], ...body }), ...init });
  }

  /** Control's own API. */
  async control(method: string, path: string, body?: unknown): Promise<{ status: number; body: Record<string, unknown> }> {
    const response = await fetch(this.up.control + path, {
      method,
      headers: { authorization: `Bearer ${this.up.adminKey}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  }

  /** Replicas as the Hub tells of them. */
  async replicas(service: string): Promise<{ id: string; phase: string; reason?: string; restarts: number; service: string; port?: number }[]> {
    const { body } = await this.control("GET", "/v1/status");
    const services = body["services"] as { name: string; replicas: { id: string; phase: string; reason?: string; restarts: number; service: string }[] }[];
    return services.find(({ name }) => name === service)?.replicas ?? [];
  }

  /** Put a service from YAML. */
  async apply(name: string, yaml: string): Promise<void> {
    const { status, body } = await this.control("PUT", `/v1/services/${name}`, { yaml });
    if (status >= 300) throw new Error(`cannot apply ${name}: ${status} ${JSON.stringify(body)}`);
  }

  /** Put a service of providers, which can be asked at once. */
  async offer(name: string, yaml: string): Promise<void> {
    await this.apply(name, yaml);
    await until(`the model ${name}`, 30_000, async () => (await this.fetch(`/v1/models/${name}`)).status === 200);
  }

  /** The processes of a replica of this world's own host (Linux): other worlds on this machine may have one of the same name. */
  processesOf(replica: string): Promise<number[]> {
    return findMarked({ state: join(this.state, "agent"), replica });
  }

  async ready(service: string, count: number, ms = 60_000): Promise<void> {
    await until(`${count} ready replicas of ${service}`, ms, async () => (await this.replicas(service)).filter(({ phase }) => phase === "ready").length === count);
  }

  /** SIGTERM, as Ctrl-C does; the state folder goes unless it is kept. */
  async stop({ keep = false } = {}): Promise<{ code: number | null; ms: number }> {
    const started = Date.now();
    if (this.#child.exitCode === null) {
      const gone = once(this.#child, "exit");
      this.#child.kill("SIGTERM");
      await gone;
    }
    if (!keep) rmSync(this.state, { recursive: true, force: true });
    return { code: this.#child.exitCode, ms: Date.now() - started };
  }
}

/** The service YAML of an engine simulator. */
export function engineYaml(name: string, { replicas = 1, flags = "", more = "", probe = "/v1/models" } = {}): string {
  return `name: ${name}
service:
  model: ${name}
  readiness_probe: ${probe}
  replicas: ${replicas}
${more}
workdir: ${root}
run: exec node test/engine/main.ts --port $PORT --model ${name} ${flags}
`;
}

/** Ids of the processes that have this text in their environment or command line (Linux). */
export async function processesWith(text: string): Promise<number[]> {
  const { readdir, readFile } = await import("node:fs/promises");
  const found: number[] = [];
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry) || Number(entry) === process.pid) continue;
    for (const file of ["cmdline", "environ"]) {
      const content = await readFile(`/proc/${entry}/${file}`, "utf8").catch(() => "");
      if (content.includes(text)) {
        found.push(Number(entry));
        break;
      }
    }
  }
  return found;
}
