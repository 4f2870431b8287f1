import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { sql } from "drizzle-orm";
import { describe, expect, test } from "vitest";
import { caller, controlUnderTest, yaml } from "../../test/control.ts";
import { refuse, take } from "../edgeStandIn.ts";

const control = controlUnderTest();
const call = caller(control);

describe("services", () => {
  test("are created, updated when something changed, shown and taken down; versions never come again", async () => {
    expect(await call("PUT", "/v1/services/chat", { yaml })).toMatchObject({ status: 201, body: { name: "chat", version: 1, created: true, changed: true, replaces: false, desired: 1, warnings: [], published: true } });
    expect(await call("PUT", "/v1/services/chat", { yaml: `# the same\n${yaml}` })).toMatchObject({ status: 200, body: { version: 1, created: false, changed: false, published: true } });
    expect((await call("PUT", "/v1/services/chat", { yaml: yaml.replace("{model: m}", "{model: m, replicas: 2}") })).body).toMatchObject({ version: 2, changed: true, replaces: false });
    expect((await call("PUT", "/v1/services/chat", { yaml: yaml.replace("serve", "serve2") })).body).toMatchObject({ version: 3, changed: true, replaces: true });
    expect((await call("GET", "/v1/services")).body.services).toMatchObject([{ name: "chat", version: 3, models: ["m"] }]);
    expect((await call("GET", "/v1/services/chat")).body).toMatchObject({ yaml: yaml.replace("serve", "serve2") });
    expect(control.edge.bundles.at(-1)?.fleet.services[0]?.task).toMatchObject({ service: "chat", version: 3 });
    expect((await call("DELETE", "/v1/services/chat")).body).toMatchObject({ deleted: true, published: true });
    expect(control.edge.bundles.at(-1)?.route.services).toEqual([]);
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
    const disk = (await Promise.all(["control.db", "control.db-wal"].map((name) => readFile(join(control.folder, name), "latin1").catch(() => "")))).join("");
    expect(disk).toContain("a.example");
    for (const text of [JSON.stringify(put.body), JSON.stringify(shown.body), JSON.stringify(control.edge.bundles), disk]) expect(text).not.toContain(secret);
    expect(control.edge.bundles.at(-1)?.route.services[0]?.providers[0]).toMatchObject({ headers: {}, sealedApiKey: expect.any(String), sealedHeaders: expect.any(String) });
    // a new secret is a new version, whose replicas start again
    expect((await call("PUT", "/v1/services/chat", { yaml: file, secrets: { U: "other" } })).body).toMatchObject({ version: 2, changed: true, replaces: true });
  });

  test("are kept though the edge refuses or is away, and the caller is told", async () => {
    control.edge.answers = [refuse(422, "invalid_bundle", "no"), take];
    expect((await call("PUT", "/v1/services/chat", { yaml })).body).toMatchObject({ changed: true, published: false, refused: true, reason: "no" });
    expect((await call("GET", "/v1/services")).body.services).toHaveLength(1);
  });

  test("are not stored with an endpoint that the edge does not call", async () => {
    control.edge.refused.set("https://10.0.0.1/v1", "10.0.0.1 is a private address");
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
    await control.db.rows.run(sql`update services set spec = ${JSON.stringify(stored)}`);
    await call("POST", "/v1/keys", { name: "another change" });
    expect(control.edge.bundles.at(-1)?.route.services[0]).toMatchObject({
      timeouts: { ttftMs: 1_000, idleMs: 15_000, totalMs: 2_000 }, routing: { strategy: "availability_first", attempts: 3 }, replicas: { name: "replicas" }, providers: [{ weight: 1, fallback: false, headers: {} }],
    });
  });

  test("name the lines of all errors", async () => {
    const { body } = await call("PUT", "/v1/services/chat", { yaml: "service:\n  replica: 1\n  models: 2\nrun: a $PORT" });
    expect(body.error.message).toMatch(/chat:2:3: error.*\nchat:3:3: error/);
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
