import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setMaxListeners } from "node:events";
import type { Body } from "./ask.ts";
import { Cut, failBeforeHeaders, sendWhole } from "./delivery.ts";
import type { Door } from "./delivery.ts";
import { durationMs } from "./duration.ts";
import { answerEmbeddings } from "./embeddings.ts";
import { Engine } from "./engine.ts";
import { parseFailure } from "./failures.ts";
import type { Failure } from "./failures.ts";
import { answerInference } from "./inference.ts";
import { chatPrompt } from "./plan.ts";
import { Refusal } from "./refusal.ts";
import type { Entry } from "./requestlog.ts";
import type { Settings } from "./settings.ts";
import { decode, encode, tokenString } from "./tokenizer.ts";

/** A request with all that a route needs. */
interface Call {
  engine: Engine;
  request: IncomingMessage;
  response: ServerResponse;
  url: URL;
  text: string;
  entry: Entry | undefined;
  door: Door;
  /** The body as an object; a refusal when it is none. */
  json: () => Record<string, unknown>;
}

type Route = (call: Call) => Promise<void> | void;

const VERSION = "0.32.0";
const INFERENCE: ReadonlySet<string> = new Set(["/v1/chat/completions", "/v1/completions", "/v1/embeddings"]);
/** Asked again and again by agents and scrapers; kept out of the log that tests read. */
const PROBES: ReadonlySet<string> = new Set(["/health", "/ping", "/metrics", "/prometheus/metrics", "/load", "/version"]);

function reply(response: ServerResponse, body: object, status = 200): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

function plain(response: ServerResponse, text: string, type = "text/plain; charset=utf-8"): void {
  response.writeHead(200, { "content-type": type }).end(text);
}

async function inference(call: Call, kind: "chat" | "completions"): Promise<void> {
  if (call.entry === undefined) return;
  const id = call.request.headers["x-request-id"];
  await answerInference(call.engine, call.door, call.entry, call.json() as Body, kind, typeof id === "string" ? id : undefined);
}

async function embeddings({ engine, json, door }: Call): Promise<void> {
  const body = json();
  const { promptTokens, answer } = answerEmbeddings(body, engine.model(body.model as string | undefined));
  if (engine.sleeping) throw new Refusal(503, "The engine is sleeping.");
  engine.counters.promptTokens += promptTokens;
  await sendWhole(door, answer, door.failure.break !== undefined);
}

function tokenize({ engine, json, response }: Call): void {
  const body = json();
  engine.model(body.model as string | undefined);
  if (body.messages === undefined && typeof body.prompt !== "string") throw new Refusal(400, "1 validation error: {'type': 'missing', 'loc': ('body', 'prompt'), 'msg': 'Field required'}", "prompt");
  const tokens = encode(body.messages === undefined ? (body.prompt as string) : chatPrompt(body as Body));
  reply(response, { count: tokens.length, max_model_len: engine.settings.contextTokensMax, tokens, token_strs: body.return_token_strs === true ? tokens.map(tokenString) : null });
}

function detokenize({ json, response }: Call): void {
  const { tokens } = json();
  if (!Array.isArray(tokens) || !tokens.every((id) => typeof id === "number")) throw new Refusal(400, "1 validation error: {'type': 'missing', 'loc': ('body', 'tokens'), 'msg': 'Field required'}", "tokens");
  reply(response, { prompt: decode(tokens) });
}

function metrics({ engine, response }: Call): void {
  const text = engine.metrics();
  if (text === undefined) throw new Refusal(404, "Not Found");
  plain(response, text, "text/plain; version=0.0.4; charset=utf-8");
}

async function sleep({ engine, url, response }: Call): Promise<void> {
  await engine.sleep(Number(url.searchParams.get("level") ?? 1), url.searchParams.get("mode") ?? "abort");
  response.writeHead(200).end();
}

function wake({ engine, url, response }: Call): void {
  // Waking the weights alone leaves the engine asleep until its cache wakes too.
  const tags = url.searchParams.getAll("tags");
  if (tags.length === 0 || tags.includes("kv_cache")) engine.wake();
  response.writeHead(200).end();
}

function collectiveRpc({ engine, json, response }: Call): void {
  const { method } = json();
  if (method !== "reload_weights") throw new Refusal(400, `Unknown method ${String(method)}`, "method");
  engine.reloadWeights();
  reply(response, { results: [null] });
}

