import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { WebSocketServer, type WebSocket } from "ws";
import { systemClock } from "../schema/clock.ts";
import { decodeFrames, encodeFrames, frameKinds, jsonFrame, noPayload, readReset } from "../schema/frames.ts";
import { closeCodes, protocol, protocolMin, type Hello } from "../schema/protocol.ts";
import { heartbeat } from "./heartbeat.ts";
import { startHub } from "./hubStandIn.ts";
import { openLink } from "./link.ts";
import { createLog } from "./log.ts";
import { openRelays } from "./relay.ts";
import { systemTimers } from "./timers.ts";

/** Faults of the failure model that meet an agent's own doors: rows 16 (clock), 19 (versions) and 39 (frames of a malicious hub). */

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).toReversed()) await clean();
});

async function until(what: string, condition: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 20_000; !condition(); await new Promise((resolve) => setTimeout(resolve, 1))) if (Date.now() > deadline) throw new Error(`${what} did not come`);
}

/** A server whose sockets the test has in its hand. */
async function door(onSocket: (socket: WebSocket) => void): Promise<{ url: string; closes: number[] }> {
  const server = createServer();
  const sockets = new WebSocketServer({ server });
  const closes: number[] = [];
  sockets.on("connection", (socket) => {
    socket.on("close", (code) => closes.push(code));
    onSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => {
    sockets.clients.forEach((one) => one.terminate());
    server.close();
  });
  return { url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`, closes };
}

const quiet = { clock: systemClock, timers: systemTimers, random: () => 0, log: createLog({ level: "error", clock: systemClock, write: () => undefined }) };
const challenge = { type: "challenge", nonce: "n", protocol: 3, protocolMin: 1, region: "local" };

/** A link to a door that greets as a hub does, then leaves the rest to the test. */
async function linked(greeting: object = challenge) {
  let last: WebSocket | undefined;
  let links = 0;
  const hellos: Hello[] = [];
  const assigned: number[] = [];
  const { url, closes } = await door((socket) => {
    links++;
    socket.on("message", (raw: Buffer) => {
      const text = raw.toString();
      if (!text.includes('"hello"')) return;
      hellos.push(JSON.parse(text) as Hello);
      socket.send(JSON.stringify({ type: "welcome", protocol: 1, epoch: links, heartbeatMs: 60_000, leaseMs: 180_000, relays: [] }));
      last = socket;
    });
    socket.send(JSON.stringify(greeting));
  });
  const link = openLink({
    ...quiet, url, host: "host_1", region: "local", agentVersion: "0", sign: async () => "signature",
    heartbeat: (epoch) => heartbeat({ epoch, generation: 0, relays: [], draining: false, replicas: [] }),
    onTickets: () => undefined, onAssign: ({ generation }) => assigned.push(generation),
  });
  cleanups.push(() => link.close());
  return { link, assigned, closes, hellos, links: () => links, say: (text: string | Uint8Array) => last?.send(text), up: () => until("a link", () => link.up && last !== undefined) };
}

describe("row 39: a malicious hub's messages", () => {
  test("text and bytes on the control link are ignored or close it with 1008, and the agent takes the next honest word", async () => {
    const { link, assigned, closes, links, say, up } = await linked();
    const assign = JSON.stringify({ type: "assign", generation: 1, tasks: [], replicas: [] });
    const piece = fc.oneof(
      fc.string({ maxLength: 200 }),
      fc.uint8Array({ minLength: 1, maxLength: 50 }),
      fc.json(),
      fc.tuple(fc.nat(assign.length - 1), fc.string({ minLength: 1, maxLength: 3 })).map(([at, text]) => assign.slice(0, at) + text + assign.slice(at + 1)),
      fc.constantFrom(`{"type":"assign","generation":1e999}`, `{"type":"__proto__"}`, `{"type":"welcome"}`, `{"type":"relays","relays":[{"index":1e9,"ticket":""}]}`, `${"[".repeat(5_000)}${"]".repeat(5_000)}`),
    );
    // what may raise the generation by chance is far below the honest ones
    let honest = 1_000_000;
    await fc.assert(
      fc.asyncProperty(piece, async (text) => {
        await up();
        const [before, closed] = [links(), closes.length];
        say(text);
        honest++;
        say(JSON.stringify({ type: "assign", generation: honest, tasks: [], replicas: [] }));
        await until("the honest word, or a new connection", () => assigned.at(-1) === honest || (links() > before && link.up));
        if (links() === before) return;
        await until("the close", () => closes.length > closed);
        expect(closes.at(-1)).toBe(closeCodes.policy);
      }),
      { numRuns: 100 },
    );
  });

  test("frames on a data link are ignored or close it with 1008, and the agent answers the next honest request", async () => {
    let last: WebSocket | undefined;
    let links = 0;
    const resets = new Set<number>();
    const { url, closes } = await door((socket) => {
      links++;
      last = socket;
      socket.on("message", (raw: Buffer, isBinary) => {
        if (!isBinary) return;
        for (const frame of decodeFrames(raw)) if (frame.kind === frameKinds.reset && readReset(frame).code === "no_target") resets.add(frame.stream);
      });
    });
    const relays = openRelays({ ...quiet, url, host: "host_1", count: 1, onChange: () => undefined, askTickets: () => queueMicrotask(() => relays.tickets([{ index: 0, ticket: "t" }])), answererOf: () => ({ refuse: { code: "no_target", message: "" } }) });
    cleanups.push(() => relays.close());
    relays.tickets([{ index: 0, ticket: "t" }]);
    const header = fc.tuple(fc.integer({ min: 0, max: 9 }), fc.nat(0xffff), fc.constantFrom(0, 7, 0xffffffff), fc.uint8Array({ maxLength: 60 }), fc.boolean()).map(([kind, stream, length, payload, honestLength]) => {
      const bytes = new Uint8Array(13 + payload.byteLength);
      const view = new DataView(bytes.buffer);
      view.setUint8(0, kind);
      view.setUint32(1, stream);
      view.setUint32(9, honestLength ? payload.byteLength : length);
      bytes.set(payload, 13);
      return bytes;
    });
    let honest = 1_000_000;
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.uint8Array({ maxLength: 100 }), header, fc.string({ maxLength: 50 })), async (piece) => {
        await until("a data link", () => relays.open.length === 1 && last?.readyState === 1);
        const [before, closed] = [links, closes.length];
        last?.send(piece);
        honest++;
        last?.send(encodeFrames([jsonFrame(frameKinds.open, honest, { target: "x.local.1", method: "GET", path: "/", headers: [], requestId: "r" }), { kind: frameKinds.end, stream: honest, sequence: 0, payload: noPayload }]));
        await until("an answer, or a new connection", () => resets.has(honest) || links > before);
        if (links === before) return;
        await until("the close", () => closes.length > closed);
        expect(closes.at(-1)).toBe(closeCodes.policy);
      }),
      { numRuns: 100 },
    );
  });
});

describe("row 19: version skew", () => {
  test.each([protocolMin, protocol - 1, protocol, protocol + 1])("an agent offers what it speaks to a hub of protocol %i, and takes its word", async (offered) => {
    const { hellos, assigned, say, up } = await linked({ ...challenge, protocol: offered, protocolMin, fieldOfTomorrow: { any: 1 } });
    await up();
    expect(hellos[0]?.protocol).toBe(protocol);
    say(JSON.stringify({ type: "assign", generation: 1, tasks: [], replicas: [], fieldOfTomorrow: 1 }));
    await until("the assignment", () => assigned.length === 1);
  });
});

describe("row 16: the agent's clock is a day off", { timeout: 120_000 }, () => {
  test.each([["ahead", 86_400_000], ["behind", -86_400_000]])("a day %s, it joins, proves itself, runs, reports and carries as ever", async (_, byMs) => {
    const hub = await startHub();
    cleanups.push(() => hub.close());
    // the wall clock of the whole process, timers left alone: what libfaketime does
    const shift = `const Real = Date; globalThis.Date = class extends Real { constructor(...given) { super(...(given.length === 0 ? [Real.now() + ${byMs}] : given)); } static now() { return Real.now() + ${byMs}; } };`;
    hub.nodeArgs = ["--import", `data:text/javascript,${encodeURIComponent(shift)}`];
    const { out } = await hub.agent("trust: unsigned\n");
    const run = `exec ${JSON.stringify(process.execPath)} -e 'require("node:http").createServer((request, response) => response.end("here")).listen(process.env.PORT, "127.0.0.1")'`;
    hub.assign(
      [{ service: "chat", version: 1, digest: "d", run, envs: {}, drainMs: 0, gpus: 0, probe: { path: "/", initialDelayMs: 60_000, timeoutMs: 2_000, intervalMs: 500, failureThresholdMs: 60_000, headers: {} } }],
      [{ id: "chat.local.1", service: "chat", number: 1, version: 1, digest: "d" }],
    );
    await hub.until(() => hub.replicas.get("chat.local.1")?.phase === "ready", 20_000);
    expect(Math.abs((hub.replicas.get("chat.local.1")?.since ?? 0) - Date.now() - byMs)).toBeLessThan(60_000);
    expect(await hub.ask("chat.local.1", "GET", "/")).toBe("200 here<end>");
    expect([out(), hub.closes]).toEqual([expect.stringContaining("data link is up"), []]);
  });
});
