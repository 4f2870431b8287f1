import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync, openSync, closeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findMarked } from "../../agent/executors/strays.ts";
import { until, type World } from "./world.ts";

const root = join(import.meta.dirname, "../..");

export interface AgentOptions {
  /** More lines of its configuration. */
  config?: string[];
  /** What the agent is started by, for one that lives elsewhere than the world does. */
  within?: string[];
  /** Where control and fleet are from there. */
  control?: string;
  fleet?: string;
}

/** One more host of a world: invited, joined and run as a person would. */
export class Agent {
  readonly name: string;
  readonly id: string;
  readonly state: string;
  readonly #world: World;
  readonly #within: string[];
  #child: ChildProcess | undefined;

  private constructor(world: World, name: string, id: string, state: string, within: string[]) {
    this.#world = world;
    this.name = name;
    this.id = id;
    this.state = state;
    this.#within = within;
  }

  static async join(world: World, name: string, { config = [], within = [], control = world.up.control, fleet = world.fleet }: AgentOptions = {}): Promise<Agent> {
    const state = mkdtempSync(join(tmpdir(), "fairlead-host-"));
    const lines = [`state: ${JSON.stringify(join(state, "agent"))}`, `fleet_url: ${fleet}`, ...config];
    for (const usual of ["trust: unsigned", "reclaim: {cloud: none}"]) if (!config.some((line) => line.startsWith(usual.slice(0, usual.indexOf(":") + 1)))) lines.push(usual);
    writeFileSync(join(state, "agent.yaml"), `${lines.join("\n")}\n`);
    const invited = await world.cli(["hosts", "invite", "--name", name]);
    if (invited.code !== 0) throw new Error(`no invitation: ${invited.stderr}`);
    const agent = new Agent(world, name, "", state, within);
    const joining = agent.#spawn(["join", "--control", control, "--token-file", "-"], "pipe");
    joining.stdin?.end(invited.stdout);
    const [code] = (await once(joining, "exit")) as [number | null];
    if (code !== 0) throw new Error(`${name} could not join:\n${agent.log}`);
    const { host } = JSON.parse(readFileSync(join(state, "agent/identity.json"), "utf8")) as { host: string };
    return new Agent(world, name, host, state, within);
  }

  #spawn(args: string[], stdin: "pipe" | "ignore"): ChildProcess {
    const output = openSync(join(this.state, "log"), "a");
    const [program, ...rest] = [...this.#within, process.execPath, join(root, "agent/index.ts"), ...args, "--config", join(this.state, "agent.yaml")];
    const child = spawn(program, rest, { cwd: this.state, stdio: [stdin, output, output], detached: true });
    closeSync(output);
    return child;
  }

  get log(): string {
    return readFileSync(join(this.state, "log"), "utf8");
  }

  /** Starts it, and waits until its fleet can use it. */
  async run(): Promise<this> {
    this.#child = this.#spawn(["run"], "ignore");
    await until(`${this.name} to be up`, 60_000, async () => (await this.seen())?.relays.length === 2).catch((error: Error) => {
      throw new Error(`${error.message}\n${this.log}`);
    });
    return this;
  }

  /** How the fleet sees it. */
  async seen(): Promise<{ id: string; state: string; reason?: string; relays: number[]; heardAt?: number } | undefined> {
    const { body } = await this.#world.control("GET", "/v1/status");
    return (body["hosts"] as { id: string; state: string; reason?: string; relays: number[] }[]).find(({ id }) => id === this.id);
  }

  /** The processes of one of its replicas (Linux). */
  processesOf(replica: string): Promise<number[]> {
    return findMarked({ state: join(this.state, "agent"), replica });
  }

  /** @returns when it has ended */
  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill(signal);
    await gone;
  }

  /** Ends it and what it left, whatever state it is in. */
  async stop(): Promise<void> {
    const late = setTimeout(() => void this.kill(), 8_000);
    await this.kill("SIGTERM");
    clearTimeout(late);
    rmSync(this.state, { recursive: true, force: true });
  }
}
