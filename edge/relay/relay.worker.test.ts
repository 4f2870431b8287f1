import { evictDurableObject } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { frameKinds, jsonFrame, noPayload, readRequestHead, readReset, windowBytes, windowFrame, type Frame } from "../../schema/frames.ts";
import { closeCodes } from "../../schema/protocol.ts";
import { bundle, newHost, publish, self, soon, TestLink, TestRelayLink, world } from "../../test/worker/world.ts";
import { attemptHeader, carriageHeader } from "../forward/outcome.ts";
import { silenceMs } from "../forward/silence.ts";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

let version = Date.now();
let n = 0;
let host = "";
let link: TestRelayLink;

beforeEach(async () => {
  host = `host_relay${++n}`;
  const known = await newHost(host);
  await publish(bundle(++version, { hosts: [known] }));
  const control = await TestLink.join(known);
  const ticket = control.welcome?.relays[0];
  if (ticket === undefined) throw new Error("no ticket");
  link = await TestRelayLink.open(host, ticket);
});

afterEach(() => link.socket.close(1000, "done"));

function carry(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  headers.set("x-fairlead-target", "chat.local.1");
  headers.set("x-fairlead-request", "req_1");
  return world.RELAY.getByName(`${host}/0`).fetch(`http://carry${path}`, { ...init, headers });
}

/** The agent's side: acknowledges, then answers. */
async function accept(): Promise<Frame> {
  const open = await link.next(frameKinds.open);
  link.send(windowFrame(open.stream, windowBytes));
  return open;
}

function data(stream: number, sequence: number, text: string): Frame {
  return { kind: frameKinds.data, stream, sequence, payload: encode(text) };
}

describe("Relay: requests", () => {
  test("a request reaches the agent whole and its answer comes back untouched", async () => {
    const answer = carry("/v1/chat/completions?x=1", { method: "POST", body: "hello", headers: { "content-type": "text/plain" } });
    const open = await accept();
    const head = readRequestHead(open);
    expect(head).toMatchObject({ target: "chat.local.1", method: "POST", path: "/v1/chat/completions?x=1", requestId: "req_1" });
    expect(head.headers.some(([name]) => name.startsWith("x-fairlead-"))).toBe(false);
    expect(decode((await link.next(frameKinds.data)).payload)).toBe("hello");
    await link.next(frameKinds.end);
    link.send(
      jsonFrame(frameKinds.open, open.stream, { status: 201, headers: [["content-type", "text/plain"], ["set-cookie", "a=1"], ["set-cookie", "b=2"], ["x-fairlead-carriage", "forged"]] }),
      data(open.stream, 0, "wor"),
      data(open.stream, 1, "ld"),
      { kind: frameKinds.end, stream: open.stream, sequence: 0, payload: noPayload },
    );
    const response = await answer;
    expect(response.status).toBe(201);
    expect(response.headers.getSetCookie()).toEqual(["a=1", "b=2"]);
    expect(response.headers.has(carriageHeader)).toBe(false);
    expect(await response.text()).toBe("world");
  });

  test("a small request is one message to the agent", async () => {
    const before = link.messages;
    const answer = carry("/v1/embeddings", { method: "POST", body: "x".repeat(60_000) });
    const open = await link.next(frameKinds.open);
    expect((await link.next(frameKinds.data, open.stream)).payload.byteLength).toBe(60_000);
    await link.next(frameKinds.end, open.stream);
    expect(link.messages - before).toBe(1);
    link.send(jsonFrame(frameKinds.open, open.stream, { status: 204, headers: [] }), { kind: frameKinds.end, stream: open.stream, sequence: 0, payload: noPayload });
    expect((await answer).status).toBe(204);
  });

  test("a large request comes as a stream, whole and in order", async () => {
    const text = Array.from({ length: 20_000 }, (_, i) => `${i},`).join("");
    const answer = carry("/v1/embeddings", { method: "POST", body: text });
    const open = await accept();
    await link.next(frameKinds.end, open.stream);
    const sent = link.frames.filter(({ kind, stream }) => kind === frameKinds.data && stream === open.stream);
    expect(sent.map(({ payload }) => decode(payload)).join("")).toBe(text);
    link.send(jsonFrame(frameKinds.open, open.stream, { status: 204, headers: [] }), { kind: frameKinds.end, stream: open.stream, sequence: 0, payload: noPayload });
    expect((await answer).status).toBe(204);
  });

  test("an answer that is whole in one message, but breaks the protocol, is no answer", async () => {
    const answer = carry("/");
    const open = await accept();
    link.send(jsonFrame(frameKinds.open, open.stream, { status: 200, headers: [] }), data(open.stream, 1, "x"), { kind: frameKinds.end, stream: open.stream, sequence: 0, payload: noPayload });
    expect((await answer).headers.get(carriageHeader)).toBe("protocol");
  });

  test("two streams on one link do not mix", async () => {
    const first = carry("/1");
    const a = await accept();
    const second = carry("/2");
    const b = await accept();
    for (const [i, open] of [b, a, b, a].entries()) {
      if (i < 2) link.send(jsonFrame(frameKinds.open, open.stream, { status: 200, headers: [] }));
      link.send(data(open.stream, i < 2 ? 0 : 1, open === a ? "a" : "b"));
    }
    link.send({ kind: frameKinds.end, stream: a.stream, sequence: 0, payload: noPayload }, { kind: frameKinds.end, stream: b.stream, sequence: 0, payload: noPayload });
    expect([await (await first).text(), await (await second).text()]).toEqual(["aa", "bb"]);
  });

  test.each([
    ["connect_failed", "connect_failed"],
    ["no_target", "no_target"],
    ["upstream_lost", "upstream_lost"],
  ] as const)("a reset %s before the head is the router's to see", async (code, seen) => {
    const answer = carry("/");
    const open = await accept();
    link.send(jsonFrame(frameKinds.reset, open.stream, { code, message: "why" }));
    expect((await answer).headers.get(carriageHeader)).toBe(seen);
  });

  test("a relay without its agent says so at once", async () => {
    const nobody = await world.RELAY.getByName("host_none/0").fetch("http://carry/", { headers: { "x-fairlead-target": "x" } });
    expect(nobody.headers.get(carriageHeader)).toBe("no_agent");
  });

  test("an agent that says nothing is given up after a second", async () => {
    const started = Date.now();
    const answer = await carry("/");
    expect(answer.headers.get(carriageHeader)).toBe("no_ack");
    expect(Date.now() - started).toBeLessThan(2_500);
    expect(readReset(await link.next(frameKinds.reset)).code).toBe("cancelled");
  });

  test("the agent's death before the head is `carrier_lost`, which is no word against the replica", async () => {
    const answer = carry("/");
    await accept();
    link.socket.close(1011, "died");
    expect((await answer).headers.get(carriageHeader)).toBe("carrier_lost");
  });
});

