import { readFile } from "node:fs/promises";
import { parseFailure } from "../engine/failures.ts";
import type { Entry, Stats } from "../engine/requestlog.ts";
import { startEngine, type Running } from "../engine/server.ts";
import { settings, type Settings } from "../engine/settings.ts";
import { engineYaml, processesWith, until, World } from "./world.ts";

/** What a simulator has seen so far; with `wanted`, for example `aborted:1`, once that is reached. Throws when it is not in time. */
export async function seen(engine: string, wanted?: string, timeoutMs = 10_000): Promise<Stats & { last: Entry[] }> {
  const response = await fetch(`${engine}/_sim/stats${wanted === undefined ? "" : `?until=${wanted}&timeout=${timeoutMs}ms`}`);
  if (!response.ok) throw new Error(await response.text());
  return (await response.json()) as Stats & { last: Entry[] };
}

/** Orders a failure for the next requests that come to a simulator: those that ask for inference, or those to `path`. */
export async function order(engine: string, spec: string, count = 1, path?: string): Promise<void> {
  const response = await fetch(`${engine}/_sim/fail`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ spec, count, path }) });
  if (!response.ok) throw new Error(await response.text());
}

/** Takes back what was ordered of a simulator and has not happened. */
export async function calm(engine: string): Promise<void> {
  const response = await fetch(`${engine}/_sim/fail`, { method: "DELETE" });
  if (!response.ok) throw new Error(await response.text());
}

/** A `fetch` that counts: what a client repeats by itself is seen nowhere else. */
export class CountedFetch {
  sent = 0;
  readonly fetch: typeof fetch = (...request) => {
    this.sent++;
    return fetch(...request);
  };
}

/** What some work comes to, and what it costs: requests that its client sends, those of them that reach a simulator, and time. */
export async function costOf<T>(client: CountedFetch, engine: string, work: () => Promise<T>): Promise<{ result: T; sent: number; requests: number; ms: number }> {
  const before = { sent: client.sent, requests: (await seen(engine)).requests, at: Date.now() };
  const result = await work();
  return { result, sent: client.sent - before.sent, requests: (await seen(engine)).requests - before.requests, ms: Date.now() - before.at };
}

/** Where the simulator of a service's one replica listens, by its own word. */
export function addressOf(world: World, service: string): Promise<string> {
  return until("the engine's address", 30_000, async () => /engine listening on (http:\S+)/.exec((await world.cli(["logs", service, "--no-follow"])).stdout)?.[1]);
}

/** A simulator that lives as a replica: its process is not the shell that keeps it. */
export interface ReplicaEngine {
  pid: number;
  replica: string;
  url: string;
}

/** The simulators of a service's replicas that live, in this world and no other on this machine (Linux). */
export async function enginesOf({ state }: World, service: string): Promise<ReplicaEngine[]> {
  const found: ReplicaEngine[] = [];
  for (const pid of await processesWith(`FAIRLEAD_REPLICA=${service}.`)) {
    const [command = [], environment = []] = await Promise.all(["cmdline", "environ"].map(async (file) => (await readFile(`/proc/${pid}/${file}`, "utf8").catch(() => "")).split("\0")));
    if (!command.includes("test/engine/main.ts") || !environment.some((entry) => entry.startsWith(`FAIRLEAD_STATE=${state}`))) continue;
    const named = (name: string): string => environment.find((entry) => entry.startsWith(`${name}=`))?.slice(name.length + 1) ?? "";
    found.push({ pid, replica: named("FAIRLEAD_REPLICA"), url: `http://127.0.0.1:${named("FAIRLEAD_PORT")}` });
  }
  return found;
}

/** Two vendors of one model that answer alike, token for token: the second is the first one's fallback. */
export class TwoVendors {
  readonly world: World;
  readonly one: Running;
  readonly two: Running;

  private constructor(world: World, one: Running, two: Running) {
    this.world = world;
    this.one = one;
    this.two = two;
  }

  static async start(timing: Partial<Settings>): Promise<TwoVendors> {
    const world = await World.start();
    return new TwoVendors(world, await startEngine(settings({ model: "m", ...timing })), await startEngine(settings({ model: "m", ...timing })));
  }

  async stop(): Promise<void> {
    await this.world.stop();
    await Promise.all([this.one.stop(), this.two.stop()]);
  }

  /** Both as they should be: what was ordered of them is taken back. */
  calm(): void {
    for (const { engine } of [this.one, this.two]) engine.failures.clear();
  }

  /** Their part of a service's YAML, after an upstream of its own. */
  yaml(own = ""): string {
    return `  providers:${own}
    - {type: external, name: one, endpoint: "${this.one.url}/v1", api_key: sk-none, model: m}
    - {type: external, name: two, endpoint: "${this.two.url}/v1", api_key: sk-none, model: m, fallback: true}`;
  }

  /** A service of its own: what isolates hold against the upstreams of another's is not in its way. */
  async serve(name: string, routing: string): Promise<string> {
    await this.world.offer(name, `name: ${name}\nservice:\n  model: ${name}\n${this.yaml()}\n  routing: ${routing}\n`);
    return name;
  }
}

/** Orders a failure for the next requests that come to a simulator of this process. */
export function fail({ engine }: Running, spec: string, count = 1): void {
  engine.failures.order(parseFailure(spec), count);
}

/** A world in which the model `owned` is a replica behind an agent and `rented` a provider: the two ways to an upstream. */
export interface BothWays {
  world: World;
  /** Each model's simulator, to ask what has come to it. */
  engines: Record<"owned" | "rented", string>;
  /** One more model of the vendor's: what isolates hold against `rented` is not held against it. */
  rent: (name: string, more?: string) => Promise<string>;
  stop: () => Promise<void>;
}

export async function bothWays(): Promise<BothWays> {
  const world = await World.start();
  const vendor = await startEngine(settings({ model: "rented" }));
  const rent = async (name: string, more = ""): Promise<string> => {
    await world.offer(name, `name: ${name}\nservice:\n  model: ${name}\n  providers:\n    - {type: external, name: vendor, endpoint: "${vendor.url}/v1", api_key: sk-none, model: rented}\n${more}`);
    return name;
  };
  // a probe that the simulator keeps out of its log: what is seen there is what was asked
  await world.apply("owned", engineYaml("owned", { probe: "/health" }));
  await rent("rented");
  await world.ready("owned", 1);
  const owned = await addressOf(world, "owned");
  const stop = async (): Promise<void> => {
    await world.stop();
    await vendor.stop();
  };
  return { world, engines: { owned, rented: vendor.url }, rent, stop };
}
