import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { probe, type Probed } from "./probe.ts";

const base = { path: "/", initialDelayMs: 0, timeoutMs: 200, intervalMs: 1, failureThresholdMs: 0, headers: { "x-probe": "1" } };

async function engine(): Promise<number> {
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk) => (body += chunk)).on("end", () => {
      if (request.url === "/hang") return;
      if (request.url === "/moved") return void response.writeHead(307, { location: "/" }).end();
      if (request.url === "/away") return void response.writeHead(302, { location: "http://example.com/" }).end();
      if (request.url === "/ask") return void response.writeHead(request.method === "POST" && body === '{"a":1}' && request.headers["content-type"] === "application/json" ? 200 : 400).end();
      response.writeHead(request.url === "/" && request.headers["x-probe"] === "1" ? 200 : Number(request.url?.slice(1))).end("x".repeat(1000));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

test.each<[string, string | undefined, Probed]>([
  ["/", undefined, { ok: true }],
  ["/moved", undefined, { ok: true }],
  ["/ask", '{"a":1}', { ok: true }],
  ["/ask", undefined, { ok: false, detail: "/ask answered 400" }],
  ["/204", undefined, { ok: false, detail: "/204 answered 204" }],
  ["/503", undefined, { ok: false, detail: "/503 answered 503" }],
  ["/away", undefined, { ok: false, detail: "/away redirects to another place" }],
  ["/hang", undefined, { ok: false, detail: "/hang did not answer within 200ms" }],
])("probe(%j, body %j) says %j", async (path, postBody, expected) => {
  expect(await probe(await engine(), { ...base, path, ...(postBody === undefined ? {} : { postBody }) })).toEqual(expected);
});

test("probe() says when nothing listens", async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  expect(await probe(port, base)).toEqual({ ok: false, detail: "nothing listens on its port yet" });
});
