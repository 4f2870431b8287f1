import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, describe, expect, test } from "vitest";
import { scalePolicySchema, type ScalePolicy } from "../../schema/policy.ts";
import type { AssignedReplica } from "../../schema/protocol.ts";
import type { Desire } from "../../schema/scale.ts";
import { cellSize, layout, tallies } from "../../schema/telemetry.ts";
import { bundle, fleetService, newHost, publish, replicaState, routeService, soon, TestLink, world } from "../../test/worker/world.ts";

let version = Date.now();
const hub = (): ReturnType<typeof world.HUB.getByName> => world.HUB.getByName("local");
const scaler = (service: string): ReturnType<typeof world.SCALER.getByName> => world.SCALER.getByName(service);

afterEach(async () => {
  await publish(bundle(++version, {}));
});

const policy = (fields: Partial<ScalePolicy>): ScalePolicy => scalePolicySchema.parse({ autoscaler: "adaptive", min: 0, max: 4, targetConcurrency: 1, ...fields });

/** A service on one host, by a policy. */
async function service(name: string, fields: Partial<ScalePolicy>, more: Partial<{ version: number; digest: string }> = {}): Promise<{ link: TestLink; change: (next: Partial<ScalePolicy>, task?: Partial<{ version: number; digest: string }>) => Promise<void> }> {
  const host = await newHost(`host_${name}`);
  const change = async (next: Partial<ScalePolicy>, task: Partial<{ version: number; digest: string }> = {}): Promise<void> => {
    const parsed = policy(next);
    const fleet = { ...fleetService(name, parsed.min, { ...more, ...task }), policy: parsed };
    expect((await publish(bundle(++version, { hosts: [host], services: [routeService(name, { fromZero: { holdMs: 10_000, fallback: false } })], fleet: [fleet] }))).status).toBe(200);
  };
  await change(fields);
  return { link: await TestLink.join(host), change };
}

const desireOf = (name: string): Promise<Desire | undefined> => runInDurableObject(scaler(name), (_, { storage }) => (JSON.parse(storage.kv.get<string>("kept") ?? "{}") as { desire?: Desire }).desire);
const states = (replicas: readonly AssignedReplica[], phase: "ready" | "starting", inFlight = 0) => replicas.map((replica) => replicaState(replica as never, { phase, inFlight }));

describe("Scaler", () => {
  test("a service that nobody asks for has no replica, and its Scaler sleeps; one request that finds none starts the first", async () => {
    const { link } = await service("zero", {});
    await soon("the first look", 20_000, async () => ((await desireOf("zero"))?.desired === 0 ? true : undefined));
    expect(await runInDurableObject(scaler("zero"), (_, { storage }) => storage.getAlarm())).toBeGreaterThan(Date.now() + 3_600_000);
    expect((await link.assigned(0)).replicas).toEqual([]);
    await hub().wanted("zero", { isolate: "i", cells: [{ service: "zero", upstream: "", counts: arrivals(1) }], inFlight: [], breakers: [], held: [{ service: "zero", count: 1 }] } as never);
    expect((await link.assigned(1)).replicas.map(({ service: name }) => name)).toEqual(["zero"]);
    const { scales } = await hub().status();
    expect(scales?.find(({ service: name }) => name === "zero")?.decisions.at(-1)).toMatchObject({ action: "up", desired: 1 });
  });

  test("what a fixed policy asks for is kept: more, then fewer, by a look at each change", async () => {
    const { link, change } = await service("fixed", { autoscaler: "fixed", min: 1, max: 1 });
    link.beat(states((await link.assigned(1)).replicas, "ready"));
    await change({ autoscaler: "fixed", min: 3, max: 3 }, { version: 2 });
    const three = await link.assigned(3);
    link.beat(states(three.replicas, "ready"), { generation: three.generation });
    link.inbox.length = 0;
    await change({ autoscaler: "fixed", min: 2, max: 2 }, { version: 3 });
    expect((await link.assigned(2)).replicas.map(({ version: of }) => of)).toEqual([3, 3]);
  });

  test("an alarm that is late, doubled, or follows an eviction changes nothing (failure model, row 22)", async () => {
    const { link } = await service("twice", { min: 2 });
    link.beat(states((await link.assigned(2)).replicas, "ready"));
    await soon("the first look", 20_000, async () => (await desireOf("twice")) !== undefined || undefined);
    await scaler("twice").wake();
    const before = await desireOf("twice");
    for (let i = 0; i < 3; i++) {
      await Promise.all([scaler("twice").wake(), scaler("twice").wake()]);
      await runDurableObjectAlarm(scaler("twice"));
      await evictDurableObject(scaler("twice"));
    }
    expect(await desireOf("twice")).toEqual(before);
    expect((await hub().status()).scales?.find(({ service: name }) => name === "twice")?.desired).toBe(2);
  });

  test("a Hub that is told twice, or of an earlier mind late, keeps the latest", async () => {
    const { link } = await service("order", { autoscaler: "fixed", min: 1, max: 1 });
    link.beat(states((await link.assigned(1)).replicas, "ready"));
    const told = await soon("the first look", 20_000, () => desireOf("order"));
    const more: Desire = { ...told, generation: told.generation + 5, desired: 2, regions: { local: (told.regions.local ?? []).map((target) => ({ ...target, count: 2 })) } };
    await hub().desire(more);
    await link.assigned(2);
    await hub().desire(told);
    await hub().desire(more);
    expect((await hub().status()).scales?.find(({ service: name }) => name === "order")?.desired).toBe(2);
    // the Scaler's next word counts all the same: it is beyond what the Hub has
    link.inbox.length = 0;
    await scaler("order").wake();
    await link.assigned(1);
  });

  test("a service that is gone is forgotten, and what comes under its name later begins anew", async () => {
    const { link } = await service("gone", { autoscaler: "fixed", min: 2, max: 2 });
    await link.assigned(2);
    const told = await soon("the first look", 20_000, () => desireOf("gone"));
    await publish(bundle(++version, {}));
    await scaler("gone").wake();
    expect(await desireOf("gone")).toBeUndefined();
    expect(await runInDurableObject(scaler("gone"), (_, { storage }) => storage.getAlarm())).toBeNull();
    const again = await service("gone", { autoscaler: "fixed", min: 1, max: 1 });
    await again.link.assigned(1);
    const later = await soon("the next look", 20_000, () => desireOf("gone"));
    expect(later.generation).toBeGreaterThan(told.generation);
  });
});

/** What an isolate counted: so many requests came. */
function arrivals(count: number): Uint32Array {
  const counts = new Uint32Array(cellSize);
  counts[layout.tallies + tallies.indexOf("arrivals")] = count;
  return counts;
}
