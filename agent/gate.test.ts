import { once } from "node:events";
import { createServer, request as httpRequest, type ClientRequest, type IncomingMessage, type RequestListener } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import { systemClock } from "../schema/clock.ts";
import { attachTarget, windowBytes, type RequestHead } from "../schema/frames.ts";
import { gateHeaders, gateKeyOf, gateTimes, makePass, passKey } from "../schema/gate.ts";
import { keepAttempts } from "./attempts.ts";
import { carryHttp, loopbackPorts } from "./carry.ts";
import { ConfigError } from "./config.ts";
import { openGate } from "./gate.ts";
import { createLog } from "./log.ts";
import { systemTimers } from "./timers.ts";

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const clean of cleanups.splice(0).toReversed()) clean();
});

async function until(condition: () => boolean, ms = 20_000): Promise<void> {
  for (const end = Date.now() + ms; !condition(); await wait(5)) if (Date.now() > end) throw new Error(`not so within ${ms} ms: ${condition.toString()}`);
}

const key = await gateKeyOf("secret", "host_1", 1);
let nonces = 0;

/** An engine, and the gate before it. */
async function world(engine: RequestListener) {
  const upstream = createServer(engine);
  upstream.listen(0, "127.0.0.1");
  await once(upstream, "listening");
  const { port } = upstream.address() as AddressInfo;
  const ports = loopbackPorts();
  const attempts = keepAttempts({
    clock: systemClock, timers: systemTimers,
    answererOf: ({ target }: RequestHead) => (target === "chat.local.1" ? { carry: (head, wire) => carryHttp(head, port, ports.to(port), wire) } : { refuse: { code: "no_target", message: "this host has no such replica" } }),
  });
  const gate = await openGate({
    host: "127.0.0.1", port: 0, url: "http://gate.example", hostId: "host_1", answererOf: (head) => attempts.answererOf(head), monotonic: () => performance.now(), timers: systemTimers,
    log: createLog({ level: "error", clock: systemClock, write: (line) => console.error(line) }),
  });
  gate.admit({ key, now: Date.now() });
  cleanups.push(() => {
    gate.close();
    attempts.close();
    ports.closeAll();
    upstream.closeAllConnections();
    upstream.close();
  });
  const ask = async (path: string, { body, attempt, target = "chat.local.1", pass }: { body?: string | Uint8Array; attempt?: object; target?: string; pass?: string } = {}): Promise<IncomingMessage> => (await begin(path, { body, attempt, target, pass }))[0];
  const begin = async (path: string, { body, attempt, target = "chat.local.1", pass, onSocket }: { body?: string | Uint8Array | undefined; attempt?: object | undefined; target?: string; pass?: string | undefined; onSocket?: (socket: Socket) => void }): Promise<[IncomingMessage, ClientRequest]> => {
    const method = body === undefined ? "GET" : "POST";
    const attemptText = attempt === undefined ? "" : JSON.stringify(attempt);
    const facts = { host: "host_1", target, method, path, requestId: "r1", attempt: attemptText, expiresAt: Date.now() + gateTimes.passMs, nonce: `nonce-${String(nonces++).padStart(16, "0")}` };
    const headers = {
      [gateHeaders.pass]: pass ?? (await makePass(await passKey(key), facts)), [gateHeaders.target]: target, [gateHeaders.request]: "r1", "x-mine": "1", "cf-ray": "1", "accept-encoding": "gzip",
      ...(attempt === undefined ? {} : { [gateHeaders.attempt]: attemptText }), ...(body === undefined ? {} : { "content-length": Buffer.byteLength(body) }),
    };
    const request = httpRequest({ port: gate.port, host: "127.0.0.1", method, path, headers, agent: false });
    request.once("socket", (socket) => onSocket?.(socket));
    request.end(body);
    const [response] = (await once(request, "response")) as [IncomingMessage];
    return [response, request];
  };
  return { ask, begin, gate };
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of response) text += String(chunk);
  return text;
}

