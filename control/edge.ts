import { bundleBytesMax, type Bundle } from "../schema/bundle.ts";
import type { DecisionRecord, DryRun, DryRunAnswer } from "../schema/decision.ts";
import { errorCodes, FairleadError, type ErrorCode } from "../schema/errors.ts";
import type { RegionStatus } from "../schema/snapshot.ts";
import type { ToldKind, ToldLines } from "../schema/told.ts";

/** What the edge said to a new bundle. */
export type PutAnswer =
  | { kind: "taken" }
  /** The edge has a newer one, with this number. */
  | { kind: "stale"; version: number }
  /** It will not take this one, however often it is sent. */
  | { kind: "invalid"; reason: string }
  | { kind: "unreachable"; reason: string };

/** The edge's router as control sees it: its internal paths, by the token that both know. */
export interface Edge {
  put(bundle: Bundle): Promise<PutAnswer>;
  /** @throws Error in words when there is no answer within the time, in ms */
  status(timeoutMs: number): Promise<RegionStatus[]>;
  /** The log of a replica as a stream of bytes. @throws Error in words */
  logs(host: string, replica: string, options: LogOptions): Promise<ReadableStream<Uint8Array>>;
  /** An agent's own log, of one service where it is named. @throws Error in words */
  agentLog(host: string, service: string | undefined, options: LogOptions): Promise<ReadableStream<Uint8Array>>;
  /** What Hubs remember of a service after a place; from the beginning where that is empty. @throws Error in words */
  told(kind: ToldKind, service: string, after: string, tail: number): Promise<ToldLines>;
  /** Why it would not call each of these endpoints; null for one that it would. @throws Error in words */
  refusals(endpoints: readonly string[]): Promise<(string | null)[]>;
  /** What became of a request. @throws FairleadError: the edge's own, or `not_ready` when it does not answer */
  explain(requestId: string): Promise<DecisionRecord>;
  /** What would become of one. @throws FairleadError as `explain` */
  dryRun(request: DryRun): Promise<DryRunAnswer>;
}

export interface LogOptions {
  tail: number;
  follow: boolean;
  /** Terminal escapes stay. */
  raw?: boolean;
  signal: AbortSignal;
}

/** How long the edge is given for a question, in ms. */
const askMs = 5_000;

export function connectEdge(url: string, token: string): Edge {
  const base = url.replace(/\/+$/, "");
  const headers = { authorization: `Bearer ${token}` };
  return {
    async put(bundle) {
      const body = JSON.stringify(bundle);
      const bytes = Buffer.byteLength(body);
      if (bytes > bundleBytesMax) return { kind: "invalid", reason: `the configuration is ${bytes} bytes, more than ${bundleBytesMax}` };
      try {
        const answer = await fetch(`${base}/internal/bundle`, { method: "PUT", headers: { ...headers, "content-type": "application/json" }, body, signal: AbortSignal.timeout(10_000) });
        const reason = await wordsOf(answer);
        if (answer.ok) return { kind: "taken" };
        if (answer.status === 409) return { kind: "stale", version: Number(answer.headers.get("x-fairlead-bundle-version") ?? 0) || 0 };
        if (answer.status === 422) return { kind: "invalid", reason };
        return { kind: "unreachable", reason: `${base} answered ${answer.status}: ${reason}` };
      } catch (error) {
        return { kind: "unreachable", reason: `no answer from ${base}: ${causeOf(error)}` };
      }
    },
    async status(timeoutMs) {
      const answer = await reach(`${base}/internal/status`, { headers, signal: AbortSignal.timeout(timeoutMs) });
      return ((await answer.json()) as { regions: RegionStatus[] }).regions;
    },
    logs: (host, replica, options) => streamed(`${encodeURIComponent(host)}/${encodeURIComponent(replica)}`, options, {}),
    agentLog: (host, service, options) => streamed(encodeURIComponent(host), options, service === undefined ? {} : { service }),
    async told(kind, service, after, tail) {
      const query = new URLSearchParams({ kind, after, tail: String(tail) });
      const answer = await reach(`${base}/internal/told/${encodeURIComponent(service)}?${query.toString()}`, { headers, signal: AbortSignal.timeout(askMs) });
      return (await answer.json()) as ToldLines;
    },
    async refusals(endpoints) {
      const answer = await reach(`${base}/internal/endpoints`, { method: "POST", headers, body: JSON.stringify({ endpoints }), signal: AbortSignal.timeout(askMs) });
      return ((await answer.json()) as { reasons: (string | null)[] }).reasons;
    },
    explain: (requestId) => ask<DecisionRecord>("GET", `/internal/explain/${encodeURIComponent(requestId)}`),
    dryRun: (request) => ask<DryRunAnswer>("POST", "/internal/explain", request),
  };

  async function streamed(of: string, { tail, follow, raw = false, signal }: LogOptions, more: Record<string, string>): Promise<ReadableStream<Uint8Array>> {
    const query = new URLSearchParams({ ...more, tail: String(tail), follow: follow ? "1" : "0", ...(raw ? { raw: "1" } : {}) });
    const answer = await reach(`${base}/internal/logs/${of}?${query.toString()}`, { headers, signal });
    return answer.body ?? new Blob([]).stream();
  }

  /** A question whose errors are the asker's to read as they are. */
  async function ask<T>(method: string, path: string, body?: unknown): Promise<T> {
    const init = { method, headers, signal: AbortSignal.timeout(askMs), ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
    const answer = await fetch(`${base}${path}`, init).catch((error: unknown) => {
      throw new FairleadError("not_ready", `Cannot ask the edge: no answer from ${base}: ${causeOf(error)}`, { cause: error });
    });
    if (answer.ok) return (await answer.json()) as T;
    const { message, code, param = null } = await errorOf(answer);
    // a token that the edge does not take is no fault of whoever asked
    const known = code !== undefined && Object.hasOwn(errorCodes, code) && answer.status !== 401;
    throw known ? new FairleadError(code as ErrorCode, message, { param }) : new FairleadError("not_ready", `Cannot ask the edge: ${base} answered ${answer.status}: ${message}`);
  }
}

async function reach(url: string, init: RequestInit): Promise<Response> {
  const origin = new URL(url).origin;
  const answer = await fetch(url, init).catch((error: unknown) => {
    throw new Error(`no answer from ${origin}: ${causeOf(error)}`, { cause: error });
  });
  if (!answer.ok) throw new Error(`${origin} answered ${answer.status}: ${await wordsOf(answer)}`);
  return answer;
}

/** The message of an error answer; anything else is cut short. */
async function wordsOf(answer: Response): Promise<string> {
  return (await errorOf(answer)).message;
}

async function errorOf(answer: Response): Promise<{ message: string; code?: string; param?: string | null }> {
  const text = await answer.text().catch(() => "");
  try {
    const { message, code, param } = (JSON.parse(text) as { error: Record<string, unknown> }).error;
    if (typeof message === "string") return { message, ...(typeof code === "string" ? { code } : {}), ...(typeof param === "string" ? { param } : {}) };
  } catch {
    // not JSON: some proxy's page
  }
  return { message: text.slice(0, 200) };
}

function causeOf(error: unknown): string {
  const { name, message, cause } = error as Error;
  if (name === "TimeoutError") return "it took too long";
  return cause instanceof Error && cause.message !== "" ? cause.message : message;
}
