import type { RequestFacts } from "../route/request.ts";
import type { Client } from "./attempt.ts";
import type { HeaderObject } from "./headers.ts";

/** A request as it goes to any upstream. */
export interface Sending {
  requestId: string;
  method: string;
  /** Path and query from the service's root, e.g. `/v1/chat/completions`. */
  path: string;
  headers: HeaderObject;
  /** What was read whole is text. */
  body: string | ReadableStream | null;
  /** The body as an object, where it was read. */
  parsed: Record<string, unknown> | undefined;
  /** What routing weighs of it. */
  facts: RequestFacts | undefined;
  /** Events are asked for. */
  stream: boolean;
  /** A WebSocket is asked for. */
  upgrade: boolean;
  /** When the request came: its one deadline counts from here. */
  startedAt: number;
  client: Client;
}
