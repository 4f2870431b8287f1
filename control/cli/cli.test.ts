import { execFile, spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compactVerify, importSPKI } from "jose";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { DecisionRecord } from "../../schema/decision.ts";
import { keyId, newKey } from "../../schema/key.ts";
import type { SignedSpec } from "../../schema/signedSpec.ts";
import type { RegionStatus, ScaleStatus, StatusReplica } from "../../schema/snapshot.ts";
import type { TrafficRow } from "../../schema/telemetry.ts";
import { refuse, startEdge, type EdgeStandIn } from "../edgeStandIn.ts";
import { readEnvironment } from "../environment.ts";
import { startControl, type Control } from "../start.ts";

const bin = fileURLToPath(new URL("./fairlead.mjs", import.meta.url));
const adminKey = newKey("fla").key;
const yaml = "service: {model: m}\nrun: serve --port $PORT\n";
let root: string;
let folder: string;
let edge: EdgeStandIn;
let control: Control;
let scales: ScaleStatus[] = [];
/** How the stand-in's hub reports each replica that the last bundle asks for. */
let traffic: TrafficRow[] = [];
let phaseOf: (replica: Pick<StatusReplica, "service" | "number">) => Partial<StatusReplica>;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "fairlead-cli-"));
});

beforeEach(async () => {
  folder = await mkdtemp(join(root, "case-"));
  await writeFile(join(folder, "chat.yaml"), yaml);
  phaseOf = () => ({});
  traffic = [];
  scales = [];
  edge = await startEdge("a token for control");
  edge.regions = () => {
    const bundle = edge.bundles.at(-1);
    const replicas = (bundle?.fleet.services ?? []).flatMap(({ task, replicas: wanted }) =>
      Array.from({ length: wanted.local ?? 0 }, (_, i): StatusReplica => {
        const number = task.version * 10 + i;
        return { id: `${task.service}.local.${number}`, service: task.service, number, version: task.version, phase: "ready", host: "h1", hostName: "box", since: Date.now() - 65_000, launchedAt: Date.now() - 200_000, inFlight: 0, region: "local", restarts: 0, ...phaseOf({ service: task.service, number }) };
      }),
    );
    return [{ region: "local", takenAt: Date.now(), bundleVersion: bundle?.route.version ?? 0, hosts: [], replicas, unplaced: [], traffic, scales } satisfies RegionStatus];
  };
  control = await startControl(
    readEnvironment({
      FAIRLEAD_CONTROL_PORT: "0",
      FAIRLEAD_DATABASE_URL: `file:${join(folder, "control.db")}`,
      FAIRLEAD_EDGE_URL: edge.url,
      FAIRLEAD_PUBLIC_URL: "https://ai.example",
      FAIRLEAD_FLEET_URL: "http://fleet.example",
      FAIRLEAD_REGIONS: "local",
      FAIRLEAD_KEY_PEPPER: "a pepper for digests",
      FAIRLEAD_CONTROL_TOKEN: "a token for control",
      FAIRLEAD_SHARED_KEY: "a shared secret of some length",
      FAIRLEAD_ADMIN_KEY: adminKey,
    }),
    () => undefined,
  );
});

afterEach(async () => {
  await control.close();
  await edge.close();
});

afterAll(() => rm(root, { recursive: true }));

interface Ran {
  code: number;
  out: string;
  err: string;
}

/** The bin as a process of its own, in the test's folder, with nothing of this machine's settings. */
function fairlead(args: string[], variables: Record<string, string> = { FAIRLEAD_CONTROL_URL: control.url, FAIRLEAD_ADMIN_KEY: adminKey }): Promise<Ran> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [bin, ...args], { cwd: folder, env: { PATH: process.env["PATH"], HOME: folder, ...variables } }, (error, out, err) => {
      resolve({ code: error === null ? 0 : Number(error.code), out, err });
    });
    child.stdin?.end();
  });
}

