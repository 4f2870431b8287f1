import { createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";

/**
 * An upstream on a bare socket that breaks HTTP in the way a request asks for, with `fault:NAME` anywhere in its body. Its answer
 * is made of the request's own `mark:TEXT`, so that whoever sees that text elsewhere has seen another's bytes.
 *
 * Connections are kept open wherever HTTP leaves room for it: what a pooled connection carries over is what is looked for
 * (facts/failures.md §5, layer 4).
 */

const crlf = "\r\n";

interface Asked {
  mark: string;
  fault: string;
  stream: boolean;
  /** Which request on its connection this is, from 1. */
  turn: number;
}

/** What is said in every answer: the mark, and whether the connection had been used before. */
function words({ mark, turn }: Asked): string {
  return `mark:${mark} ${turn > 1 ? "reused" : "fresh"} connection`;
}

function payload(asked: Asked): string {
  if (!asked.stream) return JSON.stringify({ id: "x", object: "chat.completion", created: 0, model: "m", choices: [{ index: 0, message: { role: "assistant", content: words(asked) }, finish_reason: "stop" }] });
  const event = (choice: object): string => `data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", created: 0, model: "m", choices: [{ index: 0, ...choice }] })}\n\n`;
  return `${event({ delta: { role: "assistant", content: words(asked) }, finish_reason: null })}${event({ delta: {}, finish_reason: "stop" })}data: [DONE]\n\n`;
}

function typeOf({ stream }: Asked): string {
  return `content-type: ${stream ? "text/event-stream" : "application/json"}`;
}

function response(asked: Asked, body: string, headers: string[], status = "200 OK"): string {
  return `${[`HTTP/1.1 ${status}`, typeOf(asked), ...headers].join(crlf)}${crlf}${crlf}${body}`;
}

function length(body: string, more = 0): string {
  return `content-length: ${Buffer.byteLength(body) + more}`;
}

function chunk(text: string): string {
  return `${Buffer.byteLength(text).toString(16)}${crlf}${text}${crlf}`;
}

function good(asked: Asked): string {
  const body = payload(asked);
  return response(asked, body, [length(body)]);
}

type Fault = (socket: Socket, asked: Asked) => void;

const reset = (socket: Socket): void => void socket.resetAndDestroy();
/** Long enough for a connection to be back in its pool. */
const lateMs = 30;
/** Connections on which a response is still to come that nobody asked for. */
const unasked = new Set<Socket>();

/** Each sends what it sends; what is left open is the other side's to end. */
export const faults: Record<string, Fault> = {
  "good": (socket, asked) => socket.write(good(asked)),
  "length too small": (socket, asked) => {
    const body = payload(asked);
    socket.write(response(asked, body, [length(body, -20)]));
  },
  "length that ends before a second answer": (socket, asked) => {
    const body = payload(asked);
    socket.write(response(asked, body + payload(asked), [length(body)]));
  },
  "length too large, and silence": (socket, asked) => {
    const body = payload(asked);
    socket.write(response(asked, body, [length(body, 20)]));
  },
  "length too large, and FIN": (socket, asked) => {
    const body = payload(asked);
    socket.end(response(asked, body, [length(body, 20)]));
  },
  "two lengths": (socket, asked) => {
    const body = payload(asked);
    socket.write(response(asked, body, [length(body), length(body, -20)]));
  },
  "length with transfer-encoding": (socket, asked) => {
    const body = payload(asked);
    socket.write(response(asked, `${chunk(body)}0${crlf}${crlf}`, [length(body, -20), "transfer-encoding: chunked"]));
  },
  "two responses": (socket, asked) => socket.write(good(asked) + good(asked)),
  "a second response, late": (socket, asked) => {
    unasked.add(socket);
    socket.write(good(asked));
    setTimeout(() => socket.write(good(asked), () => unasked.delete(socket)), lateMs);
  },
  "chunks cut by FIN": (socket, asked) => socket.end(response(asked, chunk(payload(asked).slice(0, -30)), ["transfer-encoding: chunked"])),
  "chunks cut by RST": (socket, asked) => socket.write(response(asked, chunk(payload(asked).slice(0, -30)), ["transfer-encoding: chunked"]), () => reset(socket)),
  "chunks without a length": (socket, asked) => socket.write(response(asked, `zz${crlf}${payload(asked)}${crlf}`, ["transfer-encoding: chunked"])),
  "chunk longer than it says": (socket, asked) => socket.write(response(asked, `5${crlf}${payload(asked)}${crlf}0${crlf}${crlf}`, ["transfer-encoding: chunked"])),
  "obs-fold header": (socket, asked) => {
    const body = payload(asked);
    socket.write(response(asked, body, [`x-folded: a${crlf} b`, length(body)]));
  },
  "header without a colon": (socket, asked) => {
    const body = payload(asked);
    socket.write(response(asked, body, ["nonsense", length(body)]));
  },
  "header of 300 KB": (socket, asked) => {
    const body = payload(asked);
    socket.write(response(asked, body, [`x-long: ${"a".repeat(300_000)}`, length(body)]));
  },
  "status 999": (socket, asked) => {
    const body = payload(asked);
    socket.write(response(asked, body, [length(body)], "999 Whatever"));
  },
  "hop-by-hop headers": (socket, asked) => {
    const body = payload(asked);
    socket.write(response(asked, body, ["connection: keep-alive, x-hop", "x-hop: 1", "keep-alive: timeout=60", "trailer: x", length(body)]));
  },
  "no HTTP": (socket, asked) => socket.write(`SSH-2.0-OpenSSH_9.2 ${words(asked)}${crlf}`),
  "close-delimited, and FIN": (socket, asked) => socket.end(response(asked, payload(asked), ["connection: close"])),
  "close-delimited, and FIN too early": (socket, asked) => socket.end(response(asked, payload(asked).slice(0, -30), ["connection: close"])),
  "close-delimited, and RST": (socket, asked) => socket.write(response(asked, payload(asked), ["connection: close"]), () => reset(socket)),
  "FIN before headers": (socket) => socket.end(),
  "RST before headers": (socket) => reset(socket),
  "a large body, and RST": (socket, asked) => {
    const body = payload(asked).replace("mark:", `${"large ".repeat(20_000)}mark:`);
    socket.write(response(asked, body.slice(0, 100_000), [length(body)]), () => setTimeout(reset, lateMs, socket));
  },
  "silence before headers": () => undefined,
  "silence in the headers": (socket, asked) => socket.write(good(asked).slice(0, 25)),
};

/** Whole requests out of what has come; the rest stays. Bodies have a length or come in chunks. */
function* requests(state: { bytes: Buffer }): Generator<{ head: string; body: string }> {
  for (;;) {
    const end = state.bytes.indexOf("\r\n\r\n");
    if (end < 0) return;
    const head = state.bytes.subarray(0, end).toString();
    let at = end + 4;
    let body = "";
    if (/^transfer-encoding: *chunked/im.test(head)) {
      for (;;) {
        const line = state.bytes.indexOf(crlf, at);
        if (line < 0) return;
        const size = Number.parseInt(state.bytes.subarray(at, line).toString(), 16);
        if (state.bytes.byteLength < line + 2 + size + 2) return;
        body += state.bytes.subarray(line + 2, line + 2 + size).toString();
        at = line + 2 + size + 2;
        if (size === 0) break;
      }
    } else {
      const size = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
      if (state.bytes.byteLength < at + size) return;
      body = state.bytes.subarray(at, at + size).toString();
      at += size;
    }
    state.bytes = state.bytes.subarray(at);
    yield { head, body };
  }
}

/** Listens on a port of loopback; 0 takes a free one. Any GET answers on how many connections an unasked response is still to come. */
export async function startLiar(port = 0): Promise<{ url: string; stop: () => Promise<void> }> {
  const sockets = new Set<Socket>();
  const server: Server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    // a peer that has had enough of the lies resets: no news
    socket.on("error", () => undefined);
    const state = { bytes: Buffer.alloc(0) };
    let turn = 0;
    socket.on("data", (bytes: Buffer) => {
      state.bytes = Buffer.concat([state.bytes, bytes]);
      for (const { head, body } of requests(state)) {
        if (head.startsWith("GET ")) {
          const count = String(unasked.size);
          socket.write(`HTTP/1.1 200 OK${crlf}${length(count)}${crlf}${crlf}${count}`);
          continue;
        }
        const asked = { mark: /mark:([\w-]+)/.exec(body)?.[1] ?? "", fault: /fault:([^"]+)"/.exec(body)?.[1] ?? "good", stream: /"stream": ?true/.test(body), turn: ++turn };
        faults[asked.fault]?.(socket, asked);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

// run as a replica: `node test/chaos/liar.ts PORT`
if (process.argv[1] === import.meta.filename) console.log(`listening on ${(await startLiar(Number(process.argv[2]))).url}`);
