import { sql } from "drizzle-orm";
import { describe, expect, test } from "vitest";
import type { RolloutStatus } from "../schema/scale.ts";
import type { RegionStatus, ScaleStatus, StatusReplica } from "../schema/snapshot.ts";
import { caller, controlUnderTest } from "../test/control.ts";

const control = controlUnderTest();
const call = caller(control);

function replica(number: number, more: Partial<StatusReplica> = {}): StatusReplica {
  return { id: `chat.local.${number}`, service: "chat", number, version: 1, phase: "ready", host: "h1", hostName: "box", since: 1, inFlight: 0, region: "local", restarts: 0, ...more };
}

describe("the version before", () => {
  const file = (run: string, more = ""): string => `service: {model: m${more}}\nrun: ${run} --port $PORT\nsecrets: {T: t}\n`;
  const put = (run: string, more?: Record<string, unknown>) => call("PUT", "/v1/services/chat", { yaml: file(run), ...more });
  const published = () => control.edge.bundles.at(-1)?.fleet.services[0];
  const told = (scale: Partial<ScaleStatus>): void => {
    control.edge.regions = [{ region: "local", takenAt: 0, bundleVersion: 1, hosts: [], replicas: [], unplaced: [], scales: [{ service: "chat", version: 1, desired: 1, decisions: [], ...scale }] }];
  };
  const rollout = (version: number, state: RolloutStatus["state"], shares?: Record<string, number>): Partial<ScaleStatus> => ({ version, rollout: { mode: "canary", state, version, reason: "so", ...(shares === undefined ? {} : { shares }) } });

  test("goes out with the new one, and only when replicas run something else", async () => {
    await put("one");
    expect(published()).not.toHaveProperty("previous");
    await put("two");
    expect(published()).toMatchObject({ task: { version: 2, run: "two --port $PORT" }, previous: { task: { version: 1, run: "one --port $PORT", service: "chat" } } });
    expect(published()?.previous?.task.digest).not.toBe(published()?.task.digest);
    told(rollout(2, "done"));
    await call("PUT", "/v1/services/chat", { yaml: file("two", ", replicas: 2") });
    expect(published()).toMatchObject({ task: { version: 3 } });
    expect(published()).not.toHaveProperty("previous");
  });

  test.each<[string, Partial<ScaleStatus> | undefined, number]>([
    ["one that took its place whole", rollout(2, "done"), 2],
    ["one of a service without a Scaler", undefined, 2],
    ["one that is on its way", rollout(2, "progressing"), 1],
    ["one that was rolled back", rollout(2, "rolled_back"), 1],
    ["one that is stuck", rollout(2, "stuck"), 1],
    ["one of an A/B test", rollout(2, "done", { 1: 0.5, 2: 0.5 }), 1],
    ["one that its Scaler has not seen", rollout(1, "done"), 1],
  ])("of %s", async (_name, scale, version) => {
    await put("one");
    told({ version: 1 });
    await put("two");
    if (scale === undefined) control.edge.regions = [];
    else told(scale);
    await put("three");
    expect(published()).toMatchObject({ task: { version: 3 }, previous: { task: { version } } });
  });

  test("is the one that all replicas run, though its Scaler has not said so yet", async () => {
    await put("one");
    told({ version: 1 });
    await put("two");
    told({ ...rollout(2, "progressing"), desired: 2 });
    const [region] = control.edge.regions as RegionStatus[];
    control.edge.regions = [{ ...(region as RegionStatus), replicas: [replica(1, { version: 2 }), replica(2, { version: 2 }), replica(3, { phase: "stopped" })] }];
    await put("three");
    expect(published()).toMatchObject({ task: { version: 3 }, previous: { task: { version: 2 } } });
    told({ ...rollout(3, "progressing"), desired: 1 });
    control.edge.regions = [{ ...(control.edge.regions as RegionStatus[])[0] as RegionStatus, replicas: [replica(4, { version: 3 }), replica(1, { version: 2 })] }];
    await put("four");
    expect(published()).toMatchObject({ task: { version: 4 }, previous: { task: { version: 2 } } });
  });

  test("is not the one that is gone back to, and a change of configuration in the middle keeps it", async () => {
    await put("one");
    told({ version: 1 });
    await put("two");
    told(rollout(2, "progressing"));
    await call("PUT", "/v1/services/chat", { yaml: file("two", ", replicas: 3") });
    expect(published()).toMatchObject({ task: { version: 3 }, previous: { task: { version: 1 } } });
    told(rollout(3, "progressing"));
    await put("one");
    expect(published()).toMatchObject({ task: { version: 4, run: "one --port $PORT" } });
    expect(published()).not.toHaveProperty("previous");
  });

  test("is none of a first version that never got ready, and goes with its service", async () => {
    await put("one");
    told(rollout(1, "stuck"));
    await put("two");
    expect(published()).not.toHaveProperty("previous");
    told(rollout(2, "done"));
    await put("three");
    await call("DELETE", "/v1/services/chat");
    expect(JSON.stringify(await control.db.rows.all(sql`select previous, mode from services`))).toBe(JSON.stringify([{ previous: null, mode: null }]));
  });

  test("is taken over as the update says, until the file says something else", async () => {
    await put("one");
    expect((await put("two", { mode: "canary" })).body).toMatchObject({ version: 2, changed: true, mode: "canary" });
    expect(published()?.rollout?.mode).toBe("canary");
    // the same file once more leaves the canary alone; another way for the same file is a change
    expect((await put("two")).body).toMatchObject({ version: 2, changed: false, mode: "canary" });
    expect((await put("two", { mode: "rolling" })).body).toMatchObject({ version: 3, changed: true, replaces: false, mode: "rolling" });
    expect((await put("three")).body).toMatchObject({ version: 4, mode: "rolling" });
    expect((await put("three", { mode: "sideways" })).body.error.message).toContain("mode must be one of rolling, blue_green, canary, ab");
  });
});
