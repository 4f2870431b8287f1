import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { systemClock } from "../schema/clock.ts";
import { attachTarget, decodeFrames, encodeFrames, frameKinds, jsonFrame, noPayload, readReset, readResponseHead, readWindow, windowBytes, windowFrame, type Frame, type RequestHead, type ResetReason } from "../schema/frames.ts";
import { linkTimes } from "../schema/protocol.ts";
import { carryHttp, carryWebSocket, loopbackPorts } from "./carry.ts";
import { createLog } from "./log.ts";
import { openRelays, type RelayOptions } from "./relay.ts";
import { systemTimers } from "./timers.ts";

const cleanups: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).toReversed()) await clean();
});

async function until(condition: () => boolean, ms = 20_000): Promise<void> {
  for (const deadline = Date.now() + ms; !condition(); await new Promise((resolve) => setTimeout(resolve, 5))) {
    if (Date.now() > deadline) throw new Error(`not so within ${ms} ms: ${condition.toString()}`);
  }
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** What a stream has brought so far. */
interface Answer {
  status: number | undefined;
  headers: [string, string][];
  frames: Frame[];
  /** The first MiB. */
  body: Buffer;
  bytes: number;
  ended: boolean;
  reset: ResetReason | undefined;
  credit: number;
}

/** A stand-in for the Relay object, and the agent's side connected to it. */
async function world(answer: RequestListener | undefined, more: Partial<RelayOptions> = {}) {
  const upstream = createServer(answer);
  const port = await listen(upstream);
  const server = createServer();
  const sockets = new WebSocketServer({ server, perMessageDeflate: false });
  const links: WebSocket[] = [];
  const tickets: (string | undefined)[] = [];
  const closes: number[] = [];
  const messages: Frame[][] = [];
  const answers = new Map<number, Answer>();
  const of = (stream: number): Answer => {
    let one = answers.get(stream);
    if (!one) answers.set(stream, (one = { status: undefined, headers: [], frames: [], body: Buffer.alloc(0), bytes: 0, ended: false, reset: undefined, credit: 0 }));
    return one;
  };
  let grantAll = true;
  sockets.on("connection", (socket, request) => {
    links.push(socket);
    tickets.push(request.headers.authorization);
    socket.on("close", (code) => closes.push(code));
    socket.on("message", (message: Buffer, isBinary) => {
      if (!isBinary) return socket.send("pong");
      const frames = decodeFrames(message);
      messages.push(frames);
      for (const frame of frames) {
        const one = of(frame.stream);
        one.frames.push(frame);
        if (frame.kind === frameKinds.open) ({ status: one.status, headers: one.headers } = readResponseHead(frame));
        else if (frame.kind === frameKinds.end) one.ended = true;
        else if (frame.kind === frameKinds.reset) one.reset = readReset(frame);
        else if (frame.kind === frameKinds.window) one.credit += readWindow(frame);
        else {
          one.bytes += frame.payload.byteLength;
          if (one.bytes <= 1 << 20) one.body = Buffer.concat([one.body, frame.payload]);
          if (grantAll) socket.send(encodeFrames([windowFrame(frame.stream, frame.payload.byteLength)]));
        }
      }
    });
  });
  const relayPort = await listen(server);
  const ports = loopbackPorts();
  let asked = 0;
  const relays = openRelays({
    url: `ws://127.0.0.1:${relayPort}`, host: "host_1", count: 1, clock: systemClock, timers: systemTimers, random: () => 0.01,
    log: createLog({ level: "error", clock: systemClock, write: (line) => console.error(line) }),
    answererOf: ({ target, upgrade }) => {
      if (target === "gone") return { refuse: { code: "no_target", message: "this host has no such replica" } };
      return { carry: (head, wire) => (upgrade ? carryWebSocket(head, port, wire) : carryHttp(head, port, ports.to(port), wire)) };
    },
    askTickets: () => {
      asked++;
      relays.tickets([{ index: 0, ticket: `again-${asked}` }]);
    },
    onChange: () => {},
    ...more,
  });
  cleanups.push(() => {
    relays.close();
    for (const link of links) link.terminate();
    ports.closeAll();
  });
  const count = more.count ?? 1;
  relays.tickets(Array.from({ length: count }, (_, index) => ({ index, ticket: "first" })));
  await until(() => relays.open.length === count);
  const link = (): WebSocket => links.at(-1) as WebSocket;
  return {
    relays, upstream, port, messages, tickets, closes, link, links, of,
    noGrants: () => (grantAll = false),
    send: (...frames: Frame[]) => link().send(encodeFrames(frames)),
  };
}

const open = (stream: number, more: Partial<RequestHead> = {}): Frame => jsonFrame(frameKinds.open, stream, { target: "chat.local.1", method: "GET", path: "/", headers: [], requestId: "r", ...more });
const end = (stream: number): Frame => ({ kind: frameKinds.end, stream, sequence: 0, payload: noPayload });
const data = (stream: number, sequence: number, payload: Uint8Array | string): Frame => ({ kind: frameKinds.data, stream, sequence, payload: Buffer.from(payload) });

describe("openRelays()", () => {
  test("carries a request and its answer, without the headers of the hop", async () => {
    const seen: IncomingMessage[] = [];
    const { send, of, tickets } = await world((request, response) => {
      seen.push(request);
      let body = "";
      request.on("data", (chunk) => (body += chunk)).on("end", () => {
        response.writeHead(201, [["set-cookie", "a=1"], ["set-cookie", "b=2"], ["content-encoding", "gzip"], ["connection", "x-hop"], ["x-hop", "1"], ["content-type", "text/plain"]].flat());
        response.end(`got ${body}`);
      });
    });
    send(open(1, { method: "POST", path: "/v1/x?y=1", headers: [["Host", "public.example"], ["Connection", "x-drop"], ["x-drop", "1"], ["x-keep", "2"], ["content-length", "5"]] }), data(1, 0, "hel"), data(1, 1, "lo"), end(1));
    await until(() => of(1).ended);
    expect(tickets).toEqual(["Bearer first"]);
    expect(seen[0]).toMatchObject({ method: "POST", url: "/v1/x?y=1" });
    expect(seen[0]?.headers).toMatchObject({ host: expect.stringMatching(/^127\.0\.0\.1:\d+$/), "x-keep": "2", "content-length": "5" });
    expect(seen[0]?.headers).not.toHaveProperty("x-drop");
    expect(of(1)).toMatchObject({ status: 201, body: Buffer.from("got hello") });
    expect(of(1).headers.filter(([name]) => name.toLowerCase() !== "date")).toEqual([["set-cookie", "a=1"], ["set-cookie", "b=2"], ["content-encoding", "gzip"], ["content-type", "text/plain"]]);
  });

  test("answers with credit before the replica says anything", async () => {
    const { send, of } = await world(() => {});
    send(open(1), end(1));
    await until(() => of(1).credit === windowBytes);
    expect(of(1).status).toBeUndefined();
  });

  test("streams as it comes, and makes one frame of what comes at once", async () => {
    let response: ServerResponse | undefined;
    const { send, of } = await world((_request, answer) => {
      answer.writeHead(200);
      answer.write("a");
      response = answer;
    });
    send(open(1), end(1));
    await until(() => of(1).body.toString() === "a");
    response?.cork();
    for (const text of ["b", "c", "d"]) response?.write(text);
    response?.uncork();
    await until(() => of(1).body.toString() === "abcd");
    response?.end();
    await until(() => of(1).ended);
    const body = of(1).frames.filter(({ kind }) => kind === frameKinds.data);
    expect(body.map(({ payload }) => Buffer.from(payload).toString())).toEqual(["a", "bcd"]);
    expect(body.map(({ sequence }) => sequence)).toEqual([0, 1]);
  });

  test("sends the frames of a tick as one message", async () => {
    const { send, of, messages } = await world((_request, answer) => void answer.end("x"));
    send(...Array.from({ length: 20 }, (_, i) => [open(i), end(i)]).flat());
    await until(() => Array.from({ length: 20 }, (_, i) => of(i).ended).every(Boolean));
    // each stream's sign that it has arrived; an answer that is there already comes with them
    const signs = messages[0]?.filter(({ kind }) => kind === frameKinds.window) ?? [];
    expect(signs.map(({ stream }) => stream)).toEqual(expect.arrayContaining(Array.from({ length: 20 }, (_, i) => i)));
    expect(messages.slice(1).flat().filter(({ kind }) => kind === frameKinds.window)).toEqual([]);
  });

  test("sends no more than its credit and holds the replica back", async () => {
    let written = 0;
    const { send, of, noGrants } = await world((_request, response) => {
      const chunk = Buffer.alloc(64 * 1024);
      const write = (): void => {
        while (written < 400 && response.write(chunk)) written++;
        if (written >= 400) response.end();
        else response.once("drain", () => (written++, write()));
      };
      write();
    });
    noGrants();
    const before = process.memoryUsage().arrayBuffers;
    send(open(1), end(1));
    await until(() => of(1).bytes === windowBytes);
    let last = -1;
    await until(() => {
      const still = written === last;
      last = written;
      return still;
    });
    // kernel buffers take some; 400 chunks would be 26 MB
    expect(written).toBeLessThan(300);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(12e6);
    expect(of(1).bytes).toBe(windowBytes);
    for (let granted = 0; granted < 401 * 64; granted += 256) send(windowFrame(1, windowBytes));
    await until(() => of(1).ended);
    expect(of(1).bytes).toBe(400 * 64 * 1024);
  });

  test("grants the client more only as the replica reads", async () => {
    let request: IncomingMessage | undefined;
    const { send, of } = await world((incoming, response) => {
      request = incoming;
      incoming.pause();
      incoming.on("end", () => response.end("ok"));
    });
    const total = 64 * 1024 * 1024;
    send(open(1, { method: "POST", headers: [["content-length", String(total)]] }));
    const chunk = Buffer.alloc(64 * 1024);
    let sequence = 0;
    let sent = 0;
    /** Spends all the credit there is. */
    const push = (): void => {
      while (sent < total && sent + chunk.byteLength <= windowBytes + of(1).credit) {
        send(data(1, sequence++, chunk));
        sent += chunk.byteLength;
      }
      if (sent >= total) send(end(1));
    };
    let last = -1;
    await until(() => {
      push();
      const still = sent === last && request !== undefined;
      last = sent;
      return still;
    });
    expect(sent).toBeLessThan(total / 2);
    request?.resume();
    await until(() => {
      if (sent < total) push();
      return of(1).ended;
    }, 15_000);
    expect(of(1)).toMatchObject({ status: 200, reset: undefined });
  });

  test("cancels the replica's request at once when the stream is reset", async () => {
    let gone = false;
    const { send, of } = await world((_request, response) => {
      response.on("close", () => (gone = true));
      response.write("a");
    });
    send(open(1), end(1));
    await until(() => of(1).body.byteLength === 1);
    send(jsonFrame(frameKinds.reset, 1, { code: "cancelled", message: "" }));
    await until(() => gone);
    expect(of(1).reset).toBeUndefined();
  });

  test("cancels every request of a link that is lost, and connects again with a new ticket", async () => {
    let gone = 0;
    const { send, of, link, relays, tickets } = await world((_request, response) => {
      response.on("close", () => gone++);
      response.write("a");
    });
    send(open(1), end(1), open(2), end(2));
    await until(() => of(1).body.byteLength === 1 && of(2).body.byteLength === 1);
    link().terminate();
    await until(() => gone === 2);
    await until(() => tickets.length === 2 && relays.open.length === 1);
    expect(tickets[1]).toBe("Bearer again-1");
  });

  describe("with two links", () => {
    const attempt = { id: "a", turn: 0 };
    const attach = (stream: number, from: number, turn = 1): Frame => open(stream, { target: attachTarget, attempt: { id: "a", turn, from } });

    test("row 20: an answer whose link is lost goes on by the other, from the byte it asks for, and the replica is asked once", async () => {
      let answer: ServerResponse | undefined;
      let requests = 0;
      const { links, of } = await world((_request, response) => {
        requests++;
        answer = response;
        response.writeHead(200, { "content-type": "text/event-stream" }).write("0123");
      }, { count: 2, times: { staggerMs: 1 } });
      links[0]?.send(encodeFrames([open(1, { attempt }), end(1)]));
      await until(() => of(1).body.toString() === "0123");
      links[0]?.terminate();
      answer?.write("45");
      links[1]?.send(encodeFrames([attach(2, 3), end(2)]));
      await until(() => of(2).body.toString() === "345");
      answer?.end("67");
      await until(() => of(2).ended);
      expect(of(2)).toMatchObject({ status: 200, headers: expect.arrayContaining([["content-type", "text/event-stream"]]), body: Buffer.from("34567") });
      expect(requests).toBe(1);
    });

    test("row 26: a stream that is reset is cancelled at once, and gone, however it was asked for", async () => {
      let gone = false;
      const { links, of } = await world((_request, response) => {
        response.on("close", () => (gone = true));
        response.write("a");
      }, { count: 2, times: { staggerMs: 1 } });
      links[0]?.send(encodeFrames([open(1, { attempt }), end(1)]));
      await until(() => of(1).body.byteLength === 1);
      links[0]?.send(encodeFrames([jsonFrame(frameKinds.reset, 1, { code: "cancelled", message: "" })]));
      await until(() => gone);
      links[1]?.send(encodeFrames([attach(2, 1), end(2)]));
      await until(() => of(2).reset !== undefined);
      expect(of(2).reset?.code).toBe("gone");
    });

    test("row 37: what nobody comes for is cancelled when its time is over", async () => {
      let gone = false;
      const planned: { ms: number; action: () => void }[] = [];
      const { links, of } = await world((_request, response) => {
        response.on("close", () => (gone = true));
        response.write("a");
      }, { count: 2, times: { staggerMs: 1 }, timers: { after: (ms, action) => (ms === linkTimes.parkMs ? (planned.push({ ms, action }), () => {}) : systemTimers.after(ms, action)) } });
      links[0]?.send(encodeFrames([open(1, { attempt }), end(1)]));
      await until(() => of(1).body.byteLength === 1);
      links[0]?.terminate();
      await until(() => planned.length === 1);
      expect(gone).toBe(false);
      planned[0]?.action();
      await until(() => gone);
    });
  });

  test.each<[string, RequestListener, ResetReason["code"]]>([
    ["nothing", (request) => void request.socket.destroy(), "upstream_lost"],
    ["a head and then breaks off", (_request, response) => void (response.writeHead(200), response.write("x", () => response.socket?.destroy())), "upstream_lost"],
    ["less than its content-length", (_request, response) => void (response.writeHead(200, { "content-length": "10" }), response.write("x", () => response.socket?.end())), "upstream_lost"],
    ["less than its content-length, saying it would close", (_request, response) => void (response.writeHead(200, { "content-length": "10", connection: "close" }), response.write("x", () => response.socket?.end())), "upstream_lost"],
    ["chunks without the last one", (_request, response) => void (response.writeHead(200, { connection: "close", "transfer-encoding": "chunked" }), response.write("x", () => response.socket?.end())), "upstream_lost"],
  ])("resets the stream when the replica answers %s", async (_name, answer, code) => {
    const { send, of } = await world(answer);
    send(open(1), end(1));
    await until(() => of(1).reset !== undefined || of(1).ended);
    expect(of(1).reset?.code).toBe(code);
    expect(of(1).ended).toBe(false);
  });

  test("resets streams that nobody answers, and those whose body has a gap, and keeps the others", async () => {
    const { send, of } = await world((request, response) => void request.on("end", () => response.end("ok")).resume());
    send(open(1, { target: "gone" }), end(1), open(2, { method: "POST" }), data(2, 1, "x"), open(3), end(3), open(4, { headers: [["bad header", "x"]] }), end(4));
    await until(() => of(3).ended && of(4).reset !== undefined);
    expect([of(1).reset?.code, of(2).reset?.code, of(4).reset?.code]).toEqual(["no_target", "protocol", "protocol"]);
  });

  test("answers HEAD and 204 without a body", async () => {
    const { send, of } = await world((request, response) => void (request.method === "HEAD" ? response.writeHead(200, { "content-length": "10" }).end() : response.writeHead(204).end()));
    send(open(1, { method: "HEAD" }), end(1), open(2), end(2));
    await until(() => of(1).ended && of(2).ended);
    expect([of(1).status, of(2).status]).toEqual([200, 204]);
  });

  test("closes a link that sends malformed frames with 1008 and opens another", async () => {
    const { link, closes, relays, tickets } = await world(undefined);
    link().send(Buffer.from("no frames at all"));
    await until(() => closes.length === 1 && tickets.length === 2 && relays.open.length === 1);
    expect(closes).toEqual([1008]);
  });

  test("takes a link for dead when nothing comes, and opens another", async () => {
    const { link, tickets, relays } = await world(undefined, { times: { silentMs: 150, pingMs: 40 } });
    await until(() => relays.open.length === 1);
    link().removeAllListeners("message");
    link().pause();
    await until(() => tickets.length === 2);
  });

  test("carries WebSockets both ways: subprotocol, text, bytes and close", async () => {
    const { send, of, upstream } = await world(undefined);
    const replica = new WebSocketServer({ server: upstream, handleProtocols: () => "chat.2" });
    const closes: [number, string][] = [];
    replica.on("connection", (socket, request) => {
      socket.on("message", (message: Buffer, isBinary) => socket.send(message, { binary: isBinary }));
      socket.on("close", (code, reason) => closes.push([code, reason.toString()]));
      socket.send(`hello ${request.url}`);
    });
    send(open(1, { upgrade: true, path: "/ws?x=1", headers: [["sec-websocket-protocol", "chat.1, chat.2"], ["sec-websocket-key", "x"], ["upgrade", "websocket"]] }));
    await until(() => of(1).body.toString() === "hello /ws?x=1");
    expect(of(1).status).toBe(101);
    const head = of(1).frames.find(({ kind }) => kind === frameKinds.open);
    expect(head && readResponseHead(head).protocol).toBe("chat.2");
    send({ kind: frameKinds.text, stream: 1, sequence: 0, payload: Buffer.from("tëxt") }, { kind: frameKinds.data, stream: 1, sequence: 1, payload: Uint8Array.of(1, 2) });
    await until(() => of(1).frames.filter(({ kind }) => kind === frameKinds.data).length === 1);
    expect(of(1).frames.filter(({ kind }) => kind === frameKinds.text).map(({ payload }) => Buffer.from(payload).toString())).toEqual(["hello /ws?x=1", "tëxt"]);
    send({ kind: frameKinds.end, stream: 1, sequence: 0, payload: Buffer.from('{"code":4001,"reason":"done"}') });
    await until(() => of(1).ended && closes.length === 1);
    expect(closes).toEqual([[4001, "done"]]);
  });

  test("lets a client whose subprotocols the replica does not take decide for itself, tells it what else was answered, and is gone as it is", async () => {
    const { send, of, upstream } = await world(undefined);
    const replica = new WebSocketServer({ server: upstream, handleProtocols: () => false });
    replica.on("headers", (headers) => headers.push("Set-Cookie: a=1"));
    const closes: number[] = [];
    replica.on("connection", (socket, request) => {
      socket.on("close", (code) => closes.push(code));
      socket.send(String(request.headers["sec-websocket-protocol"]));
    });
    for (const [stream, code] of [[1, 1005], [2, 1006]] as const) {
      send(open(stream, { upgrade: true, headers: [["sec-websocket-protocol", "v1, v2"]] }));
      await until(() => of(stream).body.toString() === "v1, v2");
      const head = of(stream).frames.find(({ kind }) => kind === frameKinds.open);
      expect(head && readResponseHead(head)).toEqual({ status: 101, headers: [["Set-Cookie", "a=1"]] });
      send({ kind: frameKinds.end, stream, sequence: 0, payload: Buffer.from(JSON.stringify({ code, reason: "" })) });
      await until(() => closes.at(-1) === code);
    }
  });

  test("carries what headers say beyond ASCII as it was written, both ways", async () => {
    const written = Buffer.from("港, Café", "utf8").toString("latin1");
    const seen: (string | string[] | undefined)[] = [];
    const { send, of } = await world((request, response) => {
      seen.push(request.headers["x-title"]);
      response.writeHead(200, ["x-file", written, "x-old", "caf\xe9"]).end();
    });
    send(open(1, { headers: [["x-title", "港, Café"]] }), end(1));
    await until(() => of(1).ended);
    expect(seen).toEqual([written]);
    expect(of(1).headers).toEqual(expect.arrayContaining([["x-file", "港, Café"], ["x-old", "caf\xe9"]]));
  });

  test("passes on the answer of a replica that wants no WebSocket", async () => {
    const { send, of } = await world((_request, response) => void response.writeHead(426, { "x-why": "no" }).end("upgrade not wanted"));
    send(open(1, { upgrade: true }));
    await until(() => of(1).ended);
    expect(of(1)).toMatchObject({ status: 426, body: Buffer.from("upgrade not wanted") });
  });
});
