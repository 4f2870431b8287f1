import { spawn, type ChildProcess } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { WebSocketServer, type WebSocket } from "ws";
import { enrolSchema, rotateSchema, type Enrol, type Rotate } from "../schema/api.ts";
import { decodeFrames, encodeFrames, frameKinds, jsonFrame, noPayload, readReset, readResponseHead } from "../schema/frames.ts";
import { newKey } from "../schema/key.ts";
import { agentMessageSchema, type AgentMessage, type Challenge, type ReplicaState } from "../schema/protocol.ts";
import { toBase64 } from "../schema/seal.ts";
import { findMarked, signal } from "./executors/strays.ts";
import { join as joinFleet } from "./join.ts";

/**
 * A hub of the test's own, with control's enrolment and one relay beside it, and real agents that join it: what a test says is what
 * goes out on a real socket, however malformed.
 */
export interface HubStandIn {
  url: string;
  folder: string;
  /** What agents' Node is started with. */
  nodeArgs: string[];
  /** The keys that the agent joined with. */
  readonly keys: Pick<Enrol, "publicKey" | "sealKey"> | undefined;
  /** Rotations that were asked for; `refuse` answers the next with 500. */
  rotations: Rotate[];
  refuse: boolean;
  /** What the link's agent signs. */
  challenge: Challenge;
  /** Breaks the control link off. */
  cut(): void;
  /** What agents said, in order; replicas by id as last told. */
  heard: AgentMessage[];
  replicas: Map<string, ReplicaState>;
  /** Reasons that any replica was ever told with. */
  reasons: string[];
  /** Close codes of control links, in order. */
  closes: number[];
  /** Any message to the agent, as it stands. */
  say(message: unknown): void;
  assign(tasks: unknown[], replicas: unknown[]): number;
  /** A request to a replica by the relay; what became of it as `status body<end>`. */
  ask(target: string, method: string, path: string): Promise<string>;
  /** An agent that has joined with this configuration and these operators' keys, and its first heartbeat. */
  agent(config: string, operatorKeys?: string[]): Promise<RunningAgent>;
  start(...args: string[]): RunningAgent;
  until(condition: () => unknown, ms?: number): Promise<void>;
  close(): Promise<void>;
}

export interface RunningAgent {
  child: ChildProcess;
  out: () => string;
  exit: Promise<number | null>;
}

const bin = fileURLToPath(new URL("fairlead-agent.mjs", import.meta.url));

