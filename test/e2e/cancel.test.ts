import { afterAll, beforeAll, expect, test } from "vitest";
import { startEngine } from "../engine/server.ts";
import { settings } from "../engine/settings.ts";
import { engineYaml, until, World } from "./world.ts";

/** "Within a second" (failure model, row 26), and what a busy machine takes to notice. */
const cancelMs = 1_500;

let world: World;
let provider: Awaited<ReturnType<typeof startEngine>>;
let replicaUrl = "";

beforeAll(async () => {
  world = await World.start();
  provider = await startEngine(settings({ model: "rented" }));
  await world.apply("owned", engineYaml("owned"));
  await world.apply("rented", `name: rented\nservice:\n  model: rented\n  providers:\n    - {type: external, name: vendor, endpoint: "${provider.url}/v1", api_key: sk-none}\n`);
  await world.ready("owned", 1);
  const log = await until("the engine's address", 10_000, async () => /engine listening on (http:\S+)/.exec((await world.cli(["logs", "owned", "--no-follow"])).stdout)?.[1]);
  replicaUrl = log;
});
afterAll(async () => {
  await world?.stop();
  await provider?.stop();
});

async function aborted(url: string): Promise<number> {
  return ((await (await fetch(`${url}/_sim/stats`)).json()) as { aborted: number }).aborted;
}

/** Leave while the upstream is silent, and see how long it takes until the upstream knows. */
async function leave(model: string, fail: string, afterMs: number): Promise<number> {
  const url = model === "rented" ? provider.url : replicaUrl;
  const before = await aborted(url);
  const controller = new AbortController();
  const work = world.chat(model, { stream: true }, { headers: { "x-sim-fail": fail }, signal: controller.signal }).then(async (response) => response.text()).catch(() => "left");
  // the request must have arrived before its client leaves it
  await new Promise((resolve) => setTimeout(resolve, afterMs));
  controller.abort();
  const left = Date.now();
  expect(await work).toBe("left");
  await until("the upstream's abort", cancelMs, async () => (await aborted(url)) > before);
  return Date.now() - left;
}

test.each([
  ["owned", "hang", "before the headers"],
  ["owned", "stall@3", "in the middle of an answer"],
  ["rented", "hang", "before the headers"],
  ["rented", "stall@3", "in the middle of an answer"],
])("a client that leaves cancels a silent upstream within a second (%s, %s)", async (model, fail) => {
  await leave(model, fail, 700);
  await leave(model, fail, 150);
});

test("a stream that goes on is cancelled too", async () => {
  await leave("owned", "slow=100ms", 400);
});
