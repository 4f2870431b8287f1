import { Pool, type Dispatcher } from "undici";
import { WebSocket } from "ws";
import type { CloseReason, RequestHead, ResetReason, ResponseHead } from "../schema/frames.ts";
import { bytewise, endToEnd, headerOf, pairs } from "./headers.ts";
import { messageBytesMax } from "./mux.ts";

/** A stream's way back to the client. After `end` or `reset` nothing more is said. */
export interface Wire {
  head(head: ResponseHead): void;
  /** False: wait for `resume`. */
  body(payload: Uint8Array, kind?: "data" | "text"): boolean;
  end(close?: CloseReason): void;
  reset(code: ResetReason["code"], message: string): void;
  /** So many bytes of the request have been taken. */
  granted(bytes: number): void;
}

/** What answers a stream. */
export interface Carried {
  body(payload: Uint8Array, kind: "data" | "text"): void;
  end(close: CloseReason): void;
  /** Credit has come: go on after a `body` that was false. */
  resume(): void;
  /** The stream is over: stop at once and say nothing more. */
  cancel(): void;
  /** The link is lost, and nobody says that the stream is over: it is kept for so long, the usual time when absent. Where this is absent it is over. */
  lost?(keptMs?: number): void;
}

/** Who answers a request, or why nobody does. */
export type Answerer = { carry: (head: RequestHead, wire: Wire) => Carried } | { refuse: ResetReason };

/** Connections to the replicas on this host, kept per port. */
export interface Ports {
  to(port: number): Dispatcher;
  /** A replica has gone from this port. */
  close(port: number): void;
  closeAll(): void;
}

/** A replica on loopback that does not take a connection within 2 s is not there (facts/failures.md §2). */
const connectMs = 2_000;

export function loopbackPorts(): Ports {
  const pools = new Map<number, Pool>();
  const close = (port: number): void => {
    const pool = pools.get(port);
    pools.delete(port);
    // a request that is still answered goes on; its connection is closed after it
    if (pool) void pool.close().catch(() => {});
  };
  return {
    to(port) {
      let pool = pools.get(port);
      if (!pool) {
        // timeouts are the edge's to decide: an engine may think for long before its first byte
        pool = new Pool(`http://127.0.0.1:${port}`, { connections: null, pipelining: 1, headersTimeout: 0, bodyTimeout: 0, allowH2: false, connect: { timeout: connectMs } });
        pools.set(port, pool);
      }
      return pool;
    },
    close,
    closeAll() {
      pools.forEach((_pool, port) => close(port));
    },
  };
}

/** Statuses whose answer has no body whatever its headers say. */
const bodiless = new Set([204, 304]);

/** Carries an HTTP request to a port of this host. */
export function carryHttp(head: RequestHead, port: number, pool: Dispatcher, wire: Wire): Carried {
  const upload = createUpload((bytes) => wire.granted(bytes));
  let started = false;
  let over = false;
  let answered = false;
  let controller: Dispatcher.DispatchController | undefined;

  const finish = (say: () => void): void => {
    if (over) return;
    over = true;
    upload.stop();
    say();
  };
  const start = (): void => {
    if (started || over) return;
    started = true;
    let expected: number | undefined;
    let received = 0;
    // a body that is here already goes with its length, as most clients send it; chunked is for what is still coming
    const whole = upload.whole();
    const headers = endToEnd(head.headers, ["host", "expect", ...(whole ? ["content-length"] : [])]);
    const handler: Dispatcher.DispatchHandler = {
      onRequestStart(given) {
        controller = given;
        if (over) given.abort(new Error("the stream is over"));
      },
      onResponseStart(given, status) {
        if (status < 200 || over) return;
        answered = true;
        const all = pairs((given.rawHeaders ?? []) as Buffer[]);
        const length = headerOf(all, "content-length");
        if (length !== undefined && head.method !== "HEAD" && !bodiless.has(status)) expected = Number(length);
        wire.head({ status, headers: endToEnd(all) });
      },
      onResponseData(given, chunk) {
        received += chunk.byteLength;
        if (!over && !wire.body(chunk)) given.pause();
      },
      onResponseEnd() {
        finish(() => {
          if (expected !== undefined && received !== expected) wire.reset("upstream_lost", `the replica's answer ended after ${received} of ${expected} bytes`);
          else wire.end();
        });
      },
      onResponseError(_given, error) {
        finish(() => {
          const code = "code" in error ? error.code : undefined;
          if (code === "UND_ERR_REQ_CONTENT_LENGTH_MISMATCH") wire.reset("protocol", "the request's body is not as long as its content-length");
          else if (code === "UND_ERR_INVALID_ARG") wire.reset("protocol", `the request cannot be sent: ${error.message.slice(0, 100)}`);
          else if (answered) wire.reset("upstream_lost", `the replica's answer broke off: ${describe(error)}`);
          // once it is on a connection the replica may have begun: only what can be repeated goes elsewhere
          else if (controller !== undefined) wire.reset("upstream_lost", `the replica was lost before it answered: ${describe(error)}`);
          else wire.reset("connect_failed", `the replica could not be reached: ${describe(error)}`);
        });
      },
    };
    try {
      const flat = [...headers.flatMap(([name, value]) => [name, bytewise(value)]), "host", `127.0.0.1:${port}`];
      // undici takes async iterables as bodies; its types do not say so for `dispatch`
      const body = whole ?? (upload.stream() as unknown as Dispatcher.DispatchOptions["body"]);
      pool.dispatch({ path: head.path, method: head.method as Dispatcher.HttpMethod, headers: flat, body: body ?? null }, handler);
    } catch (error) {
      finish(() => wire.reset("protocol", `the request cannot be sent: ${describe(error)}`));
    }
  };

  return {
    body(payload) {
      upload.push(payload);
      // after the rest of this message, which may hold the end
      if (!started) queueMicrotask(start);
    },
    end() {
      upload.end();
      if (!started) queueMicrotask(start);
    },
    resume() {
      controller?.resume();
    },
    cancel() {
      finish(() => controller?.abort(new Error("the stream was reset")));
    },
  };
}

