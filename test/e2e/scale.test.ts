import { afterAll, beforeAll, expect, test } from "vitest";
import { model } from "../../scripts/bench/exchange.ts";
import { failuresOf, load, noFailures } from "./load.ts";
import { engineYaml, until, World } from "./world.ts";

let world: World;

beforeAll(async () => {
  world = await World.start();
});
afterAll(() => world?.stop());

const alive = async (): Promise<number> => (await world.replicas(model)).filter(({ phase }) => phase === "ready").length;

test("replicas go 0, 1, 4, 1, 0 with the load, and no request fails", { timeout: 240_000 }, async () => {
  const policy = { min_replicas: 0, max_replicas: 4, target_concurrency_per_replica: 2, downscale_delay_seconds: 3 };
  await world.offer(model, engineYaml(model, { flags: "--ttft 100ms --itl 5ms" }).replace(/^ {2}replicas: 1$/m, `  replica_policy: ${JSON.stringify(policy)}\n  scale_from_zero: {hold: 30s}`));
  expect(await alive()).toBe(0);

  const first = await load(world, 1, 1).done;
  expect(failuresOf(first)).toEqual(noFailures);
  expect(first.requests).toBeGreaterThan(0);
  expect(await alive()).toBe(1);

  const many = load(world, 8);
  await until("four replicas", 30_000, async () => (await alive()) === 4);
  expect(failuresOf(await many.stop())).toEqual(noFailures);

  // a level is told from chance by half a minute, and what is in service by a whole one
  const few = load(world, 1, 180);
  await until("one replica again", 150_000, async () => (await alive()) === 1);
  expect(failuresOf(await few.stop())).toEqual(noFailures);

  await until("none", 40_000, async () => (await world.replicas(model)).length === 0);
});
