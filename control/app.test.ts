import { describe, expect, test } from "vitest";
import type { DecisionRecord } from "../schema/decision.ts";
import { keyId, newKey } from "../schema/key.ts";
import type { StatusReplica } from "../schema/snapshot.ts";
import { admin, caller, controlUnderTest, yaml } from "../test/control.ts";
import { addHost } from "./queries/hosts.ts";

const control = controlUnderTest();
const call = caller(control);

function replica(number: number, more: Partial<StatusReplica> = {}): StatusReplica {
  return { id: `chat.local.${number}`, service: "chat", number, version: 1, phase: "ready", host: "h1", hostName: "box", since: 1, inFlight: 0, region: "local", restarts: 0, ...more };
}

const decision: DecisionRecord = {
  requestId: "req_1", at: 1, service: "chat", model: "m", account: "default", strategy: "availability_first", saturated: false, candidates: [{ id: "chat.local.1", upstream: "replicas" }],
  filtered: {}, attempts: [{ id: "chat.local.1", outcome: "answer", ms: 5 }], status: 200, upstream: "chat.local.1", ms: 6,
};

function hubWith(...replicas: StatusReplica[]): void {
  control.edge.regions = [{ region: "local", takenAt: 0, bundleVersion: 1, hosts: [], replicas, unplaced: [] }];
}

describe("who may call", () => {
  test("GET /healthz answers anyone", async () => {
    expect(await call("GET", "/healthz", undefined, {})).toMatchObject({ status: 200, body: { status: "ok" } });
  });

  const stranger = newKey("fla").key;
  test.each<[string, Record<string, string>, string]>([
    ["no key", {}, "without an admin key"],
    ["an inference key", { authorization: `Bearer ${newKey("fl").key}` }, "with an inference key"],
    ["an admin key of elsewhere", { authorization: `Bearer ${stranger}` }, "is not known"],
    ["a key with a typing error", { authorization: `Bearer ${admin.key.slice(0, -1)}!` }, "is not known"],
    ["another secret under a known id", { authorization: `Bearer fla_${admin.id}_${stranger.slice(15)}` }, "is not known"],
    ["another scheme", { authorization: `Basic ${admin.key}` }, "without an admin key"],
  ])("%s: 401", async (_name, headers, message) => {
    for (const [method, path] of [["GET", "/v1/services"], ["PUT", "/v1/services/chat"], ["GET", "/v1/status"], ["POST", "/v1/keys"], ["POST", "/v1/hosts/invites"], ["POST", "/v1/validate"], ["GET", "/v1/explain/req_1"], ["POST", "/v1/explain"]] as const) {
      const { status, body, headers: answered } = await call(method, path, method === "GET" ? undefined : {}, headers);
      expect([status, body.error.code, answered.get("x-should-retry")]).toEqual([401, "invalid_api_key", "false"]);
      expect(body.error.message).toContain(message);
    }
  });

  test("the admin key is taken as x-api-key too", async () => {
    expect((await call("GET", "/v1/services", undefined, { "x-api-key": admin.key })).status).toBe(200);
  });
});

