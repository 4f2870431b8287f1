import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sql } from "drizzle-orm";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { DecisionRecord } from "../schema/decision.ts";
import { keyDigest, keyId, newKey, pepperKey } from "../schema/key.ts";
import { enrolText, rotateText } from "../schema/protocol.ts";
import { toBase64 } from "../schema/seal.ts";
import type { RolloutStatus } from "../schema/scale.ts";
import type { RegionStatus, ScaleStatus, StatusReplica } from "../schema/snapshot.ts";
import { createApp } from "./app.ts";
import { openDatabase, type Database } from "./db.ts";
import { connectEdge } from "./edge.ts";
import { refuse, startEdge, take, type EdgeStandIn } from "./edgeStandIn.ts";
import { createPublisher, type Publisher } from "./publish.ts";
import { saveAdminKey } from "./queries/keys.ts";
import { openVault } from "./secrets.ts";

const yaml = "service: {model: m}\nrun: serve --port $PORT\n";
const admin = newKey("fla");
let now = 1_000_000;
let folder: string;
let db: Database;
let edge: EdgeStandIn;
let publisher: Publisher;
let app: ReturnType<typeof createApp>;

beforeEach(async () => {
  now = 1_000_000;
  folder = await mkdtemp(join(tmpdir(), "fairlead-control-"));
  db = await openDatabase(`file:${join(folder, "control.db")}`);
  edge = await startEdge("token");
  const pepper = await pepperKey("pepper");
  const vault = await openVault("a shared secret of some length");
  const clock = { now: () => now };
  await db.transact(async (rows) => saveAdminKey(rows, admin.id, await keyDigest(admin.key, pepper), now));
  const connected = connectEdge(edge.url, "token");
  publisher = createPublisher({ db, edge: connected, vault, regions: ["local"], clock, random: () => 0, log: () => undefined });
  app = createApp({ db, edge: connected, publisher, vault, pepper, clock, regions: ["local"], publicUrl: "https://ai.example", fleetUrl: "http://fleet.example", log: () => undefined });
});

afterEach(async () => {
  publisher.close();
  await edge.close();
  db.close();
  await rm(folder, { recursive: true });
});

/** A call with the admin key; its status and what it answered. */
async function call(method: string, path: string, body?: unknown, headers: Record<string, string> = { authorization: `Bearer ${admin.key}` }) {
  const response = await app.request(path, { method, headers: { "content-type": "application/json", ...headers }, ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }) });
  // oxlint-disable-next-line typescript/no-explicit-any -- answers are looked at field by field
  return { status: response.status, body: (await response.json()) as any, headers: response.headers };
}

function replica(number: number, more: Partial<StatusReplica> = {}): StatusReplica {
  return { id: `chat.local.${number}`, service: "chat", number, version: 1, phase: "ready", host: "h1", hostName: "box", since: 1, inFlight: 0, region: "local", restarts: 0, ...more };
}

const decision: DecisionRecord = {
  requestId: "req_1", at: 1, service: "chat", model: "m", account: "default", strategy: "availability_first", saturated: false, candidates: [{ id: "chat.local.1", upstream: "replicas" }],
  filtered: {}, attempts: [{ id: "chat.local.1", outcome: "answer", ms: 5 }], status: 200, upstream: "chat.local.1", ms: 6,
};

