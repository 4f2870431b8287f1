import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { newKey } from "../schema/key.ts";
import { startEdge, type EdgeStandIn } from "./edgeStandIn.ts";
import { readEnvironment } from "./environment.ts";

let folder: string;
let edge: EdgeStandIn;
let settings: Record<string, string>;
let children: ChildProcess[];

beforeEach(async () => {
  children = [];
  folder = await mkdtemp(join(tmpdir(), "fairlead-server-"));
  edge = await startEdge("a token for control");
  settings = {
    FAIRLEAD_CONTROL_PORT: "0",
    FAIRLEAD_DATABASE_URL: `file:${join(folder, "control.db")}`,
    FAIRLEAD_EDGE_URL: edge.url,
    FAIRLEAD_FLEET_URL: "http://fleet.example",
    FAIRLEAD_REGIONS: "local",
    FAIRLEAD_KEY_PEPPER: "a pepper for digests",
    FAIRLEAD_CONTROL_TOKEN: "a token for control",
    FAIRLEAD_SHARED_KEY: "a shared secret of some length",
    FAIRLEAD_ADMIN_KEY: newKey("fla").key,
  };
});

afterEach(async () => {
  for (const child of children) child.kill("SIGKILL");
  await edge.close();
  await rm(folder, { recursive: true });
});

/** The server as a process: its first line, or all its errors when it ends before it has one. */
async function start(variables: Record<string, string> = settings) {
  const child = spawn(process.execPath, [fileURLToPath(new URL("./server.ts", import.meta.url))], { env: variables });
  children.push(child);
  let err = "";
  child.stderr.on("data", (chunk) => (err += String(chunk)));
  const line = await Promise.race([once(child.stdout, "data").then(([chunk]) => String(chunk)), once(child, "close").then(() => undefined)]);
  return { child, line, url: line?.split(" ").at(-1)?.trim() ?? "", err: () => err };
}

test("control prints one line when it listens, publishes what it has, and closes no connection just as a client sends on it", async () => {
  const { line, url } = await start();
  expect(line).toMatch(/^control listening on http:\/\/127\.0\.0\.1:\d+\n$/);
  const health = await fetch(`${url}/healthz`);
  expect(await health.json()).toEqual({ status: "ok" });
  expect(health.headers.get("keep-alive")).toBe("timeout=75");
  expect((await edge.bundle(() => true)).route.version).toBe(1);
});

test("control is gone within a second of SIGTERM, open log streams and all, and keeps what it knew", async () => {
  const { child, url } = await start();
  const headers = { authorization: `Bearer ${settings["FAIRLEAD_ADMIN_KEY"]}`, "content-type": "application/json" };
  await fetch(`${url}/v1/services/chat`, { method: "PUT", headers, body: JSON.stringify({ yaml: "service: {}\nrun: a $PORT" }) });
  edge.regions = [{ region: "local", takenAt: 0, bundleVersion: 1, hosts: [], unplaced: [], replicas: [{ id: "chat.local.1", service: "chat", number: 1, version: 1, phase: "ready", host: "h", hostName: "h", since: 0, inFlight: 0, region: "local", restarts: 0 }] }];
  edge.logs.set("chat.local.1", "a\n");
  const log = await fetch(`${url}/v1/services/chat/logs?follow=1`, { headers });
  const reader = log.body?.getReader();
  await reader?.read();
  // beside what this machine takes now to end a process that has nothing to do
  const bare = spawn(process.execPath, ["-e", "process.once('SIGTERM', () => process.exit(0)); setInterval(() => {}, 1000); console.log('up')"]);
  children.push(bare);
  await once(bare.stdout, "data");
  const ended = async (one: ChildProcess): Promise<{ code: unknown; ms: number }> => {
    const started = performance.now();
    one.kill("SIGTERM");
    const [code] = await once(one, "exit");
    return { code, ms: performance.now() - started };
  };
  const [{ code, ms }, { ms: bareMs }] = await Promise.all([ended(child), ended(bare)]);
  expect([code, ms - bareMs < 1000]).toEqual([0, true]);
  await expect(reader?.read()).rejects.toThrow();

  const { FAIRLEAD_ADMIN_KEY: _, ...withoutKey } = settings;
  const again = await start(withoutKey);
  expect(await (await fetch(`${again.url}/v1/services`, { headers })).json()).toMatchObject({ services: [{ name: "chat" }] });
});

test("control does not start without an admin key, and says how to make one", async () => {
  const { FAIRLEAD_ADMIN_KEY: _, ...withoutKey } = settings;
  const { child, line, err } = await start(withoutKey);
  expect([line, child.exitCode]).toEqual([undefined, 1]);
  expect(err()).toBe("Cannot start control: its database has no admin key; make one with fairlead keys admin, and start control with it as FAIRLEAD_ADMIN_KEY\n");
});

test("control says in one line that its port is in use", async () => {
  const { url } = await start();
  const { child, err } = await start({ ...settings, FAIRLEAD_CONTROL_PORT: new URL(url).port });
  expect(child.exitCode).toBe(1);
  expect(err()).toBe(`Cannot start control: cannot listen on 127.0.0.1 port ${new URL(url).port}: the port is in use; FAIRLEAD_CONTROL_PORT chooses another\n`);
});

test.each<[string, string | undefined, string]>([
  ["FAIRLEAD_DATABASE_URL", undefined, "FAIRLEAD_DATABASE_URL is missing; for example file:.fairlead/control.db"],
  ["FAIRLEAD_DATABASE_URL", "control.db", "FAIRLEAD_DATABASE_URL must begin with file:"],
  ["FAIRLEAD_FLEET_URL", "", "FAIRLEAD_FLEET_URL is missing"],
  ["FAIRLEAD_EDGE_URL", "localhost", "FAIRLEAD_EDGE_URL must be a URL that begins with http"],
  ["FAIRLEAD_REGIONS", "weur,mars", 'FAIRLEAD_REGIONS Cannot use region "mars"'],
  ["FAIRLEAD_KEY_PEPPER", "short", "FAIRLEAD_KEY_PEPPER is too short"],
  ["FAIRLEAD_SHARED_KEY", undefined, "FAIRLEAD_SHARED_KEY is missing"],
  ["FAIRLEAD_CONTROL_TOKEN", undefined, "FAIRLEAD_CONTROL_TOKEN is missing"],
  ["FAIRLEAD_CONTROL_PORT", "70000", "FAIRLEAD_CONTROL_PORT must be a port number"],
  ["FAIRLEAD_ADMIN_KEY", "admin", "FAIRLEAD_ADMIN_KEY is not an admin key"],
])("readEnvironment() with %s = %j", (name, value, message) => {
  const { [name]: _, ...others } = settings;
  expect(() => readEnvironment(value === undefined ? others : { ...others, [name]: value })).toThrow(message);
});

test("readEnvironment() fills in the rest", () => {
  const { FAIRLEAD_CONTROL_PORT: _, ...rest } = settings;
  expect(readEnvironment({ ...rest, FAIRLEAD_EDGE_URL: "http://127.0.0.1:8787/" })).toMatchObject({ FAIRLEAD_CONTROL_PORT: 8788, FAIRLEAD_CONTROL_HOST: "127.0.0.1", FAIRLEAD_PUBLIC_URL: "http://127.0.0.1:8787", FAIRLEAD_REGIONS: ["local"] });
});
