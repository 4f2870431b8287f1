import { createServer } from "node:http";
import { gzipSync } from "node:zlib";
import { WebSocketServer } from "ws";

/** A service that is no LLM: tells what it was sent. */
const server = createServer((request, response) => {
  const url = request.url ?? "/";
  if (url === "/raw") return void request.pipe(response);
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const status = /^\/status\/(\d+)/.exec(url)?.[1];
    if (status !== undefined) response.setHeader("set-cookie", ["a=1; Path=/", "b=2; Path=/"]);
    if (request.method === "HEAD") return void response.writeHead(200, { "content-length": 1000 }).end();
    const [, said, sent] = /^\/sized\/(\d+)\/(\d+)$/.exec(url) ?? [];
    if (said !== undefined) return void response.writeHead(200, { "content-length": said }).write(Buffer.alloc(Number(sent)), () => sent === said ? response.end() : response.destroy());
    if (url === "/packed") return void response.writeHead(200, { "content-type": "text/plain", "content-encoding": "gzip" }).end(gzipSync("packed"));
    if (status === "429") response.setHeader("retry-after", "60");
    if (url === "/redirect") return void response.writeHead(302, { location: "/elsewhere" }).end();
    response.writeHead(status === undefined ? 200 : Number(status), { "content-type": "application/json" });
    response.end(JSON.stringify({ method: request.method, url, headers: request.headers, body: Buffer.concat(chunks).toString() }));
  });
});

const sockets = new WebSocketServer({ server });
sockets.on("connection", (socket) => {
  socket.on("message", (message: Buffer, binary) => {
    const close = /^close (\d+)/.exec(message.toString())?.[1];
    if (close !== undefined) socket.close(Number(close));
    else socket.send(message, { binary });
  });
});

server.listen(Number(process.argv[2]), "127.0.0.1");