describe("Relay: streams", () => {
  async function stream(headers: [string, string][]): Promise<{ open: Frame; response: Response }> {
    const answer = carry("/");
    const open = await accept();
    link.send(jsonFrame(frameKinds.open, open.stream, { status: 200, headers }));
    return { open, response: await answer };
  }

  test("a broken event stream ends with one typed error and no [DONE]", async () => {
    const { open, response } = await stream([["content-type", "text/event-stream"]]);
    link.send(data(open.stream, 0, 'data: {"a":1}\n\ndata: {"b'));
    link.send(jsonFrame(frameKinds.reset, open.stream, { code: "upstream_lost", message: "killed" }));
    const text = await response.text();
    expect(text).toContain('"code":"provider_unreachable"');
    expect(text).not.toContain("[DONE]");
    expect(text.split("\n\n").at(-2)).toMatch(/^data: \{"error"/);
  });

  test("a broken body of another kind ends with an error, not with an EOF", async () => {
    const { open, response } = await stream([["content-type", "text/plain"]]);
    link.send(data(open.stream, 0, "half"));
    link.send(jsonFrame(frameKinds.reset, open.stream, { code: "upstream_lost", message: "killed" }));
    await expect(response.text()).rejects.toThrow();
  });

  test.each<[string, (open: Frame) => void, string | undefined]>([
    ["its agent said why", ({ stream: id }) => link.send(jsonFrame(frameKinds.reset, id, { code: "upstream_lost", message: "killed" })), "upstream_lost"],
    ["its replica is being stopped", ({ stream: id }) => link.send(jsonFrame(frameKinds.reset, id, { code: "cancelled", message: "stopping" })), "cancelled"],
    ["its agent has gone", () => link.socket.close(1011, "died"), "carrier_lost"],
    ["its end has come", ({ stream: id }) => link.send({ kind: frameKinds.end, stream: id, sequence: 0, payload: noPayload }), undefined],
  ])("whyBroken() knows of an answer that stopped because %s", async (_, stop, why) => {
    const { open, response } = await stream([["content-type", "text/event-stream"]]);
    const relay = world.RELAY.getByName(`${host}/0`);
    expect(await relay.whyBroken("req_1")).toBeUndefined();
    stop(open);
    await response.text();
    expect(await relay.whyBroken("req_1")).toBe(why);
  });

  test("comments fill the silence of an event stream, between events only", async () => {
    const { open, response } = await stream([["content-type", "text/event-stream"]]);
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    expect(decode((await reader.read()).value ?? noPayload)).toBe(": \n\n");
    link.send(data(open.stream, 0, "data: par"));
    expect(decode((await reader.read()).value ?? noPayload)).toBe("data: par");
    const next = reader.read().then(({ value }) => decode(value ?? noPayload));
    expect(await Promise.race([next, scheduler.wait(900).then(() => "silence")])).toBe("silence");
    link.send(data(open.stream, 1, "tial\n\n"));
    expect(await next).toBe("tial\n\n");
    await reader.cancel();
  });

  test("an event stream that is packed is left as it is: its silences silent, its loss an error", async () => {
    const headers: [string, string][] = [["content-type", "text/event-stream"], ["content-encoding", "gzip"]];
    const packed = new Uint8Array(await new Response(new Blob(["data: 1\n\n"]).stream().pipeThrough(new CompressionStream("gzip"))).arrayBuffer());
    const [whole, broken] = [await stream(headers), await stream(headers)];
    await scheduler.wait(2 * silenceMs);
    link.send({ kind: frameKinds.data, stream: whole.open.stream, sequence: 0, payload: packed }, { kind: frameKinds.end, stream: whole.open.stream, sequence: 0, payload: noPayload });
    expect(await whole.response.text()).toBe("data: 1\n\n");
    link.send({ kind: frameKinds.data, stream: broken.open.stream, sequence: 0, payload: packed.subarray(0, 12) }, jsonFrame(frameKinds.reset, broken.open.stream, { code: "upstream_lost", message: "killed" }));
    await expect(broken.response.text()).rejects.toThrow("the answer broke off");
  });

  test("a client that goes away resets the stream at the agent", async () => {
    const { open, response } = await stream([["content-type", "text/event-stream"]]);
    await response.body?.cancel();
    expect(readReset(await link.next(frameKinds.reset, open.stream)).code).toBe("cancelled");
  });

  test.each(["nothing", "a head", "a head and an event"])("a client that goes away when the agent has said %s and is silent resets the stream at the agent", async (said) => {
    const client = new AbortController();
    const answer = carry("/", { signal: client.signal });
    const open = await accept();
    if (said !== "nothing") link.send(jsonFrame(frameKinds.open, open.stream, { status: 200, headers: [["content-type", "text/event-stream"]] }));
    if (said === "a head and an event") link.send(data(open.stream, 0, "data: 1\n\n"));
    const body = said === "nothing" ? answer : answer.then((response) => response.text());
    if (said !== "nothing") await answer;
    client.abort();
    await expect(body).rejects.toThrow();
    expect(readReset(await link.next(frameKinds.reset, open.stream)).code).toBe("cancelled");
  });

  test("credit is granted only as the client reads", async () => {
    const { open, response } = await stream([["content-type", "application/octet-stream"]]);
    const chunk = new Uint8Array(64 * 1024);
    for (let i = 0; i < 4; i++) link.send({ kind: frameKinds.data, stream: open.stream, sequence: i, payload: chunk });
    await scheduler.wait(50);
    const granted = (): number => link.frames.filter((frame) => frame.kind === frameKinds.window && frame.stream === open.stream).reduce((sum, { payload }) => sum + new DataView(payload.buffer, payload.byteOffset, 4).getUint32(0), 0);
    // what sits unread in the Relay earns no new credit; the runtime itself may have read some of it ahead
    expect(granted()).toBeLessThanOrEqual(windowBytes);
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    for (let read = 0; read < 4 * chunk.byteLength; ) read += (await reader.read()).value?.byteLength ?? Number.NaN;
    await soon("a full window of credit", 20_000, () => (granted() >= windowBytes / 2 ? true : undefined));
    await reader.cancel();
  });

  test.each([
    ["a gap in the sequence", (stream: number): Frame => data(stream, 7, "x")],
    ["more than was granted", (stream: number): Frame => ({ kind: frameKinds.data, stream, sequence: 0, payload: new Uint8Array(windowBytes + 1) })],
  ])("%s breaks the stream off", async (_, frame) => {
    const { open, response } = await stream([["content-type", "text/plain"]]);
    link.send(frame(open.stream));
    await expect(response.text()).rejects.toThrow();
    expect(readReset(await link.next(frameKinds.reset, open.stream)).code).toBe("protocol");
  });
});

describe("Relay: answers that are kept", () => {
  const attempt = { id: "a", turn: 0 };
  const kept = (path = "/"): Promise<Response> => carry(path, { headers: { [attemptHeader]: JSON.stringify(attempt) } });

  async function stream(): Promise<{ open: Frame; response: Response }> {
    const answer = kept();
    const open = await accept();
    link.send(jsonFrame(frameKinds.open, open.stream, { status: 200, headers: [["content-type", "text/event-stream"]] }));
    return { open, response: await answer };
  }

  test("the agent is told which attempt it is", async () => {
    const answer = kept();
    const open = await accept();
    expect(readRequestHead(open)).toMatchObject({ attempt, headers: expect.not.arrayContaining([[attemptHeader, expect.anything()]]) });
    link.send(jsonFrame(frameKinds.open, open.stream, { status: 204, headers: [] }));
    expect((await answer).status).toBe(204);
  });

  test("of its headers those cross that a router looks at", async () => {
    const answer = kept();
    const open = await accept();
    const headers: [string, string][] = [["Content-Type", "application/json"], ["Retry-After", "3"], ["date", "now"], ["server", "uvicorn"], ["set-cookie", "a=1"], ["x-fairlead-carriage", "forged"]];
    link.send(jsonFrame(frameKinds.open, open.stream, { status: 503, headers }), { kind: frameKinds.end, stream: open.stream, sequence: 0, payload: noPayload });
    expect(Object.fromEntries((await answer).headers)).toEqual({ "content-type": "application/json", "retry-after": "3" });
  });

  test("silence is left silent", async () => {
    const { open, response } = await stream();
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    const next = reader.read().then(({ value }) => decode(value ?? noPayload));
    expect(await Promise.race([next, scheduler.wait(900).then(() => "silence")])).toBe("silence");
    link.send(data(open.stream, 0, "data: 1\n\n"));
    expect(await next).toBe("data: 1\n\n");
    await reader.cancel();
  });

  test.each<[string, (open: Frame) => void]>([
    ["its upstream", (open) => link.send(jsonFrame(frameKinds.reset, open.stream, { code: "upstream_lost", message: "killed" }))],
    ["its agent", () => link.socket.close(1011, "died")],
  ])("one that is lost with %s is read as far as it came, and then breaks off", async (_, lose) => {
    const { open, response } = await stream();
    const parts = Array.from({ length: 20 }, (_, i) => "x".repeat(1000 + i));
    link.send(...parts.map((part, i) => data(open.stream, i, part)));
    lose(open);
    await scheduler.wait(20);
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    let text = "";
    const read = async (): Promise<void> => {
      for (let part = await reader.read(); !part.done; part = await reader.read()) text += decode(part.value);
    };
    await expect(read()).rejects.toThrow();
    expect(text).toBe(parts.join(""));
  });

  test("its carrier's loss before the head is told apart from its upstream's", async () => {
    const first = kept();
    const open = await accept();
    link.send(jsonFrame(frameKinds.reset, open.stream, { code: "upstream_lost", message: "killed" }));
    expect((await first).headers.get(carriageHeader)).toBe("upstream_lost");
    const second = kept();
    await accept();
    link.socket.close(1011, "died");
    expect((await second).headers.get(carriageHeader)).toBe("carrier_lost");
  });
});

describe("Relay: links", () => {
  test.each([
    ["bytes that are no frames", new Uint8Array([9, 9, 9])],
    ["text", "hello"],
  ])("%s close the link with 1008", async (_, message) => {
    link.socket.send(message);
    expect((await soon("a close", 20_000, () => link.closed)).code).toBe(closeCodes.policy);
  });

  test.each([
    ["no ticket", "relay/host_x/0", ""],
    ["junk", "relay/host_x/0", "Bearer junk"],
  ])("%s opens no link", async (_, path, authorization) => {
    const response = await self.fetch(`http://fleet/agents/${path}`, { headers: { upgrade: "websocket", authorization } });
    expect(response.status).toBe(401);
  });

  test("the link survives eviction", async () => {
    await evictDurableObject(world.RELAY.getByName(`${host}/0`), { webSockets: "hibernate" });
    const answer = carry("/");
    const open = await accept();
    link.send(jsonFrame(frameKinds.open, open.stream, { status: 204, headers: [] }), { kind: frameKinds.end, stream: open.stream, sequence: 0, payload: noPayload });
    expect((await answer).status).toBe(204);
  });

  test("what a client of a WebSocket sends faster than its service reads waits, in order, and its close behind it", async () => {
    const answer = carry("/ws", { headers: { upgrade: "websocket" } });
    const { stream } = await accept();
    link.send(jsonFrame(frameKinds.open, stream, { status: 101, headers: [] }));
    const socket = (await answer).webSocket;
    if (socket === null) throw new Error("no socket");
    socket.accept();
    const sizeBytes = 100_000;
    const count = 8;
    for (let i = 0; i < count; i++) socket.send(new Uint8Array(sizeBytes).fill(i));
    socket.close(4002, "sent");
    const firsts: number[] = [];
    for (let i = 0; i < count; i++) {
      const { payload, sequence } = await link.next(frameKinds.data, stream);
      expect([sequence, payload.byteLength]).toEqual([i, sizeBytes]);
      firsts.push(payload[0] ?? -1);
      // what it began with is gone now: the rest comes as there is room, and the close not before
      if (i === 4) expect(link.frames.some(({ kind, stream: of }) => of === stream && (kind === frameKinds.data || kind === frameKinds.end))).toBe(false);
      link.send(windowFrame(stream, sizeBytes));
    }
    expect(firsts).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(JSON.parse(decode((await link.next(frameKinds.end, stream)).payload))).toEqual({ code: 4002, reason: "sent" });
  });

  test.each([
    ["a message that no credit has room for", [500_000], "the message is too large to be carried"],
    ["more than may wait", Array.from({ length: 20 }, () => 100_000), "the client sends faster than the service reads"],
  ])("%s closes a client's WebSocket with 1009, which says so", async (_name, sizes, reason) => {
    const answer = carry("/ws", { headers: { upgrade: "websocket" } });
    const { stream } = await accept();
    link.send(jsonFrame(frameKinds.open, stream, { status: 101, headers: [] }));
    const socket = (await answer).webSocket;
    if (socket === null) throw new Error("no socket");
    const closed: unknown[] = [];
    socket.addEventListener("close", (event) => void closed.push([event.code, event.reason]));
    socket.accept();
    for (const bytes of sizes) socket.send(new Uint8Array(bytes));
    await soon("the close", 20_000, () => (closed.length === 1 ? true : undefined));
    expect(closed).toEqual([[1009, reason]]);
    expect(readReset(await link.next(frameKinds.reset, stream)).code).toBe("too_large");
  });

  test("a WebSocket of a service goes through, text and binary, and closes both ways", async () => {
    const answer = carry("/ws", { headers: { upgrade: "websocket" } });
    const open = await accept();
    expect(readRequestHead(open).upgrade).toBe(true);
    link.send(jsonFrame(frameKinds.open, open.stream, { status: 101, headers: [] }));
    const socket = (await answer).webSocket;
    if (socket === null) throw new Error("no socket");
    const seen: unknown[] = [];
    socket.binaryType = "arraybuffer";
    socket.addEventListener("message", ({ data: message }) => void seen.push(message));
    socket.accept();
    socket.send("ping");
    expect(decode((await link.next(frameKinds.text)).payload)).toBe("ping");
    link.send({ kind: frameKinds.text, stream: open.stream, sequence: 0, payload: encode("pong") }, { kind: frameKinds.data, stream: open.stream, sequence: 1, payload: new Uint8Array([1, 2]) });
    await soon("both messages", 20_000, () => (seen.length === 2 ? true : undefined));
    expect(seen[0]).toBe("pong");
    expect([...new Uint8Array(seen[1] as ArrayBuffer)]).toEqual([1, 2]);
    socket.close(1000, "bye");
    await link.next(frameKinds.end, open.stream);
  });
});