describe("openGate()", () => {
  test("a port that is taken, or a certificate that is not there, is an error of the configuration, in one line", async () => {
    const taken = createServer();
    taken.listen(0, "127.0.0.1");
    await once(taken, "listening");
    cleanups.push(() => void taken.close());
    const open = (more: { port?: number; tls?: { cert: string; key: string } }): Promise<unknown> =>
      openGate({ host: "127.0.0.1", port: 0, url: "http://gate.example", hostId: "host_1", answererOf: () => ({ refuse: { code: "no_target", message: "" } }), monotonic: () => 0, timers: systemTimers, log: createLog({ level: "error", clock: systemClock, write: () => undefined }), ...more });
    for (const more of [{ port: (taken.address() as AddressInfo).port }, { tls: { cert: "/nowhere/cert.pem", key: "/nowhere/key.pem" } }]) {
      const error: unknown = await open(more).catch((why: unknown) => why);
      expect(error).toBeInstanceOf(ConfigError);
      expect((error as Error).message).toMatch(/^Cannot open the gate on 127\.0\.0\.1:\d+: .*(EADDRINUSE|ENOENT)[^\n]*$/);
    }
  });

  test("carries a request whole, with its length and without what is between edge and gate", async () => {
    let seen: IncomingMessage["headers"] = {};
    const { ask } = await world((request, response) => {
      seen = request.headers;
      response.writeHead(201, { "content-type": "text/plain", "x-fairlead-carriage": "forged" });
      request.pipe(response);
    });
    const response = await ask("/v1/echo?x=1", { body: "hello" });
    expect(response.statusCode).toBe(201);
    expect(response.headers).toMatchObject({ "content-type": "text/plain", [gateHeaders.request]: "r1" });
    expect(response.headers).not.toHaveProperty(gateHeaders.failure);
    expect(await textOf(response)).toBe("hello");
    expect(seen).toMatchObject({ "x-mine": "1", "content-length": "5" });
    expect(Object.keys(seen).filter((name) => /^(x-fairlead|cf-|accept-encoding)/.test(name))).toEqual([]);
  });

  test("nobody comes in without a pass, nor to what the relays would not carry to", async () => {
    let asked = 0;
    const { ask, gate } = await world((_, response) => {
      asked++;
      response.end();
    });
    expect((await fetch(`http://127.0.0.1:${gate.port}/v1/models`)).status).toBe(401);
    expect((await ask("/v1/models", { pass: "junk" })).statusCode).toBe(401);
    const refused = await ask("/v1/models", { target: "chat.local.9" });
    expect([refused.statusCode, refused.headers[gateHeaders.failure]]).toEqual([502, "no_target"]);
    expect(asked).toBe(0);
    expect(await (await fetch(`http://127.0.0.1:${gate.port}/healthz`)).text()).toBe("ok");
  });

  test("an engine that is lost before its answer is named so, and one that is lost in it never ends cleanly", async () => {
    const { ask } = await world((request, response) => {
      if (request.url === "/before") return void request.socket.destroy();
      response.write("some of it");
      setTimeout(() => request.socket.destroy(), 20);
    });
    const before = await ask("/before");
    expect([before.statusCode, before.headers[gateHeaders.failure]]).toEqual([502, "upstream_lost"]);
    await expect(textOf(await ask("/within"))).rejects.toThrow();
  });

  test("a client that stops reading stops the engine: no more than a window of its answer is held", async () => {
    let written = 0;
    let stopped = false;
    const chunk = Buffer.alloc(64 * 1024);
    const { ask } = await world((_, response) => {
      const write = (): void => {
        if (written > 64 * 1024 * 1024) return void response.end();
        written += chunk.byteLength;
        if (response.write(chunk)) setImmediate(write);
        else {
          stopped = true;
          response.once("drain", () => ((stopped = false), write()));
        }
      };
      write();
    });
    const response = await ask("/");
    response.pause();
    await until(() => stopped);
    // what is on its way arrives
    let held = -1;
    for (; held !== written; await wait(300)) held = written;
    // the kernel's own buffers on both connections are some megabytes; without back-pressure all 64 MiB would have gone
    expect(held).toBeLessThan(16 * 1024 * 1024);
    await wait(200);
    expect(written).toBe(held);
    let bytes = 0;
    for await (const part of response) bytes += (part as Buffer).byteLength;
    expect(bytes).toBe(written);
  });

  test("a large request waits for its engine: what is under way is bounded", async () => {
    let held = 0;
    const { begin } = await world((request, response) => {
      request.pause();
      setTimeout(() => {
        held = sent();
        let bytes = 0;
        request.on("data", (part: Buffer) => (bytes += part.byteLength)).on("end", () => response.end(String(bytes)));
        request.resume();
      }, 500);
    });
    const body = new Uint8Array(128 * windowBytes);
    let socket: { bytesWritten: number; writableLength: number } | undefined;
    const sent = (): number => (socket === undefined ? Number.POSITIVE_INFINITY : socket.bytesWritten - socket.writableLength);
    const answer = begin("/", { body, onSocket: (given) => (socket = given) });
    expect(await textOf((await answer)[0])).toBe(String(body.byteLength));
    // besides what the kernel holds of two connections; without back-pressure all 32 MiB would have gone
    expect(held).toBeLessThan(16 * 1024 * 1024);
  });

  test("an answer whose connection breaks goes on, from the byte that is asked for", async () => {
    let begun = 0;
    let finish: (() => void) | undefined;
    const { begin, ask } = await world((_, response) => {
      begun++;
      response.write("one two ");
      finish = () => response.end("three");
    });
    const [response, request] = await begin("/", { body: "{}", attempt: { id: "a", turn: 0 } });
    await once(response, "data");
    response.on("error", () => undefined);
    request.destroy();
    const rest = ask("/", { target: attachTarget, attempt: { id: "a", turn: 1, from: 4 } });
    await until(() => finish !== undefined);
    setTimeout(() => finish?.(), 30);
    expect(await textOf(await rest)).toBe("two three");
    expect(begun).toBe(1);
  });

  test("headers beyond ASCII pass as they were written", async () => {
    const written = Buffer.from("港, Café", "utf8").toString("latin1");
    const { ask } = await world((_, response) => response.writeHead(200, { "x-file": written }).end(Buffer.from("ok")));
    const response = await ask("/");
    expect([response.headers["x-file"], await textOf(response)]).toEqual([written, "ok"]);
  });

  test("a client that has gone stops its engine within about a second", async () => {
    let closedAt = 0;
    const { begin } = await world((_, response) => {
      response.write("begun");
      response.once("close", () => (closedAt = Date.now()));
    });
    const [response, request] = await begin("/", { body: "{}", attempt: { id: "a", turn: 0 } });
    await once(response, "data");
    response.on("error", () => undefined);
    const leftAt = Date.now();
    request.destroy();
    await until(() => closedAt > 0);
    expect(closedAt - leftAt).toBeLessThan(2_000);
  });
});
