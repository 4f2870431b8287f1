import type { Entry, Stats } from "../engine/requestlog.ts";
import { startEngine } from "../engine/server.ts";
import { settings } from "../engine/settings.ts";
import { engineYaml, until, World } from "./world.ts";

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
    await world.apply(name, `name: ${name}\nservice:\n  model: ${name}\n  providers:\n    - {type: external, name: vendor, endpoint: "${vendor.url}/v1", api_key: sk-none, model: rented}\n${more}`);
    await until(`the model ${name}`, 10_000, async () => (await world.fetch(`/v1/models/${name}`)).status === 200);
    return name;
  };
  // a probe that the simulator keeps out of its log: what is seen there is what was asked
  await world.apply("owned", engineYaml("owned", { probe: "/health" }));
  await rent("rented");
  await world.ready("owned", 1);
  const owned = await until("the engine's address", 10_000, async () => /engine listening on (http:\S+)/.exec((await world.cli(["logs", "owned", "--no-follow"])).stdout)?.[1]);
  const stop = async (): Promise<void> => {
    await world.stop();
    await vendor.stop();
  };
  return { world, engines: { owned, rented: vendor.url }, rent, stop };
}
