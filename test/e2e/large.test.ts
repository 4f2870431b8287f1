import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until, World } from "./world.ts";

/** More than twice what is read whole. */
const bytes = 20 * 1024 * 1024;
let world: World;
let server: Server;
/** Answers whose connection was cut before they were whole. */
let cut = 0;

/** An upstream whose answers, no streams of events, are long; half of one when the request says so. */
function start(): Server {
  return createServer((request, response) => {
    const body: Buffer[] = [];
    request.on("data", (chunk: Buffer) => body.push(chunk));
    request.on("end", () => {
      const { user } = JSON.parse(Buffer.concat(body).toString()) as { user: string };
      response.writeHead(200, { "content-type": "application/json", ...(user.includes("chunked") ? {} : { "content-length": bytes }) });
      response.on("close", () => (cut += response.writableFinished ? 0 : 1));
      if (user.includes("half")) response.write(Buffer.alloc(bytes / 2, " "));
      else response.end(Buffer.alloc(bytes, " "));
    });
  });
}

beforeAll(async () => {
  world = await World.start();
  server = start().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  for (const [model, timeouts] of [["large", "{ttft: 10s, total: 30s}"], ["stalls", "{ttft: 1s, total: 2s}"]] as const) {
    await world.offer(model, `name: ${model}
service:
  model: ${model}
  providers: [{type: external, name: vendor, endpoint: "http://127.0.0.1:${port}/v1", api_key: sk-none}]
  routing: {timeouts: ${timeouts}}
`);
  }
});
afterAll(async () => {
  await world?.stop();
  server?.closeAllConnections();
  server?.close();
});

test.each(["length", "chunked"])("a large answer goes through whole (%s)", async (user) => {
  const response = await world.chat("large", { user });
  expect(response.headers.get("content-length")).toBe(user === "length" ? String(bytes) : null);
  expect((await response.arrayBuffer()).byteLength).toBe(bytes);
});

test.each(["half, length", "half, chunked"])("a large answer that stalls ends with its request's time: for the client with an error, for the upstream too (%s)", async (user) => {
  const before = cut;
  const started = Date.now();
  const response = await world.chat("stalls", { user });
  expect(response.status).toBe(200);
  await expect(response.arrayBuffer()).rejects.toThrow();
  expect(Date.now() - started).toBeGreaterThan(1_900);
  expect(Date.now() - started).toBeLessThan(4_000);
  await until("the upstream's end", 2_000, () => cut > before);
});
