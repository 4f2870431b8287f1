/**
 * Simulated agents: control links that prove themselves once and then say what they are told to say. A process of its own, so that it
 * can be pinned. Argument: `LinksJob` as JSON. `POST /open?count=N` opens so many more and answers when all are welcome,
 * `/beat?perS=R` sets how many heartbeats a second all of them say together, `GET /told` answers with `LinksTold`.
 */
import { createPrivateKey, sign } from "node:crypto";
import { createServer } from "node:http";
import { WebSocket } from "ws";
import { helloText, ping, protocol, type Challenge, type Hello, type HubMessage, type ReplicaState } from "../../schema/protocol.ts";

export interface LinksJob {
  /** Of its control API on 127.0.0.1. */
  port: number;
  /** Where links are opened. */
  url: string;
  /** PKCS 8, PEM: all hosts have the same key. */
  privateKey: string;
  /** Replicas in each heartbeat. */
  replicas: number;
  /** What is at the other end: a Hub, or an object that takes messages and says nothing. */
  kind: "hub" | "bare";
}

export interface LinksTold {
  open: number;
  sent: number;
  /** Links that were closed from the other side. */
  lost: number;
}

/** Ids of hosts: the same here and in the bundle. */
export const hostId = (index: number): string => `host_${String(index).padStart(5, "0")}`;
/** Handshakes under way at once: as many as keep a core busy. */
const atOnce = 16;

interface Link {
  socket: WebSocket;
  host: string;
  epoch: number;
}

function replicasOf(host: string, count: number): ReplicaState[] {
  const at = Date.now();
  return Array.from({ length: count }, (_, i) => ({
    id: `bench.local.${host}.${i}`, service: "bench", number: i, version: 1, digest: "bench-1", phase: "ready", since: at, restarts: 0, wasReady: true,
    port: 30_000 + i, pid: 1_000 + i, inFlight: 0, load: { running: 0, queueDepth: 0, kvUsage: 0 }, engine: "vllm",
  }));
}

/** Its load moves from one heartbeat to the next, as an engine's does. */
function heartbeatOf({ epoch, host }: Link, replicas: number, turn: number): string {
  const states = replicasOf(host, replicas).map((state) => ({ ...state, since: 0, inFlight: turn % 7, load: { running: turn % 7, queueDepth: turn % 3, kvUsage: (turn % 100) / 100 } }));
  return JSON.stringify({ type: "heartbeat", epoch, generation: 0, relays: [0, 1], draining: false, replicas: states });
}

function serve(job: LinksJob): void {
  const key = createPrivateKey(job.privateKey);
  const links: Link[] = [];
  let next = 0;
  let sent = 0;
  let lost = 0;
  let pacing: ReturnType<typeof setInterval> | undefined;

  const openOne = (host: string): Promise<void> =>
    new Promise((done, failed) => {
      const socket = new WebSocket(job.url, { perMessageDeflate: false });
      const link: Link = { socket, host, epoch: 0 };
      const welcome = (epoch: number): void => {
        link.epoch = epoch;
        links.push(link);
        socket.send(heartbeatOf(link, job.replicas, 0));
        done();
      };
      socket.once("error", failed);
      socket.once("close", (code) => {
        lost++;
        failed(new Error(`a link was closed with ${code}`));
      });
      if (job.kind === "bare") socket.once("open", () => welcome(0));
      socket.on("message", (raw: Buffer) => {
        const text = raw.toString("utf8");
        if (job.kind === "bare" || !text.startsWith("{")) return;
        const message = JSON.parse(text) as HubMessage;
        if (message.type === "challenge") socket.send(JSON.stringify(hello(message, host)));
        else if (message.type === "welcome") welcome(message.epoch);
      });
    });
  const hello = (challenge: Challenge, host: string): Hello => {
    const nonce = Buffer.alloc(32, 1).toString("base64");
    const signature = sign(null, Buffer.from(helloText(challenge, { host, nonce, protocol })), key).toString("base64");
    return { type: "hello", host, region: "local", protocol, agentVersion: "bench", nonce, signature };
  };
  const open = async (count: number): Promise<void> => {
    const until = next + count;
    await Promise.all(Array.from({ length: atOnce }, async () => {
      while (next < until) await openOne(hostId(next++));
    }));
  };
  /** Each says a heartbeat and a ping in its turn, as an agent does. */
  const beat = (perS: number): void => {
    clearInterval(pacing);
    if (perS === 0) return;
    let turn = 0;
    let due = 0;
    let last = performance.now();
    pacing = setInterval(() => {
      const now = performance.now();
      due += ((now - last) / 1_000) * perS;
      last = now;
      for (; due >= 1; due--, turn++) {
        const link = links[turn % links.length];
        if (link === undefined || link.socket.readyState !== WebSocket.OPEN) continue;
        link.socket.send(heartbeatOf(link, job.replicas, turn));
        link.socket.send(ping);
        sent++;
      }
    }, 5);
  };

  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "/", "http://127.0.0.1");
    const answer = (told: unknown): void => void response.end(JSON.stringify(told));
    if (pathname === "/open") void open(Number(searchParams.get("count"))).then(() => answer({}), (error: Error) => response.writeHead(500).end(error.message));
    else if (pathname === "/beat") answer(beat(Number(searchParams.get("perS"))) ?? {});
    else answer({ open: links.filter(({ socket }) => socket.readyState === WebSocket.OPEN).length, sent, lost } satisfies LinksTold);
  });
  server.requestTimeout = 0;
  server.listen(job.port, "127.0.0.1");
}

if (import.meta.main) serve(JSON.parse(process.argv[2] ?? "") as LinksJob);