describe("fairlead up --sign-key", () => {
  const signedOf = () => edge.bundles.at(-1)?.fleet.services[0]?.task.signed ?? "";

  test("signs what runs with the version to come; what says the same stays signed, and nothing unsigned takes its place", async () => {
    expect((await fairlead(["operator", "keygen", "operator.key"])).code).toBe(0);
    expect(await fairlead(["operator", "keygen", "operator.key"])).toMatchObject({ code: 1, err: expect.stringContaining("a key is never overwritten") as string });
    const key = await importSPKI(await readFile(join(folder, "operator.key.pub"), "utf8"), "EdDSA");
    await writeFile(join(folder, "chat.yaml"), `${yaml}secrets: {TOKEN: whisper}\n`);
    const signed = await fairlead(["up", "chat.yaml", "-y", "--async", "--sign-key", "operator.key"]);
    expect([signed.code, signed.err]).toEqual([0, expect.stringContaining("Created chat, version 1.")]);
    const first = signedOf();
    const { payload } = await compactVerify(first, key);
    const spec = JSON.parse(new TextDecoder().decode(payload)) as SignedSpec;
    expect(spec).toMatchObject({ service: "chat", version: 1, replicasMax: 1, task: { run: "serve --port $PORT" } });
    expect(new TextDecoder().decode(payload)).not.toContain("whisper");

    await writeFile(join(folder, "chat.yaml"), `${yaml.replace("model: m", "model: m, routing: {retries: {attempts: 2}}")}secrets: {TOKEN: whisper}\n`);
    expect((await fairlead(["up", "chat.yaml", "-y", "--async"])).err).toContain("Updated chat to version 2");
    expect(signedOf()).toBe(first);
    await writeFile(join(folder, "chat.yaml"), `${yaml.replace("serve", "serve2")}secrets: {TOKEN: whisper}\n`);
    expect(await fairlead(["up", "chat.yaml", "-y", "--async"])).toMatchObject({ code: 1, err: expect.stringContaining("its operator signed it, and this changes run; sign it with --sign-key") as string });
    expect(await fairlead(["up", "chat.yaml", "-y", "--async", "--secret", "TOKEN=shout", "--sign-key", "operator.key", "--sign-version", "9"])).toMatchObject({ code: 0, err: expect.stringContaining("Updated chat to version 9") as string });
    expect((await fairlead(["up", "chat.yaml", "-y", "--async", "--secret", "TOKEN=shout", "--sign-key", "operator.key"])).err).toContain("unchanged at version 9");
  });

  test.each([
    ["others can read", "-----BEGIN PRIVATE KEY-----", 0o644, "others than its owner can read it"],
    ["is none", "nonsense", 0o600, "it is no Ed25519 private key in PEM"],
  ])("takes no key that %s", async (_, text, mode, message) => {
    await writeFile(join(folder, "operator.key"), text, { mode });
    expect(await fairlead(["up", "chat.yaml", "-y", "--sign-key", "operator.key"])).toMatchObject({ code: 1, err: expect.stringContaining(message) as string });
    expect(edge.bundles.at(-1)?.fleet.services).toEqual([]);
  });
});

