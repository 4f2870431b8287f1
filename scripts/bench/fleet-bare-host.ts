/** The host of a bare relay (fleet-bare-relay.ts): what came from the upstream in one turn of the event loop is one message. Argument: `BareHostJob` as JSON. */
import { Pool, type Dispatcher } from "undici";
import { WebSocket } from "ws";

export interface BareHostJob {
  /** Where the object takes its host's socket. */
  url: string;
  /** The upstream's endpoint. */
  upstreamUrl: string;
}

const job = JSON.parse(process.argv[2] ?? "") as BareHostJob;
const { origin, pathname } = new URL(job.upstreamUrl);
const upstream = new Pool(origin, { connections: null, pipelining: 1, headersTimeout: 0, bodyTimeout: 0, allowH2: false });
const socket = new WebSocket(job.url, { perMessageDeflate: false });
let outgoing: Buffer[] = [];

function send(stream: number, payload: Uint8Array): void {
  const head = Buffer.allocUnsafe(8);
  head.writeUInt32BE(stream, 0);
  head.writeUInt32BE(payload.byteLength, 4);
  if (outgoing.length === 0) setImmediate(flush);
  outgoing.push(head, Buffer.from(payload));
}

function flush(): void {
  const message = Buffer.concat(outgoing);
  outgoing = [];
  socket.send(message);
}

function handlerOf(stream: number): Dispatcher.DispatchHandler {
  return {
    onRequestStart() {},
    onResponseStart: (_controller, _status, headers) => send(stream, Buffer.from(String(headers["content-type"]))),
    onResponseData: (_controller, chunk) => send(stream, chunk),
    onResponseEnd: () => send(stream, Buffer.alloc(0)),
    onResponseError: (_controller, error) => {
      throw error;
    },
  };
}

socket.on("message", (message: Buffer) => {
  const stream = message.readUInt32BE(0);
  upstream.dispatch({ path: pathname, method: "POST", headers: ["content-type", "application/json"], body: message.subarray(8) }, handlerOf(stream));
});
socket.on("close", () => process.exit(0));
