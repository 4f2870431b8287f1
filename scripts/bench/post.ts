import { Pool } from "undici";
import { requestBody } from "./exchange.ts";

export interface Target {
  /** Full URL of the chat completions endpoint. */
  url: string;
  headers: Record<string, string>;
}

/** A request that does not move for this long has failed, in ms. */
const timeoutMs = 30_000;

/** Sends one request. Resolves with true when the answer was a 200 that came to its end; `onData` sees its bytes as they come. */
export type Post = (onData?: (chunk: Buffer) => void) => Promise<boolean>;

/** The benchmark's request over kept-alive connections, one request at a time on each (pipelining 1). */
export function poster(target: Target, { stream, connections }: { stream: boolean; connections: number }): Post {
  const { origin, pathname, search } = new URL(target.url);
  const pool = new Pool(origin, { connections, pipelining: 1, headersTimeout: timeoutMs, bodyTimeout: timeoutMs, keepAliveTimeout: 60_000 });
  const options = {
    method: "POST" as const,
    path: pathname + search,
    headers: { ...target.headers, "content-type": "application/json" },
    body: Buffer.from(requestBody({ stream })),
  };
  return function post(onData) {
    return new Promise((done) => {
      let status = 0;
      pool.dispatch(options, {
        onRequestStart() {},
        onResponseStart(_, statusCode) {
          status = statusCode;
        },
        onResponseData(_, chunk) {
          onData?.(chunk);
        },
        onResponseEnd: () => done(status === 200),
        onResponseError: () => done(false),
      });
    });
  };
}
