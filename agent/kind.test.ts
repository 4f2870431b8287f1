import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { systemClock } from "../schema/clock.ts";
import { heartbeatSchema, warmMax } from "../schema/protocol.ts";
import { keepKind, warmed, type KindOptions } from "./kind.ts";
import { createLog } from "./log.ts";

let state = "";
beforeEach(async () => {
  state = await mkdtemp(join(tmpdir(), "fairlead-kind-"));
});
afterEach(() => rm(state, { recursive: true }));
const kept = (options: Partial<KindOptions> = {}) => keepKind({ state, config: {}, gpus: () => [], onChange: () => undefined, log: createLog({ level: "error", clock: systemClock, write: () => undefined }), ...options });

test("nothing is said of what is not known", async () => {
  expect((await kept()).now).toEqual({});
});

test("what the owner wrote down counts before what the cloud and the GPUs say", async () => {
  const gpus = () => [{ name: "NVIDIA L4" }];
  const found = await kept({ gpus });
  found.told({ zone: "us-east-1a", spot: true });
  expect(found.now).toEqual({ zone: "us-east-1a", spot: true, accelerator: "L4" });
  const written = await kept({ gpus, config: { zone: "rack-7", spot: false, accelerator: "L40S", priceMicroUsd: 1_500_000 } });
  written.told({ zone: "us-east-1a", spot: true });
  expect(written.now).toEqual({ zone: "rack-7", spot: false, accelerator: "L40S", priceMicroUsd: 1_500_000 });
});

test("digests that were ready here outlast the agent, the latest first, no more than are told", async () => {
  const first = await kept();
  for (const digest of ["a", "b", "a"]) first.ready(digest);
  expect(first.now.warm).toEqual(["a", "b"]);
  await vi.waitFor(async () => expect(await readFile(join(state, "warm.json"), "utf8")).toBe('["a","b"]'), { timeout: 20_000 });
  expect((await kept()).now.warm).toEqual(["a", "b"]);
  expect(Array.from({ length: 40 }, (_, i) => String(i)).reduce<string[]>(warmed, [])).toHaveLength(warmMax);
});

test("a file of them that is broken remembers nothing", async () => {
  await writeFile(join(state, "warm.json"), '["a"');
  expect((await kept()).now).toEqual({});
});

test("what it says is what a Hub understands", async () => {
  const kind = await kept({ config: { zone: "us-east-1a", spot: true, accelerator: "A100-80GB", priceMicroUsd: 3_670_000 } });
  kind.ready("0".repeat(64));
  const said = { type: "heartbeat", epoch: 1, generation: 0, relays: [], draining: false, replicas: [], facts: { gpus: 1, cpus: 1, memoryBytes: 1, ...kind.now } };
  expect(heartbeatSchema.parse(said)).toEqual(said);
  // it is written down meanwhile, and the folder goes after that
  await vi.waitFor(() => readFile(join(state, "warm.json")), { timeout: 20_000 });
});
