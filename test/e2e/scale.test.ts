import { spawn, type ChildProcess } from "node:child_process";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ClosedJob, ClosedResult } from "../../scripts/bench/load-closed.ts";
import { model } from "../../scripts/bench/exchange.ts";
import { engineYaml, until, World } from "./world.ts";

let world: World;
const loads: ChildProcess[] = [];

beforeAll(async () => {
  world = await World.start();
});
afterAll(async () => {
  for (const load of loads) load.kill("SIGKILL");
  await world?.stop();
});

/** The benchmarks' load generator: so many requests always in flight, one after the other, for so long. */
async function load(connections: number, seconds: number): Promise<ClosedResult> {
  const job: ClosedJob = { kind: "closed", url: `${world.up.endpoint}/chat/completions`, headers: { authorization: `Bearer ${world.up.apiKey}` }, connections, seconds };
  const child = spawn(process.execPath, [join(import.meta.dirname, "../../scripts/bench/load.ts"), JSON.stringify(job)], { stdio: ["ignore", "pipe", "inherit"] });
  loads.push(child);
  let said = "";
  for await (const chunk of child.stdout) said += String(chunk);
  return JSON.parse(said) as ClosedResult;
}

const alive = async (): Promise<number> => (await world.replicas(model)).filter(({ phase }) => phase === "ready").length;

test("replicas go 0, 1, 4, 1, 0 with the load, and no request fails", { timeout: 120_000 }, async () => {
  const policy = { min_replicas: 0, max_replicas: 4, target_concurrency_per_replica: 2, downscale_delay_seconds: 3 };
  await world.offer(model, engineYaml(model, { flags: "--ttft 100ms --itl 5ms" }).replace(/^ {2}replicas: 1$/m, `  replica_policy: ${JSON.stringify(policy)}\n  scale_from_zero: {hold: 30s}`));
  expect(await alive()).toBe(0);

  if (process.env["WAKE"]) { console.log((await world.chat(model)).status); await until("one", 20_000, async () => (await alive()) === 1); }
  const first = await load(1, 1);
  expect(first).toMatchObject({ errors: 0 });
  expect(first.requests).toBeGreaterThan(0);
  expect(await alive()).toBe(1);

  const [many] = await Promise.all([load(8, 12), until("four replicas", 20_000, async () => (await alive()) === 4)]);
  expect(many.errors).toBe(0);

  const [few] = await Promise.all([load(1, 12), until("one replica again", 20_000, async () => (await alive()) === 1)]);
  expect(few.errors).toBe(0);

  await until("none", 20_000, async () => (await world.replicas(model)).length === 0);
  const { stdout } = await world.cli(["status", model, "-v"]);
  console.log(stdout);
});