function readSpec(spec: string): Failure {
  try {
    return parseFailure(spec);
  } catch (error) {
    throw new Refusal(400, (error as Error).message, "spec");
  }
}

function orderFailure({ engine, json, response }: Call): void {
  const { spec, count = 1, path } = json();
  if (typeof spec !== "string" || typeof count !== "number" || !Number.isInteger(count) || count < 1) throw new Refusal(400, 'Give {"spec":SPEC,"count":N}', "spec");
  engine.failures.order(readSpec(spec), count, typeof path === "string" ? path : undefined);
  reply(response, { ok: true });
}

async function stats({ engine, url, response, door }: Call): Promise<void> {
  const until = url.searchParams.get("until");
  if (until !== null) {
    const signal = AbortSignal.any([door.signal, AbortSignal.timeout(durationMs(url.searchParams.get("timeout") ?? "10s"))]);
    let reached: boolean;
    try {
      reached = await engine.log.reached(until, signal);
    } catch (error) {
      throw new Refusal(400, (error as Error).message, "until");
    }
    if (!reached) throw new Refusal(408, `Not reached: ${until}; now ${JSON.stringify(engine.log.stats)}`, "until");
  }
  reply(response, { ...engine.log.stats, last: engine.log.last });
}

const ROUTES: Record<string, Route> = {
  "POST /v1/chat/completions": async (call) => inference(call, "chat"),
  "POST /v1/completions": async (call) => inference(call, "completions"),
  "POST /v1/embeddings": embeddings,
  "GET /v1/models": ({ engine, response }) => reply(response, { object: "list", data: engine.cards }),
  "GET /health": ({ response }) => void response.writeHead(200).end(),
  "GET /ping": ({ response }) => void response.writeHead(200).end(),
  "POST /ping": ({ response }) => void response.writeHead(200).end(),
  "GET /version": ({ response }) => reply(response, { version: VERSION }),
  "GET /load": ({ engine, response }) => reply(response, { server_load: engine.scheduler.running + engine.scheduler.waiting }),
  "GET /metrics": (call) => (call.engine.settings.metricsAs === "trtllm" ? reply(call.response, []) : metrics(call)),
  "POST /tokenize": tokenize,
  "POST /detokenize": detokenize,
  "POST /v1/load_lora_adapter": ({ engine, json, response }) => plain(response, engine.loadAdapter(json().lora_name, json().lora_path)),
  "POST /v1/unload_lora_adapter": ({ engine, json, response }) => plain(response, engine.unloadAdapter(json().lora_name)),
  "GET /_sim/stats": stats,
  "POST /_sim/fail": orderFailure,
  "DELETE /_sim/fail": ({ engine, response }) => {
    engine.failures.clear();
    reply(response, { ok: true });
  },
};

const DEV_ROUTES: Record<string, Route> = {
  "POST /sleep": sleep,
  "POST /wake_up": wake,
  "GET /is_sleeping": ({ engine, response }) => reply(response, { is_sleeping: engine.sleeping }),
  "POST /reset_prefix_cache": ({ engine, response }) => {
    engine.kv.clear();
    response.writeHead(200).end();
  },
  "POST /collective_rpc": collectiveRpc,
};

function routeOf(engine: Engine, method: string, path: string): Route {
  const routes: Record<string, Route> = engine.settings.devMode ? { ...ROUTES, ...DEV_ROUTES } : ROUTES;
  if (engine.settings.metricsAs === "trtllm" && path === "/prometheus/metrics") return metrics;
  const route = routes[`${method} ${path}`];
  if (route !== undefined) return route;
  if (method === "GET" && path.startsWith("/v1/models/")) {
    return ({ response }) => {
      const name = decodeURIComponent(path.slice("/v1/models/".length));
      const { served } = engine.model(name);
      reply(response, engine.cards.find((card) => (card as { id: string }).id === served) ?? {});
    };
  }
  if (Object.keys(routes).some((key) => key.endsWith(` ${path}`))) throw new Refusal(405, "Method Not Allowed");
  throw new Refusal(404, "Not Found");
}

async function readText(request: IncomingMessage): Promise<{ text: string; bytes: number }> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const whole = Buffer.concat(chunks);
  return { text: whole.toString("utf8"), bytes: whole.length };
}

