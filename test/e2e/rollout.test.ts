import { afterAll, beforeAll, expect, test } from "vitest";
import { model } from "../../scripts/bench/exchange.ts";
import type { StatusAnswer } from "../../control/routes/status.ts";
import { engineYaml, until, World } from "./world.ts";
import { failuresOf, load, noFailures } from "./load.ts";

let world: World;

beforeAll(async () => {
  world = await World.start();
  await world.offer(model, version("--ttft 20ms --itl 2ms"));
  await world.ready(model, 2);
}, 240_000);
afterAll(() => world?.stop());

const canary = { mode: "canary", steps: [{ share: "20%", for: "2s" }, { share: "50%", for: "2s" }], requests_min: 10 };
const version = (flags: string, rollout: object = { mode: "rolling" }): string => engineYaml(model, { replicas: 2, flags }).replace("service:\n", `service:\n  rollout: ${JSON.stringify(rollout)}\n`);

async function service(): Promise<StatusAnswer["services"][number] | undefined> {
  const { body } = await world.control("GET", `/v1/status?services=${model}`);
  return (body as unknown as StatusAnswer).services.find(({ name }) => name === model);
}
/** All replicas are of one version, and its rollout is over. */
const isAll = async (number: number): Promise<boolean> => {
  const seen = await service();
  const alive = seen?.replicas.filter(({ phase }) => phase !== "failed" && phase !== "stopped") ?? [];
  return seen?.rollout?.state !== "progressing" && alive.length === 2 && alive.every((replica) => replica.version === number && replica.phase === "ready");
};

test("a rolling update and a canary, one after the other under load: no request fails", { timeout: 180_000 }, async () => {
  const asking = load(world, 4);
  await world.apply(model, version("--ttft 20ms --itl 3ms"));
  await until("version 2 everywhere", 30_000, () => isAll(2));
  await world.apply(model, version("--ttft 20ms --itl 4ms", canary));
  await until("version 3 everywhere", 40_000, () => isAll(3));
  const asked = await asking.stop();
  expect(failuresOf(asked)).toEqual(noFailures);
  expect(asked.requests).toBeGreaterThan(50);
});

test("a canary that fails its requests is taken back by itself, and no client hears of it", { timeout: 120_000 }, async () => {
  const asking = load(world, 4);
  await world.apply(model, version("--ttft 20ms --itl 4ms --fail status=500", canary));
  const { rollout } = await until("the rollback", 40_000, async () => { const seen = await service(); return seen?.rollout?.state === "rolled_back" ? seen : undefined; });
  expect(rollout?.reason).toMatch(/version 4 was rolled back: .*; version 3 serves/);
  await until("version 3 everywhere", 40_000, () => isAll(3));
  expect(failuresOf(await asking.stop())).toEqual(noFailures);
});

test("a version that never gets ready takes no request, is not tried for ever, and is taken back", { timeout: 120_000 }, async () => {
  const asking = load(world, 2);
  await world.apply(model, version("--ttft 20ms").replace(/^run: .*$/m, "run: test $PORT = 0"));
  await until("the rollback", 40_000, async () => (await service())?.rollout?.state === "rolled_back");
  await until("version 3 everywhere", 40_000, () => isAll(3));
  expect(failuresOf(await asking.stop())).toEqual(noFailures);
  const { stdout } = await world.cli(["status", model]);
  expect(stdout).toContain("version 5 was rolled back");
});