/** A request body on its way from frames to a socket. */
function createUpload(granted: (bytes: number) => void) {
  const queue: Uint8Array[] = [];
  let done = false;
  let wake: (() => void) | undefined;
  return {
    push(payload: Uint8Array): void {
      queue.push(payload);
      wake?.();
    },
    end(): void {
      done = true;
      wake?.();
    },
    stop(): void {
      done = true;
      queue.length = 0;
      wake?.();
    },
    /** The body, if it is complete; empty ones too. */
    whole(): Buffer | undefined {
      return done ? Buffer.concat(queue) : undefined;
    },
    async *stream(): AsyncGenerator<Uint8Array> {
      for (;;) {
        const chunk = queue.shift();
        if (chunk) {
          yield chunk;
          // asked for more: the socket has room
          granted(chunk.byteLength);
        } else if (done) return;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    },
  };
}

/** Carries a WebSocket to a port of this host. */
export function carryWebSocket(head: RequestHead, port: number, wire: Wire): Carried {
  let over = false;
  const finish = (say: () => void): void => {
    if (over) return;
    over = true;
    say();
  };
  const nothing: Carried = { body() {}, end() {}, resume() {}, cancel() {} };
  const own = head.headers.filter(([name]) => !name.toLowerCase().startsWith("sec-websocket-"));
  const offered = headerOf(head.headers, "sec-websocket-protocol");
  const headers: Record<string, string[]> = offered === undefined ? {} : { "sec-websocket-protocol": [offered] };
  for (const [name, value] of endToEnd(own, ["host", "content-length", "expect"])) (headers[name.toLowerCase()] ??= []).push(bytewise(value));
  let socket: WebSocket;
  try {
    socket = new WebSocket(`ws://127.0.0.1:${port}${head.path}`, { headers, perMessageDeflate: false, maxPayload: messageBytesMax, handshakeTimeout: 30_000, followRedirects: false });
  } catch (error) {
    wire.reset("protocol", `the WebSocket cannot be asked for: ${describe(error)}`);
    return nothing;
  }
  let opened = false;
  let failure: unknown;
  /** What came before the replica's side was open. */
  let early: (() => void)[] | undefined = [];

  let chosen: string | undefined;
  let said: [string, string][] = [];
  socket.on("upgrade", (response) => {
    // whether what was chosen, or that nothing was, will do is the client's to say
    chosen = response.headers["sec-websocket-protocol"];
    delete response.headers["sec-websocket-protocol"];
    said = endToEnd(pairs(response.rawHeaders)).filter(([name]) => !name.toLowerCase().startsWith("sec-websocket-"));
  });
  socket.on("open", () => {
    if (over) return socket.terminate();
    opened = true;
    wire.head({ status: 101, headers: said, ...(chosen === undefined ? {} : { protocol: chosen }) });
    const waiting = early ?? [];
    early = undefined;
    for (const send of waiting) send();
  });
  socket.on("unexpected-response", (_request, response) => {
    // the replica does not want a WebSocket here: the client gets its answer as it is
    if (over) return void response.destroy();
    wire.head({ status: response.statusCode ?? 502, headers: endToEnd(pairs(response.rawHeaders)) });
    response.on("data", (chunk: Buffer) => wire.body(chunk));
    response.once("end", () => finish(() => wire.end()));
    response.once("error", (error) => finish(() => wire.reset("upstream_lost", describe(error))));
    response.once("aborted", () => finish(() => wire.reset("upstream_lost", "the replica's answer broke off")));
  });
  socket.on("message", (message: Buffer, isBinary) => {
    if (!over && !wire.body(message, isBinary ? "data" : "text")) socket.pause();
  });
  socket.on("error", (error) => {
    failure = error;
  });
  socket.on("close", (code, reason) => {
    finish(() => {
      if (!opened) wire.reset("connect_failed", `the replica opened no WebSocket: ${describe(failure)}`);
      else if (failure instanceof RangeError) wire.end({ code: 1009, reason: "the message is too large to be carried" });
      else if (code === 1006) wire.reset("upstream_lost", "the replica's WebSocket broke off");
      else wire.end({ code: code === 1005 ? 1000 : code, reason: reason.toString("utf8") });
    });
  });

  const send = (payload: Uint8Array, binary: boolean): void => socket.send(payload, { binary }, () => wire.granted(payload.byteLength));
  return {
    body(payload, kind) {
      if (early) early.push(() => send(payload, kind === "data"));
      else send(payload, kind === "data");
    },
    end({ code, reason }) {
      if (opened) closeSocket(socket, code, reason);
      else finish(() => (socket.terminate(), wire.end({ code: 1000, reason: "" })));
    },
    resume() {
      socket.resume();
    },
    cancel() {
      over = true;
      socket.terminate();
    },
  };
}

/** As the client left: codes that stand for no close frame, or for one without a code, cannot be sent as such. */
function closeSocket(socket: WebSocket, code: number, reason: string): void {
  if (code === 1006) return socket.terminate();
  if (code === 1005) return socket.close();
  const sendable = (code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code)) || (code >= 3000 && code <= 4999);
  socket.close(sendable ? code : 1000, sendable ? Buffer.from(reason, "utf8").subarray(0, 123).toString("utf8").replaceAll("\ufffd", "") : "");
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return "code" in error && typeof error.code === "string" ? error.code : error.message.slice(0, 100);
}