describe("requests that cannot be read", () => {
  test.each<[string, string, unknown, number, string, string]>([
    ["PUT", "/v1/services/chat", "{", 400, "invalid_json", "it is not JSON"],
    ["PUT", "/v1/services/chat", undefined, 400, "invalid_request", "yaml is missing"],
    ["PUT", "/v1/services/chat", { yaml, secret: {} }, 400, "invalid_request", "secret is not a known field; did you mean secrets?"],
    ["PUT", "/v1/services/chat", { yaml: 3 }, 400, "invalid_request", "yaml must be text"],
    ["PUT", "/v1/services/Chat", { yaml }, 400, "invalid_request", "is not a service name"],
    ["PUT", "/v1/services/chat", { yaml: "service: {replica: 1}\nrun: a $PORT" }, 400, "invalid_request", "chat:1:11: error: service.replica: is not a known field; did you mean replicas?"],
    ["PUT", "/v1/services/chat", { yaml: "x".repeat(3_000_000) }, 413, "body_too_large", "over 2097152 bytes"],
    ["POST", "/v1/keys", { name: "" }, 400, "invalid_request", "name must not be empty"],
    ["POST", "/v1/keys", { name: "a", rights: ["everything"] }, 400, "invalid_request", "rights[0] must be one of inference, metrics"],
    ["POST", "/v1/keys", { name: "a\u001B[2J" }, 400, "invalid_request", "name must not hold control characters"],
    ["POST", "/v1/keys", { name: "a", services: [] }, 400, "invalid_request", "services must not be empty"],
    ["POST", "/v1/keys", { name: "a", expiresAt: 5 }, 400, "invalid_request", 'Cannot make key "a": it would have expired at 1970-01-01T00:00:00.005Z'],
    ["POST", "/v1/keys", { name: "a", expiresAt: 8_640_000_000_000_001 }, 400, "invalid_request", "expiresAt must be at most 8640000000000000"],
    ["PUT", "/v1/services/chat", { yaml, envs: { "A B": "c" } }, 400, "invalid_request", "envs.A B: is not a name of an environment variable"],
    ["PUT", "/v1/services/chat", { yaml, secrets: { "": "c" } }, 400, "invalid_request", "is not a name of an environment variable"],
    ["POST", "/v1/hosts/invites", { name: "a\nb" }, 400, "invalid_request", "name must not hold control characters"],
    ["POST", "/v1/hosts/invites", { region: "mars" }, 400, "invalid_request", "region must be one of"],
    ["POST", "/v1/hosts/invites", { region: "weur" }, 400, "invalid_request", "this fleet's regions are local"],
    ["POST", "/v1/enrol", { token: "x" }, 400, "invalid_request", "publicKey is missing"],
    ["DELETE", "/v1/keys/none", undefined, 404, "not_found", "there is no such key"],
    ["DELETE", "/v1/hosts/none", undefined, 404, "not_found", "there is no such host"],
    ["DELETE", "/v1/services/none", undefined, 404, "service_not_found", 'Cannot take down service "none"'],
    ["GET", "/v1/services/none", undefined, 404, "service_not_found", 'Cannot show service "none"'],
    ["GET", "/v1/nothing", undefined, 404, "not_found", "there is no such path"],
    ["GET", "/v1/services/none/logs?tail=x", undefined, 400, "invalid_request", "tail"],
  ])("%s %s %j: %i", async (method, path, body, status, code, message) => {
    const answer = await call(method, path, body);
    expect([answer.status, answer.body.error.code]).toEqual([status, code]);
    expect(answer.body.error.message).toContain(message);
    expect(Object.keys(answer.body.error)).toEqual(["message", "type", "param", "code"]);
  });
});

test("POST /v1/validate says what is wrong, and is no error itself", async () => {
  expect(await call("POST", "/v1/validate", { yaml: "service: {}" })).toMatchObject({ status: 200, body: { valid: false, problems: [{ line: 1, level: "error" }] } });
  expect(await call("POST", "/v1/validate", { yaml })).toMatchObject({ body: { valid: true, models: ["m"], problems: [] } });
});

test("keys are shown once, published by digest, and gone from the bundle when revoked", async () => {
  const { status, body } = await call("POST", "/v1/keys", { name: "mine", services: ["chat"], expiresAt: control.now + 1000 });
  expect(status).toBe(201);
  expect(keyId(body.key, "fl")).toBe(body.id);
  expect(control.edge.bundles.at(-1)?.route.keys).toMatchObject([{ id: body.id, account: "default", rights: ["inference"], services: ["chat"] }]);
  const listed = await call("GET", "/v1/keys");
  expect(listed.body.keys).toMatchObject([{ id: body.id, name: "mine" }]);
  expect(JSON.stringify(listed.body)).not.toMatch(new RegExp(`digest|${body.key}`));
  expect((await call("DELETE", `/v1/keys/${body.id}`)).body).toMatchObject({ revoked: true, published: true });
  expect(control.edge.bundles.at(-1)?.route.keys).toEqual([]);
  expect((await call("DELETE", `/v1/keys/${body.id}`)).status).toBe(404);
});

describe("status", () => {
  test("joins what control and the hubs know, of the services asked for", async () => {
    await call("PUT", "/v1/services/chat", { yaml });
    await call("PUT", "/v1/services/other", { yaml: yaml.replace("model: m", "model: n") });
    hubWith(replica(1));
    const { body } = await call("GET", "/v1/status?services=chat");
    expect(body).toMatchObject({ endpoint: "https://ai.example/v1", edge: { reachable: true, bundleVersions: { local: 1 } }, services: [{ name: "chat", status: "READY", ready: 1, desired: 1 }] });
    expect((await call("GET", "/v1/status")).body.services).toHaveLength(2);
  });

  test("answers without the edge, within a second, though it hangs", async () => {
    await call("PUT", "/v1/services/chat", { yaml });
    control.edge.regions = undefined;
    const started = performance.now();
    const { body } = await call("GET", "/v1/status");
    expect(performance.now() - started).toBeLessThan(1000);
    expect(body).toMatchObject({ edge: { reachable: false, reason: expect.stringContaining("no answer") }, services: [{ name: "chat", version: 1, status: "UNKNOWN" }] });
  });
});

