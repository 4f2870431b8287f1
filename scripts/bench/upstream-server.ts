/**
 * The upstream in Node: streams of 100 chunks, and the whole answer. `POST /pace?ms=10` sets the time between chunks,
 * which a proxy must not have to pass on; `/open` says how many streams are open. Argument: the port on 127.0.0.1.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { answerBody, streamChunks, streamEnd } from "./exchange.ts";

let gapMs = 0;
let open = 0;

/** A chunk framed for chunked transfer once, at start: half the CPU of `response.write`, which frames it again for each stream. */
const frame = (text: string) => Buffer.from(`${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`);
const chunks = streamChunks.map(frame);
const ends = { plain: frame(streamEnd({ usage: false })), usage: frame(streamEnd({ usage: true })) };

function stream(response: ServerResponse, end: Buffer): void {
  const socket = response.socket as Socket;
  const pacedMs = gapMs;
  response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache", "transfer-encoding": "chunked" });
  response.flushHeaders();
  open++;
  response.once("close", () => open--);
  const startMs = performance.now();
  let next = 0;
  function send(): void {
    if (socket.destroyed) return;
    socket.write(chunks[next++] ?? "");
    if (next === chunks.length) {
      socket.write(end);
      response.end();
    } else if (pacedMs === 0) setImmediate(send);
    else setTimeout(send, startMs + next * pacedMs - performance.now());
  }
  send();
}

function answer(request: IncomingMessage, response: ServerResponse): void {
  const url = request.url ?? "/";
  let body = "";
  request.setEncoding("latin1");
  request.on("data", (chunk: string) => (body += chunk));
  request.on("end", () => {
    if (url.startsWith("/pace?ms=")) {
      gapMs = Number(url.slice("/pace?ms=".length));
      response.end();
    } else if (url === "/open") response.end(String(open));
    else if (/"stream":\s*true/.test(body)) stream(response, /"include_usage":\s*true/.test(body) ? ends.usage : ends.plain);
    else response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(answerBody) }).end(answerBody);
  });
}

const server = createServer({ noDelay: true, keepAliveTimeout: 600_000, requestTimeout: 0 }, answer);
server.listen(Number(process.argv[2]), "127.0.0.1", 4096);