describe("fairlead up", () => {
  test("creates a service, waits for it, and says how to reach it", async () => {
    const { code, out, err } = await fairlead(["up", "chat.yaml", "-y"]);
    expect([code, err]).toEqual([0, expect.stringContaining("Created chat, version 1.")]);
    expect(err).toContain("chat.local.10 on box: ready");
    expect(out).toContain("Endpoint: https://ai.example/v1\n");
    expect(out).toMatch(/curl -N https:\/\/ai\.example\/v1\/chat\/completions .*"model":"m"/);
  });

  test("updates it, says what changes, and leaves what did not change alone", async () => {
    await fairlead(["up", "chat.yaml", "-y"]);
    expect((await fairlead(["up", "chat.yaml", "-y"])).err).toMatch(/stays as it is.*unchanged at version 1/s);
    await writeFile(join(folder, "chat.yaml"), yaml.replace("{model: m}", "{model: m, replicas: 2}").replace("serve", "serve2"));
    const { code, err } = await fairlead(["update", "chat", "chat.yaml", "-y"]);
    expect(code).toBe(0);
    expect(err).toMatch(/replicas: 1 → 2\n.*run changed: replicas are replaced.*Updated chat to version 2/s);
    expect((await fairlead(["update", "other", "chat.yaml", "-y"])).err).toContain('Cannot update service "other": there is no such service');
  });

  test("asks first, and without a terminal says to pass -y", async () => {
    const { code, err } = await fairlead(["up", "chat.yaml"]);
    expect([code, err]).toEqual([2, expect.stringContaining("fairlead: Cannot ask whether to go on: this is not a terminal; pass -y to say yes")]);
    expect((await fairlead(["status", "--json"])).out).toContain('"services": []');
  });

  test("fails with a replica that fails: its reason and its last lines", async () => {
    phaseOf = () => ({ phase: "failed", reason: "run exited with 1" });
    edge.logs.set("chat.local.10", "Traceback\nout of memory\n");
    const { code, err } = await fairlead(["up", "chat.yaml", "-y"]);
    expect(code).toBe(1);
    expect(err).toMatch(/The last lines of chat\.local\.10:\n {2}Traceback\n {2}out of memory\n.*fairlead: Cannot start replica chat\.local\.10: run exited with 1/s);
  });

  test("update --mode says how; a version that was taken back is a failure with its reason", async () => {
    await fairlead(["up", "chat.yaml", "-y", "--async"]);
    await writeFile(join(folder, "chat.yaml"), yaml.replace("serve", "serve2"));
    const reason = "version 2 was rolled back: 9 of 30 attempts on it failed (30 %), and 0 % on version 1; version 1 serves";
    scales = [{ service: "chat", version: 2, desired: 1, decisions: [], rollout: { mode: "canary", state: "rolled_back", version: 2, from: 1, reason } }];
    const { code, err } = await fairlead(["update", "chat", "chat.yaml", "-y", "--mode", "CANARY"]);
    expect([code, err]).toEqual([1, expect.stringContaining(`fairlead: Cannot bring chat to version 2: ${reason}`)]);
    expect(edge.bundles.at(-1)?.fleet.services[0]).toMatchObject({ rollout: { mode: "canary" } });
  });

  test("waits no longer than it is told, and not at all with --async", async () => {
    phaseOf = () => ({ phase: "starting", reason: "loading weights" });
    const { code, err } = await fairlead(["up", "chat.yaml", "-y", "--timeout", "1ms"]);
    expect([code, err]).toEqual([1, expect.stringMatching(/chat\.local\.10 on box: starting \(loading weights\).*Cannot wait longer than 1ms for chat/s)]);
    expect((await fairlead(["up", "chat.yaml", "-y", "--async"])).code).toBe(0);
  });

  test("names file, line and field of what is wrong, before it asks control", async () => {
    await writeFile(join(folder, "bad.yaml"), "service:\n  replica: 1\nrun: a $PORT\n");
    const { code, err } = await fairlead(["up", "bad.yaml", "-y"]);
    expect([code, err]).toEqual([1, "bad.yaml:2:3: error: service.replica: is not a known field; did you mean replicas?\nfairlead: Cannot use bad.yaml: 1 error\n"]);
    expect((await fairlead(["up", "none.yaml"])).err).toBe("fairlead: Cannot read none.yaml: there is no such file\n");
  });

  test("makes workdir whole, and takes values from flags, files and the environment", async () => {
    await writeFile(join(folder, "v.yaml"), "service: {readiness_probe: {path: /, headers: {A: $AMBIENT}}}\nworkdir: ./sub\nenvs: {A: , B: b, UNASKED: }\nsecrets: {T: }\nrun: a $PORT\n");
    await writeFile(join(folder, "v.env"), "A=from file\nUNASKED=x\n");
    const variables = { FAIRLEAD_CONTROL_URL: control.url, FAIRLEAD_ADMIN_KEY: adminKey, AMBIENT: "amb", T: "shh", OTHER: "never sent" };
    const { code, err } = await fairlead(["up", "v.yaml", "-y", "--env", "B=flag", "--env", "C=added", "--env-file", "v.env", "--secret", "T"], variables);
    expect([code, err]).toEqual([0, expect.stringContaining("Created v")]);
    const task = edge.bundles.at(-1)?.fleet.services[0]?.task;
    expect(task).toMatchObject({ workdir: join(folder, "sub"), envs: { A: "from file", B: "flag", C: "added", UNASKED: "x" }, probe: { headers: { A: "$AMBIENT" } } });
    expect(JSON.stringify(edge.bundles)).not.toMatch(/shh|never sent|"amb"/);
  });

  test("fails when the edge refuses what was published, and says why and what holds", async () => {
    edge.answers = [refuse(422, "invalid_bundle", "Cannot publish the bundle: it is bad")];
    expect(await fairlead(["up", "chat.yaml", "-y"])).toMatchObject({ code: 1, out: "", err: expect.stringContaining("fairlead: Cannot publish the bundle: it is bad. Version 1 of chat is kept, and the edge goes on with what it had\n") });
  });

  test("reads the file from standard input", async () => {
    const child = spawn(process.execPath, [bin, "up", "-", "-n", "piped", "-y"], { cwd: folder, env: { FAIRLEAD_CONTROL_URL: control.url, FAIRLEAD_ADMIN_KEY: adminKey } });
    child.stdin.end(yaml);
    expect(await new Promise((resolve) => child.once("exit", resolve))).toBe(0);
    expect(edge.bundles.at(-1)?.route.services[0]?.name).toBe("piped");
  });
});

