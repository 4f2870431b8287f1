import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { launch } from "./children.ts";
import { startObjects } from "./fleet-bare.ts";
import type { BareHostJob } from "./fleet-bare-host.ts";
import { bearer, type Peer } from "./peers/peer.ts";
import { endpoint } from "./upstream.ts";

/**
 * Frames of a bare relay, several in a message: the stream's number and the payload's length, four bytes each, and the payload. Of an answer
 * the first payload is its content type, and one of no bytes its end.
 */
const script = `
export class Bare {
  constructor(ctx) {
    this.ctx = ctx;
    this.last = 0;
    this.open = new Map();
  }
  async fetch(request) {
    if (request.headers.get("upgrade") === "websocket") {
      const { 0: client, 1: server } = new WebSocketPair();
      this.ctx.acceptWebSocket(server);
      return new Response(null, { status: 101, webSocket: client });
    }
    const body = new Uint8Array(await request.arrayBuffer());
    const message = new Uint8Array(8 + body.byteLength);
    const head = new DataView(message.buffer);
    const stream = ++this.last;
    head.setUint32(0, stream);
    head.setUint32(4, body.byteLength);
    message.set(body, 8);
    const [socket] = this.ctx.getWebSockets();
    if (socket === undefined) return new Response("no host", { status: 503 });
    return new Promise((answer) => {
      this.open.set(stream, { answer, controller: undefined });
      socket.send(message);
    });
  }
  webSocketMessage(_socket, message) {
    const view = new DataView(message);
    for (let at = 0; at < message.byteLength; ) {
      const stream = view.getUint32(at);
      const length = view.getUint32(at + 4);
      const payload = new Uint8Array(message, at + 8, length);
      at += 8 + length;
      const one = this.open.get(stream);
      if (one === undefined) continue;
      if (one.controller === undefined) {
        const body = new ReadableStream({ start: (controller) => void (one.controller = controller), cancel: () => void this.open.delete(stream) });
        one.answer(new Response(body, { headers: { "content-type": new TextDecoder().decode(payload) } }));
      } else if (length > 0) one.controller.enqueue(payload);
      else {
        this.open.delete(stream);
        one.controller.close();
      }
    }
  }
}
export default { fetch: (request, env) => env.BARE.getByName("one").fetch(request) };
`;

/**
 * The floor of a relay on the platform: a Worker, an object with a socket that hibernates, and a host in Node, which hand on what comes and
 * do nothing else. No keys, no routing, no credit, no loss is noticed.
 */
export const bareRelay = (loadCpu: number | undefined): Peer => ({
  name: "relay-bare",
  install: async () => ({ version: "this checkout" }),
  async start({ upstreamUrl, port, cpu, inspectorPort, workDir }) {
    const { child, inspectorUrl } = await startObjects(script, { workDir, cpu, port, inspectorPort });
    const job: BareHostJob = { url: `ws://127.0.0.1:${port}/`, upstreamUrl: endpoint(upstreamUrl) };
    const host = launch([process.execPath, fileURLToPath(new URL("./fleet-bare-host.ts", import.meta.url)), JSON.stringify(job)], { cpu: loadCpu, log: join(workDir, "host-log") });
    return {
      url: endpoint(`http://127.0.0.1:${port}`), headers: bearer, pids: [child.pid], inspectorUrl,
      stop: async () => void (await Promise.all([host.end(), child.end()])),
    };
  },
});