function readJson(request: IncomingMessage, text: string): Record<string, unknown> {
  if (!/^application\/json\b/i.test(request.headers["content-type"] ?? "")) throw new Refusal(400, "Unsupported Media Type: Only 'application/json' is allowed");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Refusal(400, `[{'type': 'json_invalid', 'loc': ('body', 0), 'msg': 'JSON decode error', 'ctx': {'error': '${(error as Error).message}'}}]`, null, "Bad Request");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Refusal(400, "Input should be a valid dictionary", null, "Bad Request");
  return value as Record<string, unknown>;
}

function lowerCased(request: IncomingMessage): Record<string, string> {
  return Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(", ") : (value ?? "")]));
}

/** Says how a request failed, and to the client as far as it can still be told. */
function settleError(call: Pick<Call, "response"> & { signal: AbortSignal }, error: unknown): "aborted" | "failed" | "refused" {
  const { response, signal } = call;
  if (error instanceof Cut) return error.outcome;
  if (signal.aborted) return "aborted";
  const refusal = error instanceof Refusal ? error : new Refusal(500, `Internal error: ${(error as Error).message}`);
  if (response.headersSent) response.destroy();
  else reply(response, refusal.body, refusal.status);
  return "refused";
}

async function answer(engine: Engine, die: () => void, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? "/", "http://engine");
  const path = url.pathname;
  const method = request.method ?? "GET";
  const entry = PROBES.has(path) || path.startsWith("/_sim/") ? undefined : engine.log.open({ method, path, query: url.search.slice(1), headers: lowerCased(request) });
  const left = new AbortController();
  setMaxListeners(0, left.signal);
  response.once("close", () => {
    if (!response.writableFinished) left.abort();
    if (entry !== undefined) entry.status = response.headersSent ? response.statusCode : undefined;
  });
  try {
    const { text, bytes } = await readText(request);
    if (entry !== undefined) Object.assign(entry, { bodyBytes: bytes, body: text.slice(0, 65_536) });
    const own = request.headers["x-sim-fail"];
    if (typeof own === "string") readSpec(own);
    const failure = path.startsWith("/_sim/") ? {} : engine.failures.take(path, INFERENCE.has(path), typeof own === "string" ? own : undefined);
    const door: Door = { response, failure, signal: left.signal, die, number: entry?.number ?? 0 };
    await failBeforeHeaders(door, text);
    const { apiKey } = engine.settings;
    if (apiKey !== undefined && path.startsWith("/v1") && request.headers.authorization !== `Bearer ${apiKey}`) throw new Refusal(401, "Unauthorized");
    const route = routeOf(engine, method, path);
    await route({ engine, request, response, url, text, entry, door, json: () => readJson(request, text) });
    if (entry !== undefined) engine.log.close(entry, response.statusCode >= 400 ? "refused" : "finished");
  } catch (error) {
    const outcome = settleError({ response, signal: left.signal }, error);
    if (entry !== undefined) engine.log.close(entry, outcome);
  }
}

/** An engine that listens. */
export interface Running {
  url: string;
  engine: Engine;
  server: Server;
  /** Stops listening, gives requests in flight up to `timeoutMs`, then cuts them. */
  stop: (timeoutMs?: number) => Promise<void>;
}

function killOwnProcess(): void {
  process.kill(process.pid, "SIGKILL");
}

/** Starts an engine. @param die what `die` failures call; by default the process kills itself */
export async function startEngine(settings: Settings, die: () => void = killOwnProcess): Promise<Running> {
  const engine = new Engine(settings);
  const server = createServer({ noDelay: true }, (request, response) => void answer(engine, die, request, response));
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(settings.port, settings.host, resolve);
  });
  const { port } = server.address() as AddressInfo;
  const host = settings.host.includes(":") ? `[${settings.host}]` : settings.host;
  return {
    url: `http://${host}:${port}`,
    engine,
    server,
    stop: async (timeoutMs = 0) => {
      const closed = new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
      server.closeIdleConnections();
      if (timeoutMs > 0) {
        await engine.log.reached("inFlight:0", AbortSignal.timeout(timeoutMs));
        server.closeIdleConnections();
      }
      server.closeAllConnections();
      await closed;
    },
  };
}