describe("fairlead status", () => {
  test("shows services and replicas in SkyServe's columns", async () => {
    await fairlead(["up", "chat.yaml", "-y"]);
    const { out } = await fairlead(["status"]);
    expect(out).toMatch(/^NAME +VERSION +UPTIME +STATUS +REPLICAS +ENDPOINT\nchat +1 +1m \d+s +READY +1\/1 +https:\/\/ai\.example\/v1$/m);
    expect(out).toMatch(/^SERVICE +ID +VERSION +LAUNCHED +PHASE +SINCE +RESTARTS +HOST +REASON\nchat +local\.10 +1 +3 mins ago +ready +1m \d+s +0 +box$/m);
    expect(out).not.toContain("\u001B");
    expect(JSON.parse((await fairlead(["status", "chat", "--json"])).out)).toMatchObject({ services: [{ name: "chat", status: "READY", replicas: [{ launchedAt: expect.any(Number) as number }] }] });
    expect((await fairlead(["status", "--endpoint"])).out).toBe("https://ai.example/v1\n");
    expect(await fairlead(["status", "none"])).toMatchObject({ code: 1, err: 'fairlead: Cannot show service "none": there is no such service\n' });
  });

  test("-v shows loads, the requests of the last minute, and a dash for what is not known", async () => {
    await writeFile(join(folder, "chat.yaml"), yaml.replace("{model: m}", "{model: m, replicas: 2}"));
    await fairlead(["up", "chat.yaml", "-y", "--async"]);
    phaseOf = ({ number }) => (number === 10 ? { inFlight: 3, engine: "vllm", load: { running: 2, queueDepth: 1, kvUsage: 0.42 } } : {});
    traffic = [{ service: "chat", upstream: "replicas", windowMs: 60_000, requests: 120, errors: 6, ttft: [0, 0, 0, 0, 0, 0, 0, 120] }, { service: "chat", upstream: "", windowMs: 5_000, requests: 0, errors: 0, ttft: [] }];
    const { out } = await fairlead(["status", "-v"]);
    expect(out).toMatch(/^SERVICE +ID +VERSION +LAUNCHED +PHASE +SINCE +RESTARTS +ENGINE +IN FLIGHT +RUNNING +QUEUED +KV +HOST +REASON\nchat +local\.10 +1 +3 mins ago +ready +1m \d+s +0 +vllm +3 +2 +1 +42% +box\nchat +local\.11 .* 0 +- +0 +- +- +- +box$/m);
    expect(out).toMatch(/^SERVICE +UPSTREAM +REQUESTS\/S +ERRORS +TTFT P50 +TTFT P95\nchat +replicas +2\.00 +5\.0% +90ms +99ms\nchat +none +0\.00 +- +- +-$/m);
  });

  test("shows what scalers want: a rollout beside a service that answers, and with -v decisions, rollouts and policies", async () => {
    await writeFile(join(folder, "chat.yaml"), `${yaml}resources: {accelerators: L4:2}\n`);
    await fairlead(["up", "chat.yaml", "-y", "--async"]);
    const at = Date.now() - 5_000;
    scales = [{ service: "chat", version: 1, desired: 4, rollout: { mode: "canary", state: "progressing", version: 2, from: 1, step: 1, steps: 3, shares: { 1: 0.95, 2: 0.05 }, reason: "step 1 of 3" }, decisions: [{ at, action: "up", desired: 4, reason: "8.0 requests/s need 4" }, { at: at + 1_000, action: "rollout", desired: 4, reason: "step 1 of 3" }] }];
    const { out } = await fairlead(["status"]);
    expect(out).toMatch(/^NAME +VERSION +UPTIME +STATUS +REPLICAS +ENDPOINT +REASON\nchat +1 +1m \d+s +READY +1\/4 +https:\S+ +step 1 of 3$/m);
    expect(out).not.toContain("Decisions");
    const { out: more } = await fairlead(["status", "-v"]);
    expect(more).toMatch(/^NAME .* AUTOSCALING_POLICY +LOAD_BALANCING_POLICY +REQUESTED_RESOURCES +MODELS +REASON\nchat .* 1 +availability_first +L4:2 +m +step 1 of 3$/m);
    expect(more).toMatch(/^SERVICE +MODE +STATE +VERSIONS +STEP +SHARES +REASON\nchat +canary +progressing +1 -> 2 +1\/3 +1: 95 %, 2: 5 % +step 1 of 3$/m);
    expect(more).toMatch(/^WHEN +SERVICE +ACTION +REPLICAS +REASON\n\d+s ago +chat +rollout +4 +step 1 of 3\n\d+s ago +chat +up +4 +8\.0 requests\/s need 4$/m);
  });

  test("says that there is nothing", async () => {
    expect((await fairlead(["status"])).out).toContain("No existing services.");
  });

  test("goes on without the edge", async () => {
    await fairlead(["up", "chat.yaml", "-y"]);
    edge.regions = undefined;
    expect((await fairlead(["status"])).out).toMatch(/The edge cannot be asked: .*chat +- +- +UNKNOWN/s);
  });
});