function hubWith(...replicas: StatusReplica[]): void {
  edge.regions = [{ region: "local", takenAt: 0, bundleVersion: 1, hosts: [], replicas, unplaced: [] }];
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

describe("services", () => {
  test("are created, updated when something changed, shown and taken down; versions never come again", async () => {
    expect(await call("PUT", "/v1/services/chat", { yaml })).toMatchObject({ status: 201, body: { name: "chat", version: 1, created: true, changed: true, replaces: false, desired: 1, warnings: [], published: true } });
    expect(await call("PUT", "/v1/services/chat", { yaml: `# the same\n${yaml}` })).toMatchObject({ status: 200, body: { version: 1, created: false, changed: false, published: true } });
    expect((await call("PUT", "/v1/services/chat", { yaml: yaml.replace("{model: m}", "{model: m, replicas: 2}") })).body).toMatchObject({ version: 2, changed: true, replaces: false });
    expect((await call("PUT", "/v1/services/chat", { yaml: yaml.replace("serve", "serve2") })).body).toMatchObject({ version: 3, changed: true, replaces: true });
    expect((await call("GET", "/v1/services")).body.services).toMatchObject([{ name: "chat", version: 3, models: ["m"] }]);
    expect((await call("GET", "/v1/services/chat")).body).toMatchObject({ yaml: yaml.replace("serve", "serve2") });
    expect(edge.bundles.at(-1)?.fleet.services[0]?.task).toMatchObject({ service: "chat", version: 3 });
    expect((await call("DELETE", "/v1/services/chat")).body).toMatchObject({ deleted: true, published: true });
    expect(edge.bundles.at(-1)?.route.services).toEqual([]);
    expect((await call("PUT", "/v1/services/chat", { yaml })).body).toMatchObject({ version: 4, created: true });
  });

  test("say what this version does not act on", async () => {
    const { body } = await call("PUT", "/v1/services/chat", { yaml: `${yaml}file_mounts: {/a: /b}` });
    expect(body.warnings).toMatchObject([{ line: 3, field: "file_mounts" }]);
  });

  test("may not claim a model that another one has", async () => {
    await call("PUT", "/v1/services/chat", { yaml });
    expect(await call("PUT", "/v1/services/other", { yaml })).toMatchObject({ status: 409, body: { error: { code: "conflict", message: 'Cannot publish model "m": service "chat" has it' } } });
  });

  test("keep their secrets: not in the database, an answer, or the bundle", async () => {
    const secret = "s3cr3t-value";
    const file = `service:\n  providers: [{name: p, endpoint: 'https://a.example/v1', api_key: ${secret}-1, headers: {X-Org: '$T', Authorization: ${secret}-4}}, {type: self-hosted, name: g}]\n  readiness_probe: {path: /, headers: {A: $T}}\nsecrets: {T: ${secret}-2, U: }\nrun: a $PORT`;
    const put = await call("PUT", "/v1/services/chat", { yaml: file, secrets: { U: `${secret}-3` } });
    expect(put.status).toBe(201);
    const shown = await call("GET", "/v1/services/chat");
    const disk = (await Promise.all(["control.db", "control.db-wal"].map((name) => readFile(join(folder, name), "latin1").catch(() => "")))).join("");
    expect(disk).toContain("a.example");
    for (const text of [JSON.stringify(put.body), JSON.stringify(shown.body), JSON.stringify(edge.bundles), disk]) expect(text).not.toContain(secret);
    expect(edge.bundles.at(-1)?.route.services[0]?.providers[0]).toMatchObject({ headers: {}, sealedApiKey: expect.any(String), sealedHeaders: expect.any(String) });
    // a new secret is a new version, whose replicas start again
    expect((await call("PUT", "/v1/services/chat", { yaml: file, secrets: { U: "other" } })).body).toMatchObject({ version: 2, changed: true, replaces: true });
  });

  test("are kept though the edge refuses or is away, and the caller is told", async () => {
    edge.answers = [refuse(422, "invalid_bundle", "no"), take];
    expect((await call("PUT", "/v1/services/chat", { yaml })).body).toMatchObject({ changed: true, published: false, refused: true, reason: "no" });
    expect((await call("GET", "/v1/services")).body.services).toHaveLength(1);
  });

  test("are not stored with an endpoint that the edge does not call", async () => {
    edge.refused.set("https://10.0.0.1/v1", "10.0.0.1 is a private address");
    const provider = (endpoint: string) => `service: {providers: [{name: ok, endpoint: 'https://a.example/v1'}, {name: inside, endpoint: '${endpoint}'}]}`;
    expect(await call("PUT", "/v1/services/chat", { yaml: provider("https://10.0.0.1/v1") })).toMatchObject({ status: 400, body: { error: { message: 'Cannot use the file of service "chat": provider "inside" has an endpoint that the edge does not call: 10.0.0.1 is a private address' } } });
    expect((await call("GET", "/v1/services")).body.services).toEqual([]);
    expect((await call("PUT", "/v1/services/chat", { yaml: provider("https://b.example/v1") })).body).toMatchObject({ created: true, published: true });
  });

  test("of an earlier version, whose specs lack what came later, are read with defaults and published", async () => {
    await call("PUT", "/v1/services/chat", { yaml: "service: {model: m, providers: [{name: p, endpoint: 'https://a.example/v1'}, {name: gpus, type: self-hosted}]}\nrun: a $PORT" });
    const { spec } = (await call("GET", "/v1/services/chat")).body;
    const { routing: _routing, own: _own, ...old } = spec;
    const stored = { ...old, timeouts: { ttftMs: 1_000, totalMs: 2_000 }, providers: [{ name: "p", endpoint: "https://a.example/v1", dialect: "openai" }] };
    await db.rows.run(sql`update services set spec = ${JSON.stringify(stored)}`);
    await call("POST", "/v1/keys", { name: "another change" });
    expect(edge.bundles.at(-1)?.route.services[0]).toMatchObject({
      timeouts: { ttftMs: 1_000, idleMs: 15_000, totalMs: 2_000 }, routing: { strategy: "availability_first", attempts: 3 }, replicas: { name: "replicas" }, providers: [{ weight: 1, fallback: false, headers: {} }],
    });
  });

  test("name the lines of all errors", async () => {
    const { body } = await call("PUT", "/v1/services/chat", { yaml: "service:\n  replica: 1\n  models: 2\nrun: a $PORT" });
    expect(body.error.message).toMatch(/chat:2:3: error.*\nchat:3:3: error/);
  });
});

describe("the version before", () => {
  const file = (run: string, more = ""): string => `service: {model: m${more}}\nrun: ${run} --port $PORT\nsecrets: {T: t}\n`;
  const put = (run: string, more?: Record<string, unknown>) => call("PUT", "/v1/services/chat", { yaml: file(run), ...more });
  const published = () => edge.bundles.at(-1)?.fleet.services[0];
  const told = (scale: Partial<ScaleStatus>): void => {
    edge.regions = [{ region: "local", takenAt: 0, bundleVersion: 1, hosts: [], replicas: [], unplaced: [], scales: [{ service: "chat", version: 1, desired: 1, decisions: [], ...scale }] }];
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
    if (scale === undefined) edge.regions = [];
    else told(scale);
    await put("three");
    expect(published()).toMatchObject({ task: { version: 3 }, previous: { task: { version } } });
  });

  test("is the one that all replicas run, though its Scaler has not said so yet", async () => {
    await put("one");
    told({ version: 1 });
    await put("two");
    told({ ...rollout(2, "progressing"), desired: 2 });
    const [region] = edge.regions as RegionStatus[];
    edge.regions = [{ ...(region as RegionStatus), replicas: [replica(1, { version: 2 }), replica(2, { version: 2 }), replica(3, { phase: "stopped" })] }];
    await put("three");
    expect(published()).toMatchObject({ task: { version: 3 }, previous: { task: { version: 2 } } });
    told({ ...rollout(3, "progressing"), desired: 1 });
    edge.regions = [{ ...(edge.regions as RegionStatus[])[0] as RegionStatus, replicas: [replica(4, { version: 3 }), replica(1, { version: 2 })] }];
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
    expect(JSON.stringify(await db.rows.all(sql`select previous, mode from services`))).toBe(JSON.stringify([{ previous: null, mode: null }]));
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

test("POST /v1/validate says what is wrong, and is no error itself", async () => {
  expect(await call("POST", "/v1/validate", { yaml: "service: {}" })).toMatchObject({ status: 200, body: { valid: false, problems: [{ line: 1, level: "error" }] } });
  expect(await call("POST", "/v1/validate", { yaml })).toMatchObject({ body: { valid: true, models: ["m"], problems: [] } });
});

test("keys are shown once, published by digest, and gone from the bundle when revoked", async () => {
  const { status, body } = await call("POST", "/v1/keys", { name: "mine", services: ["chat"], expiresAt: now + 1000 });
  expect(status).toBe(201);
  expect(keyId(body.key, "fl")).toBe(body.id);
  expect(edge.bundles.at(-1)?.route.keys).toMatchObject([{ id: body.id, account: "default", rights: ["inference"], services: ["chat"] }]);
  const listed = await call("GET", "/v1/keys");
  expect(listed.body.keys).toMatchObject([{ id: body.id, name: "mine" }]);
  expect(JSON.stringify(listed.body)).not.toMatch(new RegExp(`digest|${body.key}`));
  expect((await call("DELETE", `/v1/keys/${body.id}`)).body).toMatchObject({ revoked: true, published: true });
  expect(edge.bundles.at(-1)?.route.keys).toEqual([]);
  expect((await call("DELETE", `/v1/keys/${body.id}`)).status).toBe(404);
});

describe("enrolment", () => {
  async function agent() {
    const raw = async (key: CryptoKey) => toBase64(new Uint8Array((await crypto.subtle.exportKey("raw", key)) as ArrayBuffer));
    const pair = (await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"])) as CryptoKeyPair;
    const seal = (await crypto.subtle.generateKey("X25519", true, ["deriveBits"])) as CryptoKeyPair;
    const [publicKey, sealKey] = [await raw(pair.publicKey), await raw(seal.publicKey)];
    const request = async (token: string, signedFor = keyId(token, "flj") ?? "") => {
      const signature = toBase64(new Uint8Array(await crypto.subtle.sign("Ed25519", pair.privateKey, new TextEncoder().encode(enrolText(signedFor, publicKey, sealKey)))));
      return { token, name: "box", publicKey, sealKey, signature };
    };
    return { request, publicKey };
  }
  const invite = async () => (await call("POST", "/v1/hosts/invites", {})).body;
  const enrol = (request: unknown) => call("POST", "/v1/enrol", request, {});

  test("takes an invited host in, publishes it, and lets it go again", async () => {
    const invited = await invite();
    expect(invited.command).toBe("fairlead-agent join --control http://localhost --token-file -");
    expect(invited.expiresAt).toBe(now + 900_000);
    const { request, publicKey } = await agent();
    const { status, body } = await enrol(await request(invited.token));
    expect(status).toBe(201);
    expect(body).toEqual({ host: expect.stringMatching(/^host_/), region: "local", fleetUrl: "http://fleet.example" });
    expect(edge.bundles.at(-1)?.fleet.hosts).toEqual([{ id: body.host, name: "box", region: "local", publicKey, revoked: false }]);
    expect((await call("GET", "/v1/hosts")).body.hosts).toMatchObject([{ id: body.host, revokedAt: null }]);
    expect((await call("DELETE", `/v1/hosts/${body.host}`)).body).toMatchObject({ revoked: true, published: true });
    expect(edge.bundles.at(-1)?.fleet.hosts).toMatchObject([{ id: body.host, revoked: true }]);
  });

  test("wants a host empty, and no longer; the edge is told, and hears nothing new of what it knows", async () => {
    const { body: { host } } = await enrol(await (await agent()).request((await invite()).token));
    const drain = (draining: boolean, id: unknown = host) => call("PUT", `/v1/hosts/${String(id)}/draining`, { draining });
    expect((await drain(true)).body).toEqual({ id: host, name: "box", draining: true, published: true });
    expect(edge.bundles.at(-1)?.fleet.hosts).toMatchObject([{ id: host, draining: true }]);
    const since = (await call("GET", "/v1/hosts")).body.hosts;
    now += 60_000;
    await drain(true);
    expect((await call("GET", "/v1/hosts")).body.hosts).toEqual(since);
    expect((await drain(false)).body).toMatchObject({ draining: false });
    expect(edge.bundles.at(-1)?.fleet.hosts[0]).not.toHaveProperty("draining");
    expect((await drain(true, "none")).body.error.message).toBe('Cannot drain host "none": there is no such host, or it is revoked');
    await call("DELETE", `/v1/hosts/${String(host)}`);
    expect((await drain(true)).status).toBe(404);
  });

  test("of ten with one token takes exactly one", async () => {
    const { token } = await invite();
    const requests = await Promise.all(Array.from({ length: 10 }, async () => (await agent()).request(token)));
    const statuses = (await Promise.all(requests.map(enrol))).map(({ status }) => status);
    expect(statuses.toSorted((a, b) => a - b)).toEqual([201, ...Array(9).fill(403)]);
    expect((await call("GET", "/v1/hosts")).body.hosts).toHaveLength(1);
  });

  test("refuses a token that is too old, unknown, or of another kind", async () => {
    const { request } = await agent();
    const { token } = await invite();
    now += 900_001;
    expect((await enrol(await request(token))).body.error.message).toContain("older than 15 minutes");
    expect((await enrol(await request(newKey("flj").key))).body.error.message).toContain("is not known");
    for (const other of [admin.key, newKey("fl").key]) expect(await enrol(await request(other))).toMatchObject({ status: 401, body: { error: { param: "token" } } });
  });

  test("refuses a proof for another token or key, and leaves the token to its owner", async () => {
    const { request } = await agent();
    const { token } = await invite();
    const good = await request(token);
    const cases = [await request(token, "another"), { ...good, sealKey: toBase64(new Uint8Array(32)) }, { ...good, publicKey: (await agent()).publicKey }];
    for (const bad of cases) expect(await enrol(bad)).toMatchObject({ status: 403, body: { error: { code: "permission_denied", param: "signature" } } });
    for (const field of ["publicKey", "sealKey", "signature"]) expect(await enrol({ ...good, [field]: "AAAA" })).toMatchObject({ status: 400, body: { error: { param: field } } });
    expect((await enrol(good)).status).toBe(201);
  });

  test("seals a service's secrets to the host", async () => {
    const { request } = await agent();
    const { body } = await enrol(await request((await invite()).token));
    await call("PUT", "/v1/services/chat", { yaml: `${yaml}secrets: {T: shh}` });
    expect(Object.keys(edge.bundles.at(-1)?.fleet.services[0]?.sealedSecrets ?? {})).toEqual([body.host]);
    // and those of the version before, which may be gone back to
    await call("PUT", "/v1/services/chat", { yaml: `${yaml.replace("serve", "serve2")}secrets: {T: shh-2}` });
    expect(Object.keys(edge.bundles.at(-1)?.fleet.services[0]?.previous?.sealedSecrets ?? {})).toEqual([body.host]);
    expect(JSON.stringify(edge.bundles)).not.toContain("shh");
  });
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
    edge.regions = undefined;
    const started = performance.now();
    const { body } = await call("GET", "/v1/status");
    expect(performance.now() - started).toBeLessThan(1000);
    expect(body).toMatchObject({ edge: { reachable: false, reason: expect.stringContaining("no answer") }, services: [{ name: "chat", version: 1, status: "UNKNOWN" }] });
  });
});

describe("explain", () => {
  test("tells of a request what the edge remembers", async () => {
    edge.decisions.set("req_1", decision);
    expect(await call("GET", "/v1/explain/req_1")).toMatchObject({ status: 200, body: decision });
    expect(await call("GET", "/v1/explain/req_2")).toMatchObject({ status: 404, body: { error: { code: "not_found", param: "requestId", message: 'Cannot explain request "req_2": no hub remembers it' } } });
  });

  test("has a request weighed that is not sent", async () => {
    const asked: unknown[] = [];
    edge.dryRun = (request) => {
      asked.push(request);
      return { service: "chat", model: "m", account: "acme", strategy: "least_load", saturated: true, candidates: [], filtered: { a: "b" } };
    };
    expect(await call("POST", "/v1/explain", { body: { model: "m" }, account: "acme" })).toMatchObject({ status: 200, body: { strategy: "least_load", saturated: true, filtered: { a: "b" } } });
    expect(asked).toEqual([{ body: { model: "m" }, account: "acme" }]);
    expect(await call("POST", "/v1/explain", { model: "m" })).toMatchObject({ status: 400, body: { error: { code: "invalid_request" } } });
  });

  test("says that the edge is away", async () => {
    await edge.close();
    expect(await call("GET", "/v1/explain/req_1")).toMatchObject({ status: 503, body: { error: { code: "not_ready", message: expect.stringContaining("Cannot ask the edge: no answer from") } } });
  });
});

describe("replicas", () => {
  test("are removed by number, region and number, or id, and published as removed", async () => {
    await call("PUT", "/v1/services/chat", { yaml });
    hubWith(replica(1), replica(2), replica(3));
    for (const name of ["1", "local.2", "chat.local.3"]) expect((await call("DELETE", `/v1/services/chat/replicas/${name}`)).status).toBe(200);
    expect(edge.bundles.at(-1)?.fleet.removed.toSorted()).toEqual(["chat.local.1", "chat.local.2", "chat.local.3"]);
    expect(await call("DELETE", "/v1/services/chat/replicas/9")).toMatchObject({ status: 404, body: { error: { param: "replica" } } });
  });

  test("have logs: one as it is, several with their names", async () => {
    await call("PUT", "/v1/services/chat", { yaml });
    hubWith(replica(1), replica(12), replica(3, { phase: "failed" }));
    edge.logs = new Map([["chat.local.1", "a\nb\n"], ["chat.local.12", "c"], ["chat.local.3", "why\n"]]);
    const logs = async (query: string) => (await app.request(`/v1/services/chat/logs${query}`, { headers: { authorization: `Bearer ${admin.key}` } })).text();
    expect(await logs("?replica=1")).toBe("a\nb\n");
    expect(await logs("?replica=3")).toBe("why\n");
    expect((await logs("")).split("\n").toSorted()).toEqual(["", "chat.local.1  | a", "chat.local.1  | b", "chat.local.12 | c"]);
    edge.logs.delete("chat.local.12");
    expect(await logs("")).toContain("fairlead: cannot show the log of chat.local.12: ");
  });

  test("have logs that are followed until the reader goes", async () => {
    await call("PUT", "/v1/services/chat", { yaml });
    hubWith(replica(1));
    edge.logs = new Map([["chat.local.1", "a\n"]]);
    const response = await app.request("/v1/services/chat/logs?follow=1", { headers: { authorization: `Bearer ${admin.key}` } });
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

describe("what an operator signed", () => {
  const task = { run: "serve --port $PORT", envs: {}, drainMs: 120_000, gpus: 0, gate: "openai", probe: { path: "/", initialDelayMs: 1_200_000, timeoutMs: 15_000, intervalMs: 10_000, failureThresholdMs: 180_000, headers: {} } };
  const jws = (payload: unknown, header: object = { alg: "EdDSA", typ: "fairlead-spec+jws", kid: "k" }): string => [header, payload].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".").concat(".c2ln");
  const spec = (more: object = {}): object => ({ service: "chat", version: 1, signedAt: 1, replicasMax: 1, task, ...more });
  const put = (payload: object, header?: object) => call("PUT", "/v1/services/chat", { yaml, signed: { jws: jws(payload, header) } });

  test.each<[string, object, object | undefined, string]>([
    ["another service's", spec({ service: "other" }), undefined, "the file says something else of name"],
    ["of another command", spec({ task: { ...task, run: "other" } }), undefined, "the file says something else of run"],
    ["of more replicas", spec({ replicasMax: 2 }), undefined, "the file says something else of replicas"],
    ["of secrets that it has not", spec({ secrets: "x" }), undefined, "the file says something else of secrets"],
    ["with a field of another version", spec({ more: 1 }), undefined, "of different versions"],
    ["of another type", spec(), { alg: "EdDSA", typ: "JWT", kid: "k" }, "it is no signed spec"],
  ])("is refused when it is %s", async (_, payload, header, message) => {
    const answer = await put(payload, header);
    expect([answer.status, answer.body.error.message]).toEqual([400, expect.stringContaining(message)]);
  });

  test("is refused when the version has moved on meanwhile, and the next one is told", async () => {
    expect((await put(spec())).status).toBe(201);
    expect((await call("GET", "/v1/services/chat/signing")).body).toEqual({ next: 2, signed: true });
    const late = await call("PUT", "/v1/services/chat", { yaml: yaml.replace("m}", "n}"), signed: { jws: jws(spec()) } });
    expect([late.status, late.body.error.message]).toEqual([409, expect.stringContaining("it is version 1, and version 1 is there already; sign it again")]);
  });
});

describe("a host's keys", () => {
  const pair = async () => {
    const made = (await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"])) as CryptoKeyPair;
    const sign = async (text: string) => toBase64(new Uint8Array(await crypto.subtle.sign("Ed25519", made.privateKey, new TextEncoder().encode(text))));
    return { publicKey: toBase64(new Uint8Array((await crypto.subtle.exportKey("raw", made.publicKey)) as ArrayBuffer)), sign };
  };
  const sealKey = toBase64(new Uint8Array(32).fill(9));
  type Pair = Awaited<ReturnType<typeof pair>>;
  const hostOf = (id: string) => edge.bundles.at(-1)?.fleet.hosts.find((one) => one.id === id);

  async function enrolled(): Promise<{ host: string; old: Pair }> {
    const old = await pair();
    const { token } = (await call("POST", "/v1/hosts/invites", {})).body as { token: string };
    const signature = await old.sign(enrolText(keyId(token, "flj") ?? "", old.publicKey, sealKey));
    return { host: (await call("POST", "/v1/enrol", { token, name: "box", publicKey: old.publicKey, sealKey, signature })).body.host as string, old };
  }
  const rotateTo = async (host: string, old: Pair, next: Pair, { onFile = old.publicKey } = {}) => {
    const text = rotateText(host, onFile, next.publicKey, sealKey);
    return call("POST", "/v1/enrol/rotate", { host, publicKey: next.publicKey, sealKey, signature: await next.sign(text), previousSignature: await old.sign(text) }, {});
  };

  test("are replaced by ones that both prove, overlap for a day, and a repeated call changes nothing", async () => {
    const { host, old } = await enrolled();
    const next = await pair();
    const first = await rotateTo(host, old, next);
    expect([first.status, first.body]).toEqual([200, { previousUntil: now + 86_400_000 }]);
    await edge.bundle((sent) => sent.fleet.hosts.some((one) => one.previousKey !== undefined));
    expect(hostOf(host)).toMatchObject({ publicKey: next.publicKey, previousKey: { publicKey: old.publicKey, until: now + 86_400_000 } });
    now += 1_000;
    expect((await rotateTo(host, old, next)).body).toEqual(first.body);
    // the old key is for the links of a day, not for making yet another one
    expect((await rotateTo(host, old, await pair())).status).toBe(403);
    expect((await rotateTo(host, next, await pair())).status).toBe(200);
  });

  test("are not replaced without the old one, without the new one, or of a revoked host", async () => {
    const { host, old } = await enrolled();
    const [thief, next] = [await pair(), await pair()];
    expect((await rotateTo(host, thief, next, { onFile: old.publicKey })).status).toBe(403);
    expect((await rotateTo(host, old, { ...next, sign: thief.sign })).status).toBe(403);
    expect((await rotateTo("host_nobody", old, next)).status).toBe(403);
    await call("DELETE", `/v1/hosts/${host}`);
    expect((await rotateTo(host, old, next)).status).toBe(403);
    expect(hostOf(host)).toMatchObject({ publicKey: old.publicKey, revoked: true });
  });

  test("a host that was shut out is let back in by a number that its hub compares, and a revoked one is not", async () => {
    const { host } = await enrolled();
    for (const releases of [1, 2]) {
      expect((await call("POST", `/v1/hosts/${host}/release`)).status).toBe(200);
      expect(hostOf(host)?.releases).toBe(releases);
    }
    await call("DELETE", `/v1/hosts/${host}`);
    expect((await call("POST", `/v1/hosts/${host}/release`)).status).toBe(404);
  });
});
