import { spawn, type ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { WebSocketServer, type WebSocket } from "ws";
import { enrolSchema } from "../schema/api.ts";
import { decodeFrames, encodeFrames, frameKinds, jsonFrame, noPayload, readReset } from "../schema/frames.ts";
import { keyId, newKey } from "../schema/key.ts";
import { agentMessageSchema, enrolText, type AgentMessage, type ReplicaState } from "../schema/protocol.ts";
import { fromBase64, sealTo, toBase64 } from "../schema/seal.ts";
import type { Task } from "../schema/task.ts";
import { findMarked, signal } from "./executors/strays.ts";

/** The whole agent as people start it, with stand-ins for control, Hub and Relay. */

const bin = fileURLToPath(new URL("fairlead-agent.mjs", import.meta.url));
const token = newKey("flj").key;
const id = "chat.local.1";
let state: string;
let fleet: Server;
let fleetUrl: string;
let sealKey = "";
let generation = 0;
let hub: WebSocket | undefined;
let relay: WebSocket | undefined;
const heard: AgentMessage[] = [];
const replicas = new Map<string, ReplicaState>();
const phases: string[] = [];
const bodies = new Map<number, string>();
const agents: ChildProcess[] = [];

async function until(condition: () => unknown, ms = 30_000): Promise<void> {
  for (const deadline = Date.now() + ms; !(await condition()); await new Promise((resolve) => setTimeout(resolve, 10))) {
    if (Date.now() > deadline) throw new Error(`not so within ${ms} ms: ${condition.toString()} (${phases.join(" ")})`);
  }
}

beforeEach(async () => {
  state = await mkdtemp(join(tmpdir(), "fairlead-agent-"));
  generation = 0;
  for (const one of [heard, phases]) one.length = 0;
  for (const one of [replicas, bodies]) one.clear();
  hub = relay = undefined;
  const sockets = new WebSocketServer({ noServer: true });
  fleet = createServer((request, response) => {
    let text = "";
    request.on("data", (chunk) => (text += chunk)).on("end", async () => {
      const enrol = enrolSchema.parse(JSON.parse(text));
      const key = await crypto.subtle.importKey("raw", fromBase64(enrol.publicKey), "Ed25519", false, ["verify"]);
      const proven = await crypto.subtle.verify("Ed25519", key, fromBase64(enrol.signature), new TextEncoder().encode(enrolText(keyId(token, "flj") ?? "", enrol.publicKey, enrol.sealKey)));
      sealKey = enrol.sealKey;
      const ok = request.url === "/v1/enrol" && enrol.token === token && proven;
      response.writeHead(ok ? 200 : 403, { "content-type": "application/json" }).end(JSON.stringify(ok ? { host: "host_1", region: "local", fleetUrl } : { error: { message: "the token was used already" } }));
    });
  });
  fleet.on("upgrade", (request, socket, head) => sockets.handleUpgrade(request, socket, head, (link) => (request.url === "/agents/link/local" ? onHub(link) : onRelay(link))));
  await new Promise<void>((resolve) => fleet.listen(0, "127.0.0.1", resolve));
  fleetUrl = `http://127.0.0.1:${(fleet.address() as AddressInfo).port}`;
});

afterEach(async () => {
  for (const agent of agents.splice(0)) agent.kill("SIGKILL");
  for (const pid of await marked()) signal(pid, "SIGKILL");
  await until(async () => (await marked()).length === 0);
  fleet.closeAllConnections();
  fleet.close();
  hub?.terminate();
  relay?.terminate();
  await rm(state, { recursive: true, force: true });
});

/** Each change of phase is reported at once; what a heartbeat says beside that depends on when it falls. */
function report(one: ReplicaState): void {
  if (phases.at(-1) !== one.phase) phases.push(one.phase);
  replicas.set(one.id, one);
}

function onHub(link: WebSocket): void {
  hub = link;
  link.on("message", (raw: Buffer) => {
    if (raw.toString() === "ping") return link.send("pong");
    const message = agentMessageSchema.parse(JSON.parse(raw.toString()));
    heard.push(message);
    if (message.type === "hello") link.send(JSON.stringify({ type: "welcome", protocol: 1, epoch: 1, heartbeatMs: 1000, leaseMs: 3000, relays: [{ index: 0, ticket: "t" }] }));
    if (message.type === "report") report(message.replica);
    if (message.type === "heartbeat") for (const one of message.replicas) replicas.set(one.id, one);
  });
  link.send(JSON.stringify({ type: "challenge", nonce: toBase64(new Uint8Array(32)), protocol: 1, protocolMin: 1, region: "local" }));
}

function onRelay(link: WebSocket): void {
  relay = link;
  link.on("message", (message: Buffer, isBinary) => {
    if (!isBinary) return link.send("pong");
    for (const frame of decodeFrames(message)) {
      const add = (text: string): void => void bodies.set(frame.stream, (bodies.get(frame.stream) ?? "") + text);
      if (frame.kind === frameKinds.data) add(Buffer.from(frame.payload).toString());
      if (frame.kind === frameKinds.end) add("<end>");
      if (frame.kind === frameKinds.reset) add(`<${readReset(frame).code}>`);
    }
  });
}

const ask = (stream: number, target: string, path: string): void =>
  relay?.send(encodeFrames([jsonFrame(frameKinds.open, stream, { target, method: "GET", path, headers: [], requestId: "r" }), { kind: frameKinds.end, stream, sequence: 0, payload: noPayload }]));

/** An engine: ready at /, slow at /slow, its pid at /pid, its load at /metrics. */
const engine = `exec ${JSON.stringify(process.execPath)} -e '
  require("node:http").createServer((request, response) => {
    if (request.url === "/slow") { response.write("begun,"); setTimeout(() => response.end("done"), 1500); }
    else if (request.url === "/metrics") response.end("vllm:num_requests_running 2\\nvllm:num_requests_waiting 1\\n");
    else response.end(request.url === "/pid" ? String(process.pid) : process.env.WORD);
  }).listen(process.env.PORT, "127.0.0.1");
  console.log("engine is up");
'`;

const task = (run: string, more: Partial<Task> = {}): Task => ({
  service: "chat", version: 1, digest: "d1", run, envs: {}, drainMs: 10_000, gpus: 0,
  probe: { path: "/", initialDelayMs: 60_000, timeoutMs: 2_000, intervalMs: 500, failureThresholdMs: 60_000, headers: {} }, ...more,
});

const assign = (tasks: Task[], ids: string[]): void =>
  hub?.send(JSON.stringify({ type: "assign", generation: ++generation, tasks, replicas: ids.map((one) => ({ id: one, service: "chat", number: 1, version: 1, digest: "d1" })) }));

interface Started {
  child: ChildProcess;
  out: () => string;
  /** Its exit code, when all that it said is in `out`. */
  exit: Promise<number | null>;
}

function start(...args: string[]): Started {
  const child = spawn(process.execPath, [bin, ...args], { stdio: ["pipe", "pipe", "pipe"] });
  agents.push(child);
  let out = "";
  child.stdout?.on("data", (chunk) => (out += chunk));
  child.stderr?.on("data", (chunk) => (out += chunk));
  return { child, out: () => out, exit: new Promise((resolve) => child.once("close", (code) => resolve(code))) };
}

async function joined(config: string): Promise<string[]> {
  const file = join(state, "agent.yaml");
  await writeFile(file, `state: ${state}/s\n${config}`);
  const { child, out, exit } = start("join", "--control", fleetUrl, "--token-file", "-", "--name", "box", "--config", file);
  child.stdin?.end(`${token}\n`);
  expect(`${await exit} ${out()}`).toMatch(/^0 This host is now host_1 \("box"\) in region local/);
  expect(out()).not.toContain(token);
  return ["run", "--config", file];
}

/** A joined agent with one ready replica. */
async function running(config = "trust: unsigned\ndrain: 10s\n", run = engine, more: Partial<Task> = {}): Promise<Started> {
  const agent = start(...(await joined(config)));
  await until(() => heard.some(({ type }) => type === "heartbeat") && relay);
  const sealedSecrets = await sealTo(sealKey, "secrets:chat", '{"WORD":"opened"}');
  assign([task(run, { sealedSecrets, ...more })], [id]);
  return agent;
}

const marked = (): Promise<number[]> => findMarked({ state: `${state}/s` });

describe("fairlead-agent", { timeout: 120_000 }, () => {
  test("joins, keeps its keys to itself, and will not join twice", async () => {
    await joined("");
    for (const name of ["keys.json", "identity.json"]) expect((await stat(join(state, "s", name))).mode & 0o777).toBe(0o600);
    expect(JSON.parse(await readFile(join(state, "s/identity.json"), "utf8"))).toEqual({ host: "host_1", region: "local", fleetUrl, name: "box" });
    const again = start("join", "--control", fleetUrl, "--token-file", "-", "--state", join(state, "s"));
    again.child.stdin?.end(token);
    expect(await again.exit).toBe(1);
    expect(again.out()).toContain("this host is host_1 already");
  });

  test("says clearly what a start lacks", async () => {
    const file = join(state, "agent.yaml");
    await writeFile(file, `state: ${state}/s\ncolour: red\n`);
    const broken = start("--config", file);
    expect(await broken.exit).toBe(1);
    expect(broken.out()).toBe(`${file}:2: colour: is not a field of the agent's configuration\n`);
    await writeFile(file, `state: ${state}/s\n`);
    const stranger = start("--config", file);
    expect(await stranger.exit).toBe(1);
    expect(stranger.out()).toContain("this host has not joined a fleet");
    const nowhere = join(state, "nowhere");
    await symlink(join(state, "gone/s"), nowhere);
    await writeFile(file, `state: ${nowhere}\n`);
    for (const args of [["join", "--control", fleetUrl, "--token-file", "-", "--config", file], ["--config", file]]) {
      const homeless = start(...args);
      homeless.child.stdin?.end(token);
      expect([await homeless.exit, homeless.out()]).toEqual([1, expect.stringMatching(/^Cannot use the state folder [^\n]*\n$/)]);
    }
    const [, ...run] = await joined("transport: {direct: {listen: 127.0.0.1:0, url: https://gpu.example.com, tls: {cert: /nowhere, key: /nowhere}}}\n");
    const halfway = start(...run);
    expect(await halfway.exit).toBe(1);
    expect(halfway.out()).toContain("\nCannot open the gate on 127.0.0.1:0: its certificate cannot be used: ENOENT");
  });

  test("runs nothing where the host does not say so, and names the line to change", async () => {
    const { out } = await running("trust: templates\n");
    await until(() => replicas.get(id)?.phase === "failed");
    expect(replicas.get(id)?.reason).toBe(`this host runs no unsigned service: write "trust: unsigned" in ${state}/agent.yaml line 2 to allow it`);
    expect(out()).toContain("trust is templates");
    expect(await marked()).toEqual([]);
  });

  test("runs a replica, carries requests and logs, reads its load, restarts it when it is killed, drains at SIGTERM", async () => {
    const { child, out, exit } = await running();
    await until(() => replicas.get(id)?.phase === "ready");
    expect(phases).toEqual(["starting", "ready"]);
    expect(out()).toContain("can run any command on this host");
    ask(1, id, "/");
    ask(2, id, "/pid");
    ask(3, "agent", `/logs/${id}?tail=5`);
    ask(4, "agent", "/logs/nobody.local.9");
    ask(5, "other.local.1", "/");
    await until(() => [1, 2, 3, 4].every((stream) => bodies.get(stream)?.endsWith("<end>")) && bodies.get(5));
    expect(bodies.get(1)).toBe("opened<end>");
    expect(bodies.get(3)).toMatch(/run of version 1 begins, port \d+\nengine is up\n<end>$/);
    expect(bodies.get(4)).toBe("this host has no replica nobody.local.9\n<end>");
    expect(bodies.get(5)).toBe("<no_target>");
    await until(() => replicas.get(id)?.load !== undefined);
    expect(replicas.get(id)?.load).toEqual({ running: 2, queueDepth: 1 });

    phases.length = 0;
    process.kill(Number.parseInt(bodies.get(2) ?? "", 10), "SIGKILL");
    await until(() => replicas.get(id)?.phase === "unhealthy");
    expect(replicas.get(id)?.reason).toBe("was killed by SIGKILL");
    await until(() => replicas.get(id)?.phase === "ready");
    expect(replicas.get(id)).toMatchObject({ restarts: 1, wasReady: true });

    phases.length = 0;
    ask(6, id, "/slow");
    await until(() => bodies.get(6) === "begun,");
    child.kill("SIGTERM");
    await until(() => replicas.get(id)?.phase === "draining");
    ask(7, id, "/");
    await until(() => bodies.get(6) === "begun,done<end>");
    expect(bodies.get(7)).toBe("<draining>");
    expect(await exit).toBe(0);
    expect(phases).toEqual(["draining", "stopping", "stopped"]);
    expect(heard.some((message) => message.type === "heartbeat" && message.draining)).toBe(true);
    expect(heard.at(-1)?.type).toBe("goodbye");
    expect(await marked()).toEqual([]);
    expect(out()).not.toContain("opened");
  });

  test("tells an answer that broke off because its replica died from one that was cut because its replica is stopped", async () => {
    await running(undefined, engine, { drainMs: 300 });
    await until(() => replicas.get(id)?.phase === "ready");
    ask(1, id, "/slow");
    await until(() => bodies.get(1) === "begun,");
    ask(2, id, "/pid");
    await until(() => bodies.get(2)?.endsWith("<end>"));
    process.kill(Number.parseInt(bodies.get(2) ?? "", 10), "SIGKILL");
    await until(() => bodies.get(1) === "begun,<upstream_lost>");

    await until(() => replicas.get(id)?.restarts === 1 && replicas.get(id)?.phase === "ready");
    ask(3, id, "/slow");
    await until(() => bodies.get(3) === "begun,");
    assign([], []);
    await until(() => bodies.get(3) === "begun,<cancelled>");
  });

  test("stops what is no longer assigned, and keeps what runs through the loss of hub and relay", async () => {
    await running();
    await until(() => replicas.get(id)?.phase === "ready");
    const pid = replicas.get(id)?.pid;
    const [before, wasRelay] = [heard.length, relay];
    hub?.terminate();
    relay?.terminate();
    await until(() => heard.slice(before).some(({ type }) => type === "hello") && relay !== wasRelay);
    assign([task(engine)], [id]);
    await until(() => heard.some((message) => message.type === "heartbeat" && message.generation === 2));
    expect(replicas.get(id)).toMatchObject({ phase: "ready", pid });
    assign([], []);
    await until(() => replicas.get(id)?.phase === "stopped");
    expect(await marked()).toEqual([]);
  });

  test("ends at once at a second signal", async () => {
    const { child, exit } = await running("trust: unsigned\nkill_after: 60s\n", "trap '' TERM; touch armed; while :; do sleep 0.1; done");
    await until(() => existsSync(join(state, "s/replicas", id, "armed")));
    child.kill("SIGTERM");
    await until(() => replicas.get(id)?.phase === "stopping");
    child.kill("SIGTERM");
    expect(await exit).toBe(1);
    await until(async () => (await marked()).length === 0);
  });

  test("takes its replicas with it when it is killed, and has no rival in its state folder", async () => {
    const { child, exit } = await running();
    await until(() => replicas.get(id)?.phase === "ready");
    const rival = start("run", "--config", join(state, "agent.yaml"));
    expect(await rival.exit).toBe(1);
    expect(rival.out()).toContain("another agent runs with the state folder");
    expect((await marked()).length).toBeGreaterThan(0);
    child.kill("SIGKILL");
    await exit;
    await until(async () => (await marked()).length === 0);
  });

  test("gives up on what never becomes ready", async () => {
    const agent = start(...(await joined("trust: unsigned\nkill_after: 200ms\n")));
    await until(() => heard.some(({ type }) => type === "heartbeat"));
    const never = task("trap '' TERM; echo still loading; while :; do sleep 0.1; done");
    assign([{ ...never, probe: { ...never.probe, initialDelayMs: 300 } }], [id]);
    await until(() => replicas.get(id)?.phase === "failed", 25_000);
    expect(replicas.get(id)?.reason).toBe("it failed to start 3 times: it was not ready within 300ms, nothing listens on its port yet: still loading");
    expect(await marked()).toEqual([]);
    agent.child.kill("SIGTERM");
    expect(await agent.exit).toBe(0);
  });

  test("runs under an older Node with the project's own, and ends with it", async () => {
    const file = (await joined("trust: unsigned\n")).at(-1) ?? "";
    const older = spawn(process.execPath, ["--no-experimental-strip-types", bin, "--config", file], { stdio: ["ignore", "ignore", "pipe"] });
    agents.push(older);
    await until(() => heard.some(({ type }) => type === "heartbeat"));
    assign([task(engine, { envs: { WORD: "w" } })], [id]);
    await until(() => replicas.get(id)?.phase === "ready");
    older.kill("SIGKILL");
    await until(async () => (await marked()).length === 0);
    await until(() => hub?.readyState === 3);
  });

  test("gives up on what exits at once, with the last line of its log", async () => {
    await running("trust: unsigned\n", "echo 'no GPU found' >&2; exit 4");
    await until(() => replicas.get(id)?.phase === "failed", 20_000);
    expect(replicas.get(id)?.reason).toBe("it failed to start 3 times: exited with code 4: no GPU found");
    expect(replicas.get(id)?.refused).toBeUndefined();
  });
});