test("fairlead logs shows one log as it is and several by name", async () => {
  await writeFile(join(folder, "chat.yaml"), yaml.replace("{model: m}", "{model: m, replicas: 2}"));
  await fairlead(["up", "chat.yaml", "-y"]);
  edge.logs = new Map([["chat.local.10", "one\n"], ["chat.local.11", "two\n"]]);
  expect((await fairlead(["logs", "chat", "10", "--no-follow"])).out).toBe("one\n");
  expect((await fairlead(["logs", "chat", "10", "local.10", "--no-follow"])).out).toBe("one\n");
  expect(await fairlead(["logs", "chat", "--tail", "100001"])).toMatchObject({ code: 2, err: "fairlead: Cannot use --tail 100001: write a number of lines, at most 100000\n" });
  expect((await fairlead(["logs", "chat", "--no-follow"])).out.split("\n").toSorted()).toEqual(["", "chat.local.10 | one", "chat.local.11 | two"]);
  expect((await fairlead(["logs", "none", "--no-follow"])).err).toContain('fairlead: Cannot show the logs of service "none"');
});

test("fairlead logs shows what was done about a service, and its requests", async () => {
  await fairlead(["up", "chat.yaml", "-y"]);
  edge.agentLogs.set("h1", "2026-11-21T08:00:02.000Z info replica is ready replica=chat.local.10\n");
  edge.told.set("journal chat", [{ at: 1, text: "2026-11-21T08:00:01.000Z hub place: chat.local.10 of version 1 is placed on box" }, { at: 3, text: "2026-11-21T08:00:03.000Z hub withdraw: it" }]);
  edge.told.set("requests chat", [{ at: 1, text: "req_1 status=200" }, { at: 2, text: "req_2 status=502" }]);
  const { out } = await fairlead(["logs", "chat", "--controller", "--no-follow"]);
  expect(out.split("\n").map((line) => line.replace(/^(\w+) +\| \S+/, "$1"))).toEqual(["hub hub place: chat.local.10 of version 1 is placed on box", "box info replica is ready replica=chat.local.10", "hub hub withdraw: it", ""]);
  expect((await fairlead(["logs", "chat", "--load-balancer", "--no-follow", "--tail", "1"])).out).toBe("req_2 status=502\n");
  expect(await fairlead(["logs", "chat", "1", "--controller"])).toMatchObject({ code: 2, err: "fairlead: Cannot use --controller with a replica: it is the whole service's\n" });
  expect((await fairlead(["logs", "chat", "--controller", "--load-balancer"])).code).toBe(2);
  expect((await fairlead(["logs", "none", "--load-balancer", "--no-follow"])).err).toContain('Cannot show the logs of service "none": there is no such service');
});

test("fairlead logs --load-balancer goes on with what comes", async () => {
  await fairlead(["up", "chat.yaml", "-y"]);
  edge.told.set("requests chat", [{ at: 1, text: "req_1" }]);
  const child = spawn(process.execPath, [bin, "logs", "chat", "--load-balancer"], { cwd: folder, env: { FAIRLEAD_CONTROL_URL: control.url, FAIRLEAD_ADMIN_KEY: adminKey } });
  const read = async (): Promise<string> => String(await new Promise<Buffer>((resolve) => child.stdout.once("data", resolve)));
  expect(await read()).toBe("req_1\n");
  edge.told.get("requests chat")?.push({ at: 2, text: "req_2" });
  expect(await read()).toBe("req_2\n");
  child.kill("SIGTERM");
});

test("fairlead logs follows until it is stopped, or control is", async () => {
  await fairlead(["up", "chat.yaml", "-y"]);
  edge.logs = new Map([["chat.local.10", "one\n"]]);
  const child = spawn(process.execPath, [bin, "logs", "chat"], { cwd: folder, env: { FAIRLEAD_CONTROL_URL: control.url, FAIRLEAD_ADMIN_KEY: adminKey } });
  await new Promise((resolve) => child.stdout.once("data", resolve));
  await control.close();
  expect(await new Promise((resolve) => child.once("exit", resolve))).toBe(1);
});

