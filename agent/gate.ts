import { readFileSync } from "node:fs";
import { createServer as createHttp, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createHttps, type Server as TlsServer } from "node:https";
import { noPayload, readAttempt, windowBytes, type RequestHead } from "../schema/frames.ts";
import { gateHeaders, gateHealthPath } from "../schema/gate.ts";
import type { Answerer, Carried, Wire } from "./carry.ts";
import { ConfigError, type GateConfig } from "./config.ts";
import { bytewise, pairs } from "./headers.ts";
import type { Log } from "./log.ts";
import { Passes } from "./passes.ts";
import type { Cancel, Timers } from "./timers.ts";

export interface GateOptions extends GateConfig {
  /** This host's id: what passes name. */
  hostId: string;
  /** Who answers a request: the same as for one that comes through a relay. */
  answererOf: (head: RequestHead) => Answerer;
  /** ms, from a clock that is never set. */
  monotonic: () => number;
  timers: Timers;
  log: Log;
}

export interface Gate {
  /** Where the edge finds it. */
  readonly url: string;
  /** Where it listens: the port that was asked for, or the one that 0 gave. */
  readonly port: number;
  /** A new session, by the Hub's word. */
  admit(given: { key: string; now: number }): void;
  close(): void;
}

/**
 * How long an answer is kept when its connection breaks. A router that is there asks for it at once, through a relay; a client that left
 * breaks the connection in the same way, and its engine should not go on for longer than it would through a relay (issue 2: one second).
 */
const parkMs = 1_000;
/** A proxy must not close a connection just as the edge sends on it: longer than workerd keeps one. */
const keepAliveMs = 75_000;
/** Certificates are renewed by others: how often their files are looked at. */
const renewMs = 60_000;
/** What the edge lets through, with room (facts/cloudflare.md §1: 128 KB each way). */
const headerBytesMax = 128 * 1024;
/** Not the engine's business: what is between edge and gate, and what the platform adds (an encoding would have to be undone on the way). */
const ours = /^(x-fairlead-|cf-|accept-encoding$)/;

