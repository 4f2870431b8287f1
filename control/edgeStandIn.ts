import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { bundleSchema, type Bundle } from "../schema/bundle.ts";
import type { DecisionRecord, DryRunAnswer } from "../schema/decision.ts";
import type { RegionStatus } from "../schema/snapshot.ts";
import type { ToldLine, ToldLines } from "../schema/told.ts";

/** A real HTTP server that stands in for the edge in tests, and keeps what it was sent. */
export interface EdgeStandIn {
  url: string;
  bundles: Bundle[];
  /** What `/internal/status` says; a function is asked each time, and undefined is no answer at all. */
  regions: RegionStatus[] | (() => RegionStatus[]) | undefined;
  /** Log text by replica id; each is streamed as one piece, and held open when followed. */
  logs: Map<string, string>;
  /** The agents' own logs, by host: as text that holds only what is asked for. */
  agentLogs: Map<string, string>;
  /** What Hubs remember, by kind and service; each line's place is its number. */
  told: Map<string, ToldLine[]>;
  /** What `/internal/explain` knows, by request id; and what it answers to a request that is weighed only. */
  decisions: Map<string, DecisionRecord>;
  dryRun: (request: unknown) => DryRunAnswer;
  /** Why endpoints are not called. */
  refused: Map<string, string>;
  /** How the next bundles are answered; the last way stays. */
  answers: ((bundle: Bundle, response: ServerResponse) => void)[];
  /** The first bundle, sent or to come, that is as wanted. */
  bundle(wanted: (bundle: Bundle) => boolean): Promise<Bundle>;
  close(): Promise<void>;
}

export function take(bundle: Bundle, response: ServerResponse): void {
  answer(response, 200, { version: bundle.route.version });
}

export function refuse(status: number, code: string, message: string, headers: Record<string, string> = {}) {
  return (_bundle: Bundle, response: ServerResponse) => answer(response, status, { error: { message, type: "", param: null, code } }, headers);
}

function answer(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
}

export async function startEdge(token: string): Promise<EdgeStandIn> {
  let watchers: (() => void)[] = [];
  const server = createServer((request, response) => void serve(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const edge: EdgeStandIn = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    bundles: [],
    regions: [],
    logs: new Map(),
    agentLogs: new Map(),
    told: new Map(),
    decisions: new Map(),
    dryRun: () => ({ service: "chat", model: "m", account: "default", strategy: "availability_first", saturated: false, candidates: [], filtered: {} }),
    refused: new Map(),
    answers: [take],
    bundle: (wanted) =>
      new Promise((resolve) => {
        const look = () => {
          const found = edge.bundles.find(wanted);
          if (found === undefined) return;
          watchers = watchers.filter((watcher) => watcher !== look);
          resolve(found);
        };
        watchers.push(look);
        look();
      }),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return edge;

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://edge");
    if (request.headers.authorization !== `Bearer ${token}`) return answer(response, 401, { error: { message: "wrong token" } });
    if (url.pathname === "/internal/status") {
      const regions = typeof edge.regions === "function" ? edge.regions() : edge.regions;
      return regions === undefined ? undefined : answer(response, 200, { regions });
    }
    const told = /^\/internal\/told\/([^/]+)$/.exec(url.pathname)?.[1];
    if (told !== undefined) {
      const lines = edge.told.get(`${url.searchParams.get("kind") ?? ""} ${told}`) ?? [];
      return answer(response, 200, { lines: lines.slice(Number(url.searchParams.get("after") ?? 0)).slice(-Number(url.searchParams.get("tail"))), next: String(lines.length) } satisfies ToldLines);
    }
    const [, host, log] = /^\/internal\/logs\/([^/]+)(?:\/([^/]+))?$/.exec(url.pathname) ?? [];
    if (host !== undefined) {
      const text = log === undefined ? edge.agentLogs.get(host) : edge.logs.get(log);
      if (text === undefined) return answer(response, 503, { error: { message: `no log of ${log ?? host}` } });
      response.writeHead(200, { "content-type": "text/plain" }).write(text);
      if (url.searchParams.get("follow") !== "1") response.end();
      return;
    }
    const explained = /^\/internal\/explain\/([^/]+)$/.exec(url.pathname)?.[1];
    if (explained !== undefined) {
      const decision = edge.decisions.get(explained);
      return decision === undefined ? answer(response, 404, { error: { message: `Cannot explain request "${explained}": no hub remembers it`, type: "", param: "requestId", code: "not_found" } }) : answer(response, 200, decision);
    }
    let body = "";
    for await (const chunk of request) body += String(chunk);
    if (url.pathname === "/internal/explain") return answer(response, 200, edge.dryRun(JSON.parse(body)));
    if (url.pathname === "/internal/endpoints") return answer(response, 200, { reasons: (JSON.parse(body) as { endpoints: string[] }).endpoints.map((endpoint) => edge.refused.get(endpoint) ?? null) });
    const bundle = bundleSchema.parse(JSON.parse(body));
    const respond = edge.answers.length > 1 ? edge.answers.shift() : edge.answers[0];
    edge.bundles.push(bundle);
    (respond ?? take)(bundle, response);
    for (const watcher of watchers) watcher();
  }
}