test("fairlead down takes down what a pattern means, and waits until it is gone", async () => {
  await fairlead(["up", "chat.yaml", "-y"]);
  await writeFile(join(folder, "other.yaml"), yaml.replace("model: m", "model: n"));
  await fairlead(["up", "other.yaml", "-y"]);
  expect((await fairlead(["down", "chat"])).code).toBe(2);
  expect(await fairlead(["down", "nothing*", "-y"])).toMatchObject({ code: 1, err: 'fairlead: Cannot take down "nothing*": there is no such service\n' });
  expect(await fairlead(["down", "ch?t", "-y"])).toMatchObject({ code: 0, out: "chat: down\n" });
  expect(edge.bundles.at(-1)?.route.services.map(({ name }) => name)).toEqual(["other"]);
  expect(await fairlead(["down", "other", "--replica-id", "10", "-y"])).toMatchObject({ code: 0, out: "other.local.10: removed, another takes its place\n" });
  expect(edge.bundles.at(-1)?.fleet.removed).toEqual(["other.local.10"]);
  expect((await fairlead(["down", "--all", "-y"])).code).toBe(0);
});

test("fairlead keys makes, lists and revokes", async () => {
  const key = (await fairlead(["keys", "create", "laptop", "--expires", "30d"])).out.trim();
  const id = keyId(key, "fl") ?? "";
  expect(edge.bundles.at(-1)?.route.keys).toMatchObject([{ id }]);
  expect((await fairlead(["keys", "list"])).out).toMatch(new RegExp(`${id} +laptop +default +inference +all .* valid`));
  expect((await fairlead(["keys", "revoke", id])).out).toBe(`${id}: revoked\n`);
  expect(JSON.parse((await fairlead(["keys", "list", "--json"])).out)).toMatchObject([{ id, revokedAt: expect.any(Number) }]);
  // a key that was pasted whole is neither sent nor shown
  const other = await fairlead(["keys", "create", "ci", "--service", "none"]);
  expect(other.err).toBe('There is no service "none": the key opens it when there is.\n');
  expect((await fairlead(["keys", "revoke", other.out.trim()])).out).toBe(`${keyId(other.out.trim(), "fl") ?? ""}: revoked\n`);
  expect(await fairlead(["keys", "revoke", key.slice(0, -1)])).toMatchObject({ code: 2, err: expect.not.stringContaining(id) as string });
  expect(keyId((await fairlead(["keys", "admin"], {})).out.trim(), "fla")).toBeDefined();
});

test("fairlead hosts invites and lists", async () => {
  const { out, err } = await fairlead(["hosts", "invite", "--region", "local"]);
  expect(keyId(out.trim(), "flj")).toBeDefined();
  expect(err).toContain("within 14m");
  expect((await fairlead(["hosts", "list"])).out).toBe("No existing hosts.\n");
  expect((await fairlead(["hosts", "drain", "box"])).err).toBe('fairlead: Cannot drain host "box": there is no such host; see fairlead hosts list\n');
  expect((await fairlead(["hosts", "invite", "--region", "weur"])).err).toContain("this fleet's regions are local");
});

