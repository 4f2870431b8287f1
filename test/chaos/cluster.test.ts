import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Agent } from "../e2e/agent.ts";
import { until } from "../e2e/world.ts";
import { Cluster } from "./cluster.ts";
import { Load } from "./underLoad.ts";

/** The cluster's lease of a process that died, and an agent's backoff until then (its first tries come within 8 s of each other). */
const takenOverMs = 40_000;

let world: Cluster;
let host: Agent;
let load: Load;

beforeAll(async () => {
  world = await Cluster.create();
  host = await Agent.join(world, "host");
  await host.run();
  load = await Load.start(world);
});
afterAll(async () => {
  await host?.stop();
  await world?.stop();
});

describe("row 20: kill -9 of the workerd that holds the Hub and one of a host's two Relays, under load", () => {
  test("no stream is broken: each goes on by the other Relay with its whole text, made once; requests are answered meanwhile; another workerd takes over, and nothing has moved", async () => {
    expect({ front: world.objectsOf("front"), east: world.objectsOf("east") >= 2, west: world.objectsOf("west") }).toEqual({ front: 0, east: true, west: 1 });
    const [before] = await world.replicas("steady");
    const { streams, expected, cost } = await load.streamsThrough("east", 24);
    expect(streams.map(({ text, done, errors, roles, ids }) => ({ isWhole: text === expected, done, errors, roles, ids: ids.size }))).toEqual(streams.map(() => ({ isWhole: true, done: true, errors: 0, roles: 1, ids: 1 })));
    expect(streams.filter(({ reattached }) => reattached).length).toBeGreaterThan(0);
    expect(cost).toEqual({ tokens: 0, aborted: 0 });

    const requests = load.requests();
    await until("another Hub, with the host's links", takenOverMs, async () => (await host.seen())?.relays.length === 2);
    const { answered, failed } = await requests.stop();
    expect(failed).toEqual([]);
    expect(answered).toBeGreaterThan(0);
    // the Hub and both Relays; the Scaler follows with its next alarm
    expect(world.objectsOf("west") + world.objectsOf("front")).toBeGreaterThanOrEqual(3);
    const [after] = await world.replicas("steady");
    expect(after).toMatchObject({ id: before?.id, phase: "ready", restarts: 0 });
  }, 120_000);
});