export async function startHub(): Promise<HubStandIn> {
  const folder = await mkdtemp(join(tmpdir(), "fairlead-hub-"));
  const token = newKey("flj").key;
  const heard: AgentMessage[] = [];
  const replicas = new Map<string, ReplicaState>();
  const [reasons, closes]: [string[], number[]] = [[], []];
  const bodies = new Map<number, string>();
  const agents: ChildProcess[] = [];
  let keys: Enrol | undefined;
  let link: WebSocket | undefined;
  let relay: WebSocket | undefined;
  let generation = 0;
  let stream = 0;
  let epoch = 0;

  const note = (one: ReplicaState): void => {
    replicas.set(one.id, one);
    if (one.reason !== undefined) reasons.push(one.reason);
  };
  const onHub = (socket: WebSocket): void => {
    link = socket;
    socket.on("close", (code) => closes.push(code));
    socket.on("message", (raw: Buffer) => {
      if (raw.toString() === "ping") return socket.send("pong");
      const message = agentMessageSchema.parse(JSON.parse(raw.toString()));
      heard.push(message);
      if (message.type === "hello") socket.send(JSON.stringify({ type: "welcome", protocol: 1, epoch: ++epoch, heartbeatMs: 300, leaseMs: 3000, relays: [{ index: 0, ticket: "t" }] }));
      if (message.type === "report") note(message.replica);
      if (message.type === "heartbeat") message.replicas.forEach(note);
    });
    socket.send(JSON.stringify(hub.challenge));
  };
  const onRelay = (socket: WebSocket): void => {
    relay = socket;
    socket.on("message", (message: Buffer, isBinary) => {
      if (!isBinary) return socket.send("pong");
      for (const frame of decodeFrames(message)) {
        const add = (text: string): void => void bodies.set(frame.stream, (bodies.get(frame.stream) ?? "") + text);
        if (frame.kind === frameKinds.open) add(`${readResponseHead(frame).status} `);
        if (frame.kind === frameKinds.data) add(Buffer.from(frame.payload).toString());
        if (frame.kind === frameKinds.end) add("<end>");
        if (frame.kind === frameKinds.reset) add(`<${readReset(frame).code}>`);
      }
    });
  };

  const sockets = new WebSocketServer({ noServer: true });
  const server = createServer((request, response) => {
    let text = "";
    request.on("data", (chunk) => (text += chunk)).on("end", () => {
      if (request.url === "/v1/enrol/rotate") {
        hub.rotations.push(rotateSchema.parse(JSON.parse(text)));
        const status = hub.refuse ? 500 : 200;
        hub.refuse = false;
        return response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify({ previousUntil: 86_400_000 }));
      }
      keys = enrolSchema.parse(JSON.parse(text));
      return response.writeHead(201, { "content-type": "application/json" }).end(JSON.stringify({ host: "host_1", region: "local", fleetUrl: hub.url }));
    });
  });
  server.on("upgrade", (request, socket, head) => sockets.handleUpgrade(request, socket, head, (opened) => (request.url === "/agents/link/local" ? onHub(opened) : onRelay(opened))));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));

  const marked = (): Promise<number[]> => findMarked({ state: join(folder, "s") });
  const hub: HubStandIn = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    folder,
    get keys() {
      return keys;
    },
    heard, replicas, reasons, closes,
    nodeArgs: [],
    rotations: [],
    refuse: false,
    challenge: { type: "challenge", nonce: toBase64(new Uint8Array(32)), protocol: 3, protocolMin: 1, region: "local" },
    cut: () => link?.terminate(),
    say: (message) => link?.send(typeof message === "string" || message instanceof Uint8Array ? message : JSON.stringify(message)),
    assign(tasks, assigned) {
      hub.say({ type: "assign", generation: ++generation, tasks, replicas: assigned });
      return generation;
    },
    async ask(target, method, path) {
      const mine = ++stream;
      relay?.send(encodeFrames([jsonFrame(frameKinds.open, mine, { target, method, path, headers: [], requestId: "r" }), { kind: frameKinds.end, stream: mine, sequence: 0, payload: noPayload }]));
      await hub.until(() => /<\w+>$/.test(bodies.get(mine) ?? ""));
      return bodies.get(mine) ?? "";
    },
    start(...args) {
      const child = spawn(process.execPath, [...hub.nodeArgs, bin, ...args], { stdio: ["pipe", "pipe", "pipe"] });
      agents.push(child);
      let out = "";
      child.stdout.on("data", (chunk) => (out += chunk));
      child.stderr.on("data", (chunk) => (out += chunk));
      return { child, out: () => out, exit: new Promise((resolve) => child.once("close", (code) => resolve(code))) };
    },
    async agent(config, operatorKeys = []) {
      const [file, tokenFile] = [join(folder, "agent.yaml"), join(folder, "token")];
      await writeFile(file, `state: ${folder}/s\nkill_after: 200ms\n${config}`);
      await writeFile(tokenFile, token);
      await joinFleet({ control: hub.url, tokenFile, name: "box", state: join(folder, "s"), operatorKeys });
      const running = hub.start("run", "--config", file);
      await hub.until(() => heard.some(({ type }) => type === "heartbeat") || running.child.exitCode !== null);
      if (running.child.exitCode !== null) throw new Error(`the agent did not run: ${running.out()}`);
      return running;
    },
    async until(condition, ms = 40_000) {
      for (const deadline = Date.now() + ms; !(await condition()); await new Promise((resolve) => setTimeout(resolve, 10))) {
        if (Date.now() > deadline) throw new Error(`not so within ${ms} ms: ${condition.toString()} (${JSON.stringify([...replicas.values()])})`);
      }
    },
    async close() {
      for (const agent of agents) agent.kill("SIGKILL");
      for (const pid of await marked()) signal(pid, "SIGKILL");
      await hub.until(async () => (await marked()).length === 0);
      server.closeAllConnections();
      server.close();
      link?.terminate();
      relay?.terminate();
      await rm(folder, { recursive: true, force: true });
    },
  };
  return hub;
}