describe("fairlead explain", () => {
  const record: DecisionRecord = {
    requestId: "req_1", at: 1_700_000_000_000, service: "chat", model: "m", account: "acme", strategy: "cost_optimized", saturated: false,
    candidates: [{ id: "vendor", upstream: "vendor", score: { total: 0.9125, parts: { cost: 1, latency: 0.65 } } }, { id: "chat.local.1", upstream: "gpus" }],
    filtered: { "chat.local.2": "phase is starting" }, attempts: [{ id: "vendor", outcome: "throttled", ms: 40 }, { id: "chat.local.1", outcome: "answer", ms: 1_200 }], status: 200, upstream: "chat.local.1", ms: 1_250,
  };

  test("shows the request, its candidates and its attempts", async () => {
    edge.decisions.set("req_1", record);
    const { code, out } = await fairlead(["explain", "req_1"]);
    expect(code).toBe(0);
    expect(out).toBe(`Request   req_1
Came      2023-11-14T22:13:20.000Z
Service   chat
Model     m
Account   acme
Strategy  cost_optimized
Answer    status 200 after 1250 ms, from chat.local.1

Candidates
#  ID            UPSTREAM  SCORE  PARTS                    NOTE
1  vendor        vendor    0.91   cost 1.00, latency 0.65  picked
2  chat.local.1  gpus      -
-  chat.local.2            -                               left out: phase is starting

Attempts
#  ID            OUTCOME    TIME
1  vendor        throttled  40 ms
2  chat.local.1  answer     1200 ms
`);
    expect(JSON.parse((await fairlead(["explain", "req_1", "--json"])).out)).toEqual(record);
  });

  test.each<[string, Partial<DecisionRecord>, string]>([
    ["that started", { attempts: [{ id: "chat.local.1", outcome: "answer", ms: 1_200 }] }, "42.1 s while the first replica started"],
    ["that did not", { attempts: [{ id: "vendor", outcome: "answer", ms: 1_200 }], upstream: "vendor" }, "42.1 s and no replica was ready"],
  ])("says how long a request was held for a replica %s", async (_, more, words) => {
    edge.decisions.set("req_1", { ...record, ...more, heldMs: 42_149, ms: 43_349 });
    expect((await fairlead(["explain", "req_1"])).out).toMatch(new RegExp(`^Held +${words}\nAnswer +status 200 after 43349 ms`, "m"));
  });

  test("shows who was lost in the middle of an answer, and how another went on with it", async () => {
    const attempts: DecisionRecord["attempts"] = [
      { id: "chat.local.1", outcome: "lost", ms: 60, midway: true },
      { id: "vendor", outcome: "timeout", ms: 70, midway: true, method: "exact" },
      { id: "other", outcome: "unsent", ms: 2, method: "exact" },
      { id: "other", outcome: "answer", ms: 80, method: "regenerate" },
    ];
    edge.decisions.set("req_3", { ...record, attempts, upstream: "other", ms: 4_664 });
    const { out } = await fairlead(["explain", "req_3"]);
    expect(out).toContain("Answer    status 200, begun by chat.local.1, ended by other after 4664 ms\n");
    expect(out).toContain(`Attempts
#  ID            OUTCOME  FIRST BYTE  NOTE
1  chat.local.1  lost     60 ms       lost in the middle of its answer
2  vendor        timeout  70 ms       to go on by token ids (exact); lost in the middle of its answer
3  other         unsent   2 ms        to go on by token ids (exact)
4  other         answer   80 ms       to go on with the same answer once more (regenerate)
`);
  });

  test("says that a relay on its way did not answer", async () => {
    edge.decisions.set("req_5", { ...record, attempts: [{ id: "chat.local.1", outcome: "answer", ms: 1_150, detour: true }] });
    expect((await fairlead(["explain", "req_5"])).out).toContain("1  chat.local.1  answer   1150 ms     a relay of its host did not answer: went by another\n");
  });

  test("shows an answer that ended with an error, and why", async () => {
    const { upstream: _, ...nobody } = record;
    edge.decisions.set("req_4", { ...nobody, reason: "Cannot go on with the answer: the upstream was lost", attempts: [{ id: "vendor", outcome: "lost", ms: 40, midway: true }], ms: 900 });
    expect((await fairlead(["explain", "req_4"])).out).toContain("Answer    begun by vendor, ended with an error after 900 ms\nReason    Cannot go on with the answer: the upstream was lost\n");
  });

  test("says that a request is not known, in the edge's words", async () => {
    expect(await fairlead(["explain", "req_2"])).toMatchObject({ code: 1, out: "", err: 'fairlead: Cannot explain request "req_2": no hub remembers it\n' });
  });

  test("has a request weighed that is not sent", async () => {
    const asked: unknown[] = [];
    edge.dryRun = (request) => {
      asked.push(request);
      return { service: "chat", model: "m", account: "acme", strategy: "least_load", saturated: true, candidates: [], filtered: {} };
    };
    await writeFile(join(folder, "request.json"), '{"model": "m", "messages": []}');
    const { code, out } = await fairlead(["explain", "--dry-run", "request.json", "--account", "acme"]);
    expect([code, out]).toEqual([0, expect.stringMatching(/^Request +weighed now, not sent\n.*Strategy +least_load; every replica is over its bounds\n\nCandidates\nThere was none\.\n$/s)]);
    expect(asked).toEqual([{ body: { model: "m", messages: [] }, account: "acme" }]);
    expect(JSON.parse((await fairlead(["explain", "--dry-run", "request.json", "--json"])).out)).toMatchObject({ strategy: "least_load" });
  });

  test.each<[string, string | undefined, string]>([
    ["is not there", undefined, "Cannot read request.json: there is no such file"],
    ["is not JSON", "{", "Cannot use request.json: it is not JSON"],
    ["is no object", "[]", "Cannot use request.json: it is not a request's body"],
  ])("refuses a file that %s", async (_name, text, message) => {
    if (text !== undefined) await writeFile(join(folder, "request.json"), text);
    const { code, err } = await fairlead(["explain", "--dry-run", "request.json"]);
    expect([code, err]).toEqual([1, expect.stringContaining(message)]);
  });
});