/** The door for requests that do not come through a relay: HTTP, or HTTPS with the host's certificate. @throws ConfigError when it cannot listen, or its certificate not be used */
export async function openGate(options: GateOptions): Promise<Gate> {
  const { host, port, url, tls, hostId, answererOf, monotonic, timers, log } = options;
  const passes = new Passes();
  const limits = { maxHeaderSize: headerBytesMax, keepAliveTimeout: keepAliveMs, noDelay: true };
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    if (request.method === "GET" && request.url === gateHealthPath && request.headers[gateHeaders.pass] === undefined) return void response.end("ok");
    const { pass, head } = read(request);
    const refusal = passes.refusal(pass, { host: hostId, target: head.target, method: head.method, path: head.path, requestId: head.requestId, attempt: headerText(request, gateHeaders.attempt) ?? "" }, monotonic());
    if (refusal !== undefined) {
      log.debug("a request was refused at the gate", { why: refusal });
      return refuse(request, response, 401, "refused", refusal);
    }
    serve(request, response, head, answererOf(head));
  };
  const certificate = (): { cert: Buffer; key: Buffer } | undefined => (tls === undefined ? undefined : { cert: readFileSync(tls.cert), key: readFileSync(tls.key) });
  const opened = (): { first: ReturnType<typeof certificate>; server: Server | TlsServer } => {
    try {
      const first = certificate();
      return { first, server: first === undefined ? createHttp(limits, listener) : createHttps({ ...limits, ...first }, listener) };
    } catch (error) {
      throw new ConfigError(`Cannot open the gate on ${host}:${port}: its certificate cannot be used: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  const { first, server } = opened();
  await new Promise<void>((done, failed) => {
    server.once("error", (error) => failed(new ConfigError(`Cannot open the gate on ${host}:${port}: ${error.message}`)));
    server.listen(port, host, done);
  });
  server.on("error", (error) => log.error("the gate has a problem", { problem: error.message }));

  let cancelRenew: Cancel = () => undefined;
  const renew = (): void => {
    cancelRenew = timers.after(renewMs, renew);
    try {
      const next = certificate();
      if (next !== undefined && "setSecureContext" in server) server.setSecureContext(next);
    } catch (error) {
      log.error("the gate's certificate cannot be read: the one before stays", { problem: error instanceof Error ? error.message : String(error) });
    }
  };
  if (first !== undefined) renew();

  const address = server.address();
  const listening = typeof address === "object" && address !== null ? address.port : port;
  log.info("the gate is open", { host, port: listening, url, tls: first !== undefined });
  return {
    url,
    port: listening,
    admit: (given) => passes.admit(given, monotonic()),
    close() {
      cancelRenew();
      server.close();
      server.closeAllConnections();
    },
  };
}

function headerText(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === "string" ? value : undefined;
}

function read(request: IncomingMessage): { pass: string | undefined; head: RequestHead } {
  const attempt = headerText(request, gateHeaders.attempt);
  let way: ReturnType<typeof readAttempt>;
  try {
    way = attempt === undefined ? undefined : readAttempt(JSON.parse(attempt));
  } catch {
    way = undefined;
  }
  return {
    pass: headerText(request, gateHeaders.pass),
    head: {
      target: headerText(request, gateHeaders.target) ?? "",
      method: request.method ?? "GET",
      path: request.url ?? "/",
      headers: pairs(request.rawHeaders).filter(([name]) => !ours.test(name.toLowerCase())),
      requestId: headerText(request, gateHeaders.request) ?? "",
      ...(way === undefined ? {} : { attempt: way }),
    },
  };
}

function refuse(request: IncomingMessage, response: ServerResponse, status: number, code: string, message: string): void {
  request.resume();
  response.writeHead(status, { [gateHeaders.failure]: code, "x-fairlead-reason": plain(message), "content-length": 0 }).end();
}

const plain = (message: string): string => message.replaceAll(/[^ -~]/g, "?").slice(0, 200);

/** One request from the gate's side: its body in, with what is under way bounded; the answer out, no faster than it is read. */
function serve(request: IncomingMessage, response: ServerResponse, head: RequestHead, answerer: Answerer): void {
  if ("refuse" in answerer) return refuse(request, response, 502, answerer.refuse.code, answerer.refuse.message);
  let over = false;
  let underWay = 0;
  const wire: Wire = {
    head({ status, headers }) {
      if (over) return;
      const own = headers.filter(([name]) => !name.toLowerCase().startsWith("x-fairlead-")).map(([name, value]) => [name, bytewise(value)]);
      response.writeHead(status, [...own, [gateHeaders.request, head.requestId] as const].flat());
      // not flushHeaders(), which writes them as UTF-8: once more, for they are that already
      response.write(noPayload);
    },
    body: (payload) => over || response.write(payload),
    end() {
      over = true;
      response.end();
    },
    reset(code, message) {
      over = true;
      if (!response.headersSent) refuse(request, response, 502, code, message);
      // never a clean end
      else response.destroy();
    },
    granted(bytes) {
      underWay -= bytes;
      if (request.isPaused() && underWay < windowBytes / 2) request.resume();
    },
  };
  const carried: Carried = answerer.carry(head, wire);
  response.on("drain", () => carried.resume());
  response.on("close", () => {
    if (over) return;
    over = true;
    if (carried.lost) carried.lost(parkMs);
    else carried.cancel();
  });

  // what fits a window is handed on whole, with its length, as it would come through a relay
  const length = Number(request.headers["content-length"] ?? Number.NaN);
  const whole: Buffer[] | undefined = length <= windowBytes ? [] : undefined;
  request.on("data", (chunk: Buffer) => {
    if (whole) return void whole.push(chunk);
    underWay += chunk.byteLength;
    if (underWay >= windowBytes) request.pause();
    carried.body(chunk, "data");
  });
  request.once("end", () => {
    if (over) return;
    if (whole && whole.length > 0) carried.body(Buffer.concat(whole), "data");
    carried.end({ code: 1000, reason: "" });
  });
  request.on("error", () => undefined);
}
