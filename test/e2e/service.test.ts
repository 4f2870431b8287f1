import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { once } from "node:events";
import { request as http, type IncomingMessage } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { Readable } from "node:stream";
import { WebSocket } from "ws";
import { World } from "./world.ts";

let world: World;
const echo = join(import.meta.dirname, "echo.ts");

beforeAll(async () => {
  world = await World.start();
  await world.apply("echo", `name: echo\nservice:\n  readiness_probe: /\n  replicas: 1\nrun: exec node ${echo} $PORT\n`);
  await world.ready("echo", 1);
});
afterAll(() => world?.stop());

describe("a service that is no LLM", () => {
  test.each(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])("takes %s at any path, with its body and query", async (method) => {
    const body = method === "GET" || method === "OPTIONS" ? undefined : "a body";
    const response = await world.fetch("/s/echo/any/path?x=1&y=%20", { method, ...(body === undefined ? {} : { body, headers: { "content-type": "text/plain", "x-custom": "kept" } }) });
    expect(response.status).toBe(200);
    const seen = (await response.json()) as { method: string; url: string; headers: Record<string, string>; body: string };
    expect(seen).toMatchObject({ method, url: "/any/path?x=1&y=%20", body: body ?? "" });
    expect(seen.headers).not.toHaveProperty("authorization");
    expect(Object.keys(seen.headers).filter((name) => name.startsWith("x-fairlead"))).toEqual([]);
    if (body !== undefined) expect(seen.headers["x-custom"]).toBe("kept");
  });

  test("answers HEAD, a status of its own, two cookies and a redirect untouched", async () => {
    const head = await world.fetch("/s/echo/x", { method: "HEAD" });
    expect([head.status, head.headers.get("content-length")]).toEqual([200, "1000"]);
    const teapot = await world.fetch("/s/echo/status/418");
    expect(teapot.status).toBe(418);
    expect(teapot.headers.getSetCookie()).toEqual(["a=1; Path=/", "b=2; Path=/"]);
    const redirect = await world.fetch("/s/echo/redirect", { redirect: "manual" });
    expect([redirect.status, redirect.headers.get("location")]).toEqual([302, "/elsewhere"]);
  });

  test.each([409, 429, 500, 501, 507])("its %d is its own word, and passes with its body", async (status) => {
    const path = `/status/${status}`;
    const response = await world.fetch(`/s/echo${path}`, { method: "POST", body: "x" });
    expect([response.status, response.headers.get("x-fairlead-attempts"), await response.json()]).toEqual([status, "1", expect.objectContaining({ method: "POST", url: path, body: "x" })]);
  });

  test("keeps nobody out because it told one caller to come later", async () => {
    const limited = await world.fetch("/s/echo/status/429");
    expect([limited.status, limited.headers.get("retry-after")]).toEqual([429, "60"]);
    expect((await world.fetch("/s/echo/x")).status).toBe(200);
  });

  test("what it has packed stays packed, as its header says", async () => {
    const response = await world.fetch("/s/echo/packed");
    expect([response.headers.get("content-encoding"), await response.text()]).toEqual(["gzip", "packed"]);
  });

  test("what a caller cannot ask so is the caller's error, and no word against a replica", async () => {
    const ask = (): Promise<Response> => {
      const { hostname, port } = new URL(world.router);
      // fetch sends no body with a GET
      return new Promise((resolve, reject) => {
        const request = http({ hostname, port, path: "/s/echo/_search", method: "GET", headers: { authorization: `Bearer ${world.up.apiKey}`, "content-length": 2 } }, (response) => resolve(new Response(Readable.toWeb(response) as ReadableStream, { status: response.statusCode ?? 0 })));
        request.once("error", reject).end("{}");
      });
    };
    const response = await ask();
    expect([response.status, await response.json()]).toEqual([400, { error: expect.objectContaining({ type: "invalid_request_error", message: "Cannot pass on a GET with a body: send it without, or by another method" }) }]);
  });

  test("a request that breaks off on its way is no loss of a replica's", async () => {
    const { hostname, port } = new URL(world.router);
    const socket = connect(Number(port), hostname);
    socket.end(`POST /s/echo/raw HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${world.up.apiKey}\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nno length\r\n`);
    let said = "";
    for await (const chunk of socket) said += String(chunk);
    expect(said).toMatch(/^HTTP\/1\.1 400 [\s\S]*Cannot serve \\"echo\\": the request broke off before it was whole/);
  });

  test("is reached below its folder", async () => {
    const response = await world.fetch("/s/echo?q=1", { redirect: "manual" });
    expect([response.status, response.headers.get("location")]).toEqual([308, "/s/echo/?q=1"]);
  });

  test("takes a large body as a stream, both ways", async () => {
    const size = 5_000_000;
    const response = await world.fetch("/s/echo/raw", { method: "POST", body: Buffer.alloc(size, "x"), headers: { "content-type": "application/octet-stream" } });
    expect((await response.arrayBuffer()).byteLength).toBe(size);
  });

  test("what says how long it is says so to its caller, and one that is shorter is broken", async () => {
    const large = await world.fetch("/s/echo/sized/1000000/1000000");
    expect([large.headers.get("content-length"), (await large.arrayBuffer()).byteLength]).toEqual(["1000000", 1_000_000]);
    const cut = await world.fetch("/s/echo/sized/1000000/999999");
    expect(cut.headers.get("content-length")).toBe("1000000");
    await expect(cut.arrayBuffer()).rejects.toThrow();
  });

  test("speaks WebSockets: text, binary, close code", async () => {
    const socket = new WebSocket(`${world.router.replace("http", "ws")}/s/echo/socket`, { headers: { authorization: `Bearer ${world.up.apiKey}` } });
    const messages: { data: string; binary: boolean }[] = [];
    socket.on("message", (data: Buffer, binary) => messages.push({ data: data.toString(), binary }));
    const upgraded = once(socket, "upgrade") as Promise<[IncomingMessage]>;
    await new Promise((resolve, reject) => {
      socket.once("open", resolve);
      socket.once("error", reject);
    });
    socket.send("hello");
    socket.send(Buffer.from("bytes"));
    socket.send("close 4001");
    const [code] = (await new Promise<unknown[]>((resolve) => socket.once("close", (...close) => resolve(close)))) as [number];
    expect(messages).toEqual([{ data: "hello", binary: false }, { data: "bytes", binary: true }]);
    expect(code).toBe(4001);
    expect((await upgraded)[0].headers).toMatchObject({ "x-fairlead-upstream": "replica", "x-request-id": expect.stringMatching(/^req_/) });
  });

  test("is never shown its callers' key, and gets credentials of its own", async () => {
    const seenBy = async (headers: Record<string, string>): Promise<Record<string, string>> => ((await (await fetch(`${world.router}/s/echo/x`, { headers })).json()) as { headers: Record<string, string> }).headers;
    const key = world.up.apiKey;
    expect(await seenBy({ authorization: `Bearer ${key}`, "x-api-key": "the service's" })).toMatchObject({ "x-api-key": "the service's" });
    expect(await seenBy({ authorization: "Bearer the-service's", "api-key": key })).toMatchObject({ authorization: "Bearer the-service's" });
    expect(JSON.stringify([await seenBy({ authorization: `Bearer ${key}`, "x-api-key": key }), await seenBy({ authorization: "Basic eDp5", "api-key": key })])).not.toContain(key);
  });

  test("knows by which address it is asked, whatever its caller says", async () => {
    const seen = (await (await world.fetch("/s/echo/x", { headers: { "x-forwarded-host": "evil.example", "x-forwarded-prefix": "/evil" } })).json()) as { headers: Record<string, string> };
    expect(seen.headers).toMatchObject({ "x-forwarded-proto": "http", "x-forwarded-host": new URL(world.router).host, "x-forwarded-prefix": "/s/echo" });
  });

  test("needs a key, and is not listed as a model", async () => {
    expect((await fetch(`${world.router}/s/echo/`)).status).toBe(401);
    expect(((await (await world.fetch("/v1/models")).json()) as { data: unknown[] }).data).toEqual([]);
    expect((await world.fetch("/s/nobody/")).status).toBe(404);
  });
});
