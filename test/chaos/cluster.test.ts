import { describe, expect, test } from "vitest";
import { until } from "../e2e/world.ts";
import { clusterUnderLoad } from "./underLoad.ts";

/** The cluster's lease of a process that died (20 s), an agent's backoff (10 s), and what a busy machine takes. */
const takenOverMs = 60_000;

const cluster = clusterUnderLoad();

describe("row 20: kill -9 of the workerd that holds the Hub and one of a host's two Relays, under load", () => {
  test("no stream is broken: each goes on by the other Relay with its whole text, made once; requests are answered meanwhile; another workerd takes over, and nothing has moved", async () => {
    const { world, host, load } = cluster;
    expect({ front: world.objectsOf("front"), east: world.objectsOf("east") >= 2, west: world.objectsOf("west") }, `${world.logOf("west")}\n${host.log}`).toEqual({ front: 0, east: true, west: 1 });
    const [before] = await world.replicas("steady");
    const { streams, expected, cost } = await load.streamsThrough("east", 24);
    expect(streams.map(({ text, done, errors, roles, ids }) => ({ isWhole: text === expected, done, errors, roles, ids: ids.size }))).toEqual(streams.map(() => ({ isWhole: true, done: true, errors: 0, roles: 1, ids: 1 })));
    expect(streams.filter(({ reattached }) => reattached).length).toBeGreaterThan(0);
    expect(cost).toEqual({ tokens: 0, aborted: 0 });

    const requests = load.requests();
    // a Hub that woke tells of hosts as it knew them: they are back when the Relays have been taken over, too (the Scaler follows with its next alarm)
    await until("another Hub, with the host's links", takenOverMs, async () => world.objectsOf("west") + world.objectsOf("front") >= 3 && (await host.seen())?.relays.length === 2);
    await world.ready("steady", 1, takenOverMs);
    const { answered, failed } = await requests.stop();
    expect(failed).toEqual([]);
    expect(answered).toBeGreaterThan(0);
    const after = await world.replicas("steady");
    expect(after.map(({ id, restarts }) => ({ id, restarts }))).toEqual([{ id: before?.id, restarts: 0 }]);
  }, 240_000);
});