describe("explain", () => {
  test("tells of a request what the edge remembers", async () => {
    control.edge.decisions.set("req_1", decision);
    expect(await call("GET", "/v1/explain/req_1")).toMatchObject({ status: 200, body: decision });
    expect(await call("GET", "/v1/explain/req_2")).toMatchObject({ status: 404, body: { error: { code: "not_found", param: "requestId", message: 'Cannot explain request "req_2": no hub remembers it' } } });
  });

  test("has a request weighed that is not sent", async () => {
    const asked: unknown[] = [];
    control.edge.dryRun = (request) => {
      asked.push(request);
      return { service: "chat", model: "m", account: "acme", strategy: "least_load", saturated: true, candidates: [], filtered: { a: "b" } };
    };
    expect(await call("POST", "/v1/explain", { body: { model: "m" }, account: "acme" })).toMatchObject({ status: 200, body: { strategy: "least_load", saturated: true, filtered: { a: "b" } } });
    expect(asked).toEqual([{ body: { model: "m" }, account: "acme" }]);
    expect(await call("POST", "/v1/explain", { model: "m" })).toMatchObject({ status: 400, body: { error: { code: "invalid_request" } } });
  });

  test("says that the edge is away", async () => {
    await control.edge.close();
    expect(await call("GET", "/v1/explain/req_1")).toMatchObject({ status: 503, body: { error: { code: "not_ready", message: expect.stringContaining("Cannot ask the edge: no answer from") } } });
  });
});

describe("replicas", () => {
  test("are removed by number, region and number, or id, and published as removed", async () => {
    await call("PUT", "/v1/services/chat", { yaml });
    hubWith(replica(1), replica(2), replica(3));
    for (const name of ["1", "local.2", "chat.local.3"]) expect((await call("DELETE", `/v1/services/chat/replicas/${name}`)).status).toBe(200);
    expect(control.edge.bundles.at(-1)?.fleet.removed.toSorted()).toEqual(["chat.local.1", "chat.local.2", "chat.local.3"]);
    expect(await call("DELETE", "/v1/services/chat/replicas/9")).toMatchObject({ status: 404, body: { error: { param: "replica" } } });
  });

  test("have logs: one as it is, several with their names", async () => {
    await call("PUT", "/v1/services/chat", { yaml });
    hubWith(replica(1), replica(12), replica(3, { phase: "failed" }));
    control.edge.logs = new Map([["chat.local.1", "a\nb\n"], ["chat.local.12", "c"], ["chat.local.3", "why\n"]]);
    const logs = async (query: string) => (await control.app.request(`/v1/services/chat/logs${query}`, { headers: { authorization: `Bearer ${admin.key}` } })).text();
    expect(await logs("?replica=1")).toBe("a\nb\n");
    expect(await logs("?replica=3")).toBe("why\n");
    expect((await logs("")).split("\n").toSorted()).toEqual(["", "chat.local.1  | a", "chat.local.1  | b", "chat.local.12 | c"]);
    control.edge.logs.delete("chat.local.12");
    expect(await logs("")).toContain("fairlead: cannot show the log of chat.local.12: ");
  });

  test("have logs that are followed until the reader goes", async () => {
    await call("PUT", "/v1/services/chat", { yaml });
    hubWith(replica(1));
    control.edge.logs = new Map([["chat.local.1", "a\n"]]);
    const response = await control.app.request("/v1/services/chat/logs?follow=1", { headers: { authorization: `Bearer ${admin.key}` } });
    const reader = response.body?.getReader();
    expect(new TextDecoder().decode((await reader?.read())?.value)).toBe("a\n");
    await reader?.cancel();
  });

  test("without a log to show are an error that says why", async () => {
    await call("PUT", "/v1/services/chat", { yaml });
    hubWith();
    expect(await call("GET", "/v1/services/chat/logs")).toMatchObject({ status: 503, body: { error: { code: "no_replica" } } });
    hubWith(replica(1));
    expect(await call("GET", "/v1/services/chat/logs")).toMatchObject({ status: 502, body: { error: { message: expect.stringContaining("no log of chat.local.1") } } });
    expect((await call("GET", "/v1/services/none/logs")).status).toBe(404);
  });
});

test("a host's log is not waited for where the edge says nothing", async () => {
  await control.db.transact((rows) => addHost(rows, { id: "h1", name: "box", region: "local", publicKey: "", sealKey: "", createdAt: 0, revokedAt: null, drainingAt: null }));
  control.edge.agentLogs.set("h1", "a\n");
  expect(await (await control.app.request("/v1/hosts/box/logs", { headers: { authorization: `Bearer ${admin.key}` } })).text()).toBe("a\n");
  control.edge.regions = undefined;
  expect(await call("GET", "/v1/hosts/box/logs")).toMatchObject({ status: 503, body: { error: { code: "not_ready", message: `Cannot show the log of host "box": no answer from ${control.edge.url}: it took too long` } } });
});