describe("fairlead validate", () => {
  test("needs no control, and says which files are valid", async () => {
    await writeFile(join(folder, "bad.yaml"), "service: {}\n");
    const { code, out, err } = await fairlead(["validate", "chat.yaml", "bad.yaml"], {});
    expect([code, out]).toEqual([1, "chat.yaml: valid\n"]);
    expect(err).toMatch(/^bad\.yaml:1:1: error: run: is missing/);
    expect(JSON.parse((await fairlead(["validate", "--json", "bad.yaml"], {})).out)).toMatchObject([{ file: "bad.yaml", valid: false, problems: [{ line: 1, level: "error" }] }]);
    expect((await fairlead(["validate", "--strict", "chat.yaml"], {})).code).toBe(1);
    // one that is not there keeps no other from being checked
    expect(await fairlead(["validate", "none.yaml", "chat.yaml"], {})).toEqual({ code: 1, out: "chat.yaml: valid\n", err: "none.yaml:1:1: error: cannot be read: there is no such file\nfairlead: Cannot use 1 of 2 files: errors are named above\n" });
  });

  test("takes a pool, and up refuses it in words", async () => {
    await writeFile(join(folder, "pool.yaml"), "name: batch\npool: {max_workers: 3}\nsetup: echo\n");
    const { code, out } = await fairlead(["validate", "--json", "pool.yaml"], {});
    expect([code, JSON.parse(out)]).toMatchObject([0, [{ file: "pool.yaml", valid: true, name: "batch", pool: true, problems: [{ level: "warning", field: "pool" }] }]]);
    const up = await fairlead(["up", "pool.yaml", "-y"]);
    expect([up.code, up.err]).toEqual([1, expect.stringContaining("is a pool of workers, which this version does not run yet")]);
  });
});

describe("where fairlead finds control", () => {
  test("in up.json of a folder above, unless it is told another", async () => {
    await mkdir(join(folder, ".fairlead"));
    await writeFile(join(folder, ".fairlead", "up.json"), JSON.stringify({ control: control.url, adminKey }));
    await mkdir(join(folder, "a", "b"), { recursive: true });
    const here = folder;
    folder = join(here, "a", "b");
    expect((await fairlead(["status"], {})).code).toBe(0);
    // its key is for its control alone
    expect((await fairlead(["--control", "http://127.0.0.1:9", "status"], {})).err).toContain("no admin key");
    folder = here;
  });

  test("in ~/.config/fairlead", async () => {
    await mkdir(join(folder, ".config", "fairlead"), { recursive: true });
    await writeFile(join(folder, ".config", "fairlead", "config.json"), JSON.stringify({ control: control.url, adminKey }));
    expect((await fairlead(["status"], {})).code).toBe(0);
  });

  test.each<[string, Record<string, string>, string]>([
    ["nowhere", {}, "fairlead: Cannot find control: give --control URL"],
    ["where nobody listens", { FAIRLEAD_CONTROL_URL: "http://127.0.0.1:9", FAIRLEAD_ADMIN_KEY: "x" }, "fairlead: Cannot reach control at http://127.0.0.1:9: "],
  ])("%s: one line, exit 1", async (_name, variables, message) => {
    const { code, err } = await fairlead(["status"], variables);
    expect([code, err.trimEnd().split("\n").length]).toEqual([1, 1]);
    expect(err).toContain(message);
  });

  test("with a key that control does not know", async () => {
    expect((await fairlead(["status"], { FAIRLEAD_CONTROL_URL: control.url, FAIRLEAD_ADMIN_KEY: newKey("fla").key })).err).toBe("fairlead: Cannot use the control API: the admin key is not known\n");
  });
});

test("a command that is used wrongly says so and exits with 2", async () => {
  const wrong = [["up"], ["nothing"], ["status", "--wrong"], ["keys", "create"], ["down"], ["up", "chat.yaml", "--timeout", "soon"], ["logs", "chat", "--tail", "all"], ["explain"], ["explain", "req_1", "--dry-run", "a.json"], ["explain", "req_1", "--account", "a"], ["hosts", "drain"], ["hosts", "drain", "box", "--timeout", "soon"]];
  for (const { code, err } of await Promise.all(wrong.map((args) => fairlead(args)))) expect([code, err]).toEqual([2, expect.stringMatching(/^fairlead: /)]);
});

test("every command's --help gives examples", async () => {
  const commands = ["up", "update", "status", "logs", "down", "explain", "validate", "keys", "keys create", "keys list", "keys revoke", "keys admin", "hosts", "hosts invite", "hosts list", "hosts logs", "hosts drain", "hosts revoke"];
  for (const { code, out } of await Promise.all(commands.map((name) => fairlead([...name.split(" "), "--help"], {})))) expect([code, out]).toEqual([0, expect.stringMatching(/Examples?:\n {2}/)]);
});

test("fairlead's database and bundle hold no admin key", async () => {
  expect(await readFile(join(folder, "control.db"), "latin1")).not.toContain(adminKey);
});
