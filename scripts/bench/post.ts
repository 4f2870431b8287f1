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

export interface PosterOptions {
  stream: boolean;
  connections: number;
  /** Hears of each request that failed, in words: its status and the beginning of its body, or the connection's error. */
  onFailure?: (why: string) => void;
}

/** Of a failed answer's body, so much is told. */
const toldChars = 300;

/** The benchmark's request over kept-alive connections, one request at a time on each (pipelining 1). */
export function poster(target: Target, { stream, connections, onFailure }: PosterOptions): Post {
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
      let said = "";
      const sentMs = performance.now();
      const failed = (why: string): void => {
        onFailure?.(`after ${Math.round(performance.now() - sentMs)} ms: ${why}`);
        done(false);
      };
      pool.dispatch(options, {
        onRequestStart() {},
        onResponseStart(_, statusCode) {
          status = statusCode;
        },
        onResponseData(_, chunk) {
          if (status !== 200 && said.length < toldChars) said += chunk.toString();
          onData?.(chunk);
        },
        onResponseEnd: () => (status === 200 ? done(true) : failed(`${status} ${said.slice(0, toldChars)}`)),
        onResponseError: (_, error) => failed(`${status === 0 ? "" : `${status}, then `}${error.name}: ${error.message}`),
      });
    });
  };
}
