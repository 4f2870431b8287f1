import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { WebSocketServer, type WebSocket } from "ws";
import { systemClock } from "../schema/clock.ts";
import { agentMessageSchema, helloText, protocol, type AgentMessage, type Assign, type Hello } from "../schema/protocol.ts";
import { fromBase64, toBase64 } from "../schema/seal.ts";
import { heartbeat } from "./heartbeat.ts";
import { openLink, type LinkOptions } from "./link.ts";
import { createLog } from "./log.ts";
import { systemTimers } from "./timers.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).toReversed()) await clean();
});

async function until(condition: () => boolean, ms = 20_000): Promise<void> {
  for (const deadline = Date.now() + ms; !condition(); await new Promise((resolve) => setTimeout(resolve, 5))) {
    if (Date.now() > deadline) throw new Error(`not so within ${ms} ms: ${condition.toString()}`);
  }
}

const challenge = { type: "challenge", nonce: toBase64(new Uint8Array(32)), protocol: 3, protocolMin: 1, region: "local", later: "field" };

/** A stand-in for the Hub, and a link to it. */
async function world(more: Partial<LinkOptions> = {}, region = "local") {
  const keys = (await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"])) as Extract<Awaited<ReturnType<typeof crypto.subtle.generateKey>>, { privateKey: unknown }>;
  const server = createServer();
  const hub = new WebSocketServer({ server });
  const sockets: WebSocket[] = [];
  const heard: AgentMessage[] = [];
  const pings: string[] = [];
  const delays: number[] = [];
  const assigned: Assign[] = [];
  const tickets: unknown[] = [];
  const closes: number[] = [];
  hub.on("connection", (socket) => {
    sockets.push(socket);
    socket.on("close", (code) => closes.push(code));
    socket.on("message", (raw: Buffer) => {
      const text = raw.toString();
      if (text === "ping") {
        pings.push(text);
        return socket.send("pong");
      }
      const message = agentMessageSchema.parse(JSON.parse(text));
      heard.push(message);
      if (message.type === "hello") socket.send(JSON.stringify({ type: "welcome", protocol: 1, epoch: sockets.length, heartbeatMs: 60_000, leaseMs: 180_000, relays: [{ index: 0, ticket: "t" }] }));
    });
    socket.send(JSON.stringify({ ...challenge, region }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const link = openLink({
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`, host: "host_1", region: "local", agentVersion: "0.1.0",
    sign: async (text) => toBase64(new Uint8Array(await crypto.subtle.sign("Ed25519", keys.privateKey, new TextEncoder().encode(text)))),
    heartbeat: (epoch) => heartbeat({ epoch, generation: 0, relays: [], draining: false, replicas: [] }),
    onTickets: (given) => tickets.push(given), onAssign: (assign) => assigned.push(assign),
    clock: systemClock, random: () => 0.01,
    timers: { after: (ms, action) => (ms >= 60_000 && ms <= 90_000 && delays.push(ms), systemTimers.after(ms, action)) },
    log: createLog({ level: "error", clock: systemClock, write: () => {} }),
    ...more,
  });
  cleanups.push(() => {
    hub.clients.forEach((one) => one.terminate());
    server.close();
  }, () => link.close());
  const beats = (): AgentMessage[] => heard.filter(({ type }) => type === "heartbeat");
  return { link, keys, sockets, heard, beats, pings, delays, assigned, tickets, closes, say: (message: unknown) => sockets.at(-1)?.send(typeof message === "string" ? message : JSON.stringify(message)) };
}

const assign = (generation: number): object => ({ type: "assign", generation, tasks: [], replicas: [] });

describe("openLink()", () => {
  test("proves its key over both nonces and then tells its full state", async () => {
    const { keys, heard, beats, tickets } = await world();
    await until(() => beats().length === 1);
    const hello = heard[0] as Hello;
    expect(hello).toMatchObject({ type: "hello", host: "host_1", region: "local", protocol });
    expect(await crypto.subtle.verify("Ed25519", keys.publicKey, fromBase64(hello.signature), new TextEncoder().encode(helloText(challenge, hello)))).toBe(true);
    expect(tickets).toEqual([[{ index: 0, ticket: "t" }]]);
  });

  test("signs nothing for another region's hub", async () => {
    const { heard, closes } = await world({}, "weur");
    await until(() => closes.length > 0);
    expect(heard).toEqual([]);
  });

  test("makes one heartbeat of changes that come together", async () => {
    const { link, beats } = await world();
    await until(() => beats().length === 1);
    for (let i = 0; i < 10; i++) link.changed();
    await until(() => beats().length === 2);
    link.changed();
    await until(() => beats().length === 3);
    expect(beats()).toHaveLength(3);
  });

  test("takes assignments in order and ignores an older one, also after a new connection", async () => {
    const { assigned, say, sockets, beats } = await world();
    await until(() => beats().length === 1);
    for (const generation of [3, 2, 3, 4]) say(assign(generation));
    await until(() => assigned.length === 3);
    sockets[0]?.terminate();
    await until(() => beats().length === 2);
    say(assign(1));
    say(assign(5));
    await until(() => assigned.at(-1)?.generation === 5);
    expect(assigned.map(({ generation }) => generation)).toEqual([3, 3, 4, 5]);
  });

  test("ignores unknown types, unknown fields and assignments that it cannot use, and stays up", async () => {
    const { assigned, say, beats, sockets, link } = await world();
    await until(() => beats().length === 1);
    say({ type: "dance", steps: 3 });
    say({ type: "assign", generation: 1, tasks: "none", replicas: [] });
    say({ ...assign(2), more: true });
    await until(() => assigned.length === 1);
    expect([link.up, sockets.length]).toEqual([true, 1]);
  });

  test.each(["{", "[1]", '"text"', "null", "{}"])("closes with 1008 at %j and connects again", async (text) => {
    const { say, beats, closes } = await world();
    await until(() => beats().length === 1);
    say(text);
    await until(() => beats().length === 2);
    expect(closes).toEqual([1008]);
  });

  test.each([4401, 4409, 4426])("waits a minute or more after close code %i", async (code) => {
    const { sockets, delays, beats } = await world();
    await until(() => beats().length === 1);
    delays.length = 0;
    sockets[0]?.close(code, "no");
    await until(() => delays.length === 1);
    expect(delays[0]).toBeGreaterThanOrEqual(60_000);
    expect(sockets).toHaveLength(1);
  });

  test("comes back at a moment of its own within the time that its hub said", async () => {
    const waits: number[] = [];
    const { sockets, beats, say } = await world({ random: () => 0.5, timers: { after: (ms, action) => (waits.push(ms), systemTimers.after(ms, action)) } });
    await until(() => beats().length === 1);
    say({ type: "welcome", protocol: 3, epoch: 1, heartbeatMs: 60_000, leaseMs: 180_000, relays: [], spreadMs: 8_000 });
    await until(() => beats().length === 2);
    sockets[0]?.close(1012, "restarting");
    await until(() => waits.includes(4_000));
  });

  test("takes a link for dead when nothing is heard", async () => {
    const { sockets, beats, pings } = await world({ times: { pingMs: 30, silentMs: 150 } });
    await until(() => pings.length >= 3);
    sockets[0]?.pause();
    await until(() => beats().length === 2);
  });

  test("says goodbye and connects no more", async () => {
    const { link, heard, beats, sockets } = await world();
    await until(() => beats().length === 1);
    await link.close();
    await until(() => heard.at(-1)?.type === "goodbye");
    expect([link.up, sockets.length]).toEqual([false, 1]);
  });
});
