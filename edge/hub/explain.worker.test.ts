import { evictDurableObject } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { DecisionRecord } from "../../schema/decision.ts";
import { bundle, fleetService, newHost, publish, replicaState, routeService, self, soon, TestLink, world } from "../../test/worker/world.ts";
import { forgetDecisions, noteDecision } from "../decisions.ts";
import { forgetView } from "../view.ts";

let version = Date.now();
const next = (): number => ++version;
const hub = (region = "local"): ReturnType<typeof world.HUB.getByName> => world.HUB.getByName(region);

let count = 0;
function record(more: Partial<DecisionRecord> = {}): DecisionRecord {
  return {
    requestId: `req_${++count}`, at: 1, service: "chat", model: "chat", account: "default", strategy: "availability_first", saturated: false,
    candidates: [{ id: "chat.local.1", upstream: "replicas", score: { total: 1, parts: { load: 1 } } }, { id: "vendor", upstream: "vendor" }],
    filtered: { "chat.local.2": "phase is starting" }, attempts: [{ id: "chat.local.1", outcome: "answer", ms: 5 }], status: 200, upstream: "chat.local.1", ms: 6,
    ...more,
  };
}

async function internal(path: string, body?: unknown): Promise<{ status: number; body: unknown }> {
  const response = await self.fetch(`http://router/internal${path}`, { method: body === undefined ? "GET" : "POST", headers: { authorization: `Bearer ${world.FAIRLEAD_CONTROL_TOKEN}` }, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  return { status: response.status, body: await response.json() };
}

beforeEach(() => {
  forgetDecisions();
  forgetView();
});
afterEach(async () => {
  vi.restoreAllMocks();
  await publish(bundle(next(), {}));
});

describe("Hub: decisions", () => {
  test("explain() gives back what record() was told, and says what it keeps", async () => {
    const [one, two] = [record(), record({ status: 429 })];
    await hub().record([one, two]);
    expect(await hub().explain(two.requestId)).toMatchObject({ decision: two, keptMax: 2_000 });
    expect(await hub().explain("req_none")).not.toHaveProperty("decision");
  });

  test("the oldest go when there are more than it keeps", async () => {
    const records = Array.from({ length: 2_001 }, () => record());
    for (let at = 0; at < records.length; at += 500) await hub().record(records.slice(at, at + 500));
    expect(await hub().explain(records[0]?.requestId ?? "")).toMatchObject({ kept: 2_000, keptMax: 2_000 });
    expect(await hub().explain(records[0]?.requestId ?? "")).not.toHaveProperty("decision");
    expect((await hub().explain(records[1]?.requestId ?? "")).decision?.requestId).toBe(records[1]?.requestId);
  });

  test("a Hub that was evicted has forgotten, and says since when it remembers", async () => {
    const one = record();
    const before = Date.now();
    await hub().record([one]);
    await evictDurableObject(hub());
    const after = await hub().explain(one.requestId);
    expect(after).toMatchObject({ kept: 0 });
    expect(after).not.toHaveProperty("decision");
    expect(after.since).toBeGreaterThanOrEqual(before);
  });
});

describe("noteDecision()", () => {
  const request = new Request("http://router/");

  test("sends what has come together in one call, behind an answer", async () => {
    const works: Promise<unknown>[] = [];
    const getByName = vi.spyOn(world.HUB, "getByName");
    const records = Array.from({ length: 60 }, () => record());
    for (const one of records) noteDecision(world, request, (work) => works.push(work), Date.now(), () => one);
    expect(getByName).not.toHaveBeenCalled();
    await Promise.all(works);
    expect([works.length, getByName.mock.calls.length]).toEqual([1, 1]);
    for (const one of [records[0], records[59]]) expect((await hub().explain(one?.requestId ?? "")).decision).toEqual(one);
  });

  test("keeps so many and no more until they are sent: the first of them", async () => {
    const works: Promise<unknown>[] = [];
    const records = Array.from({ length: 201 }, () => record());
    for (const one of records) noteDecision(world, request, (work) => works.push(work), Date.now(), () => one);
    await Promise.all(works);
    expect((await hub().explain(records[199]?.requestId ?? "")).decision).toBeDefined();
    expect((await hub().explain(records[200]?.requestId ?? "")).decision).toBeUndefined();
  });

  test("a Hub that does not answer costs nobody anything, and the next decisions are sent again", async () => {
    vi.spyOn(console, "warn").mockImplementation(() => undefined);
    const broken = vi.spyOn(world.HUB, "getByName").mockImplementation(() => {
      throw new Error("away");
    });
    const works: Promise<unknown>[] = [];
    noteDecision(world, request, (work) => works.push(work), Date.now(), record);
    await Promise.all(works);
    broken.mockRestore();
    const later = record();
    noteDecision(world, request, (work) => works.push(work), Date.now(), () => later);
    await Promise.all(works);
    expect((await hub().explain(later.requestId)).decision).toEqual(later);
  });
});

describe("router: explain", () => {
  test("a request that any region's Hub was told of", async () => {
    const [near, far] = [record(), record()];
    await hub("local").record([near]);
    await hub("weur").record([far]);
    expect(await internal(`/explain/${near.requestId}`)).toEqual({ status: 200, body: near });
    expect(await internal(`/explain/${far.requestId}`)).toEqual({ status: 200, body: far });
  });

  test("says which Hubs were asked for one that none knows, and what they keep", async () => {
    const { status, body } = await internal("/explain/req_unknown");
    expect(status).toBe(404);
    expect(body).toMatchObject({ error: { code: "not_found", param: "requestId", message: expect.stringMatching(/no hub remembers it.*local remembers .*; weur remembers /) } });
  });

  test("needs control's token", async () => {
    expect((await self.fetch("http://router/internal/explain/req_1")).status).toBe(401);
    expect((await self.fetch("http://router/internal/explain", { method: "POST", body: "{}" })).status).toBe(401);
  });

  test("weighs a request and sends nothing", async () => {
    const host = await newHost("host_explain");
    const service = routeService("weigh", { replicas: { name: "gpus" }, providers: [{ name: "vendor", endpoint: "https://vendor.example/v1", dialect: "openai" }] });
    await publish(bundle(next(), { services: [service], hosts: [host], fleet: [fleetService("weigh", 2)] }));
    const link = await TestLink.join(host);
    const { replicas, generation } = await link.assigned(2);
    link.beat(replicas.map((one, i) => replicaState(one, i === 0 ? { load: { running: 1, queueDepth: 0 } } : { phase: "starting" })), { generation });
    await soon("a ready replica", 20_000, async () => (await hub().snapshot()).replicas.find(({ service: of, phase }) => of === "weigh" && phase === "ready"));
    const { status, body } = await internal("/explain", { body: { model: "weigh", messages: [{ role: "user", content: "hi" }] }, account: "acme" });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      service: "weigh", model: "weigh", account: "acme", strategy: "availability_first", saturated: false,
      candidates: [{ id: replicas[0]?.id, upstream: "gpus", score: { total: expect.any(Number) } }, { id: "vendor", upstream: "vendor" }],
      filtered: { [replicas[1]?.id ?? ""]: "phase is starting" },
    });
    expect(body).not.toHaveProperty("attempts");
  });

  test.each<[string, unknown, number, string]>([
    ["no model", { body: {} }, 400, '"model" is missing'],
    ["an unknown model", { body: { model: "none" } }, 404, 'there is no model "none"'],
    ["no body", {}, 400, "body"],
    ["a field too many", { body: {}, send: true }, 400, "send"],
  ])("refuses to weigh %s", async (_name, request, status, message) => {
    const answer = await internal("/explain", request);
    expect([answer.status, JSON.stringify(answer.body).replaceAll('\\"', '"')]).toEqual([status, expect.stringContaining(message)]);
  });
});

describe("router: endpoints that are not called", () => {
  const inner = "https://10.0.0.1/v1";

  test("a bundle with one is refused, by service and provider, and the last good one stays", async () => {
    const good = next();
    await publish(bundle(good, { services: [routeService("kept")] }));
    const response = await publish(bundle(next(), { services: [routeService("kept"), routeService("bad", { providers: [{ name: "inside", endpoint: inner, dialect: "openai" }] })] }));
    expect(response.status).toBe(422);
    expect(await response.json()).toMatchObject({ error: { code: "invalid_bundle", message: expect.stringMatching(/provider "inside" of service "bad" .*10\.0\.0\.1 is a private address/) } });
    expect((await hub().view(0)).bundleVersion).toBe(good);
  });

  test("are named when control asks before it stores a service", async () => {
    expect(await internal("/endpoints", { endpoints: ["https://api.example.com/v1", inner] })).toEqual({ status: 200, body: { reasons: [null, expect.stringContaining("private address")] } });
    expect((await internal("/endpoints", { endpoints: 3 })).status).toBe(400);
  });
});
