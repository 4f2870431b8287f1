import type { Provider } from "../../schema/bundle.ts";

/** A request as the client meant it, on its way to a provider. */
export interface Sending {
  /** Path from the service's root, e.g. `/v1/chat/completions`. */
  path: string;
  method: string;
  /** One that is frozen may be remembered. */
  headers: Record<string, string>;
  body: string | ReadableStream | null;
  /** What `body` says, when it was read as a JSON object. */
  parsed: Record<string, unknown> | undefined;
}

export interface ProviderRequest {
  url: string;
  headers: Record<string, string> | Headers;
  body: Sending["body"];
}

/** What an upstream's error says, taken from its shape. Nothing of it is sent on as it is. */
export interface Said {
  /** A status that the body names: for an error inside an answer that began with 200. */
  status: number | undefined;
  /** Its machine-readable words (codes, types, reasons), in lower case. */
  words: string[];
  /** The request field it names. */
  param: string | undefined;
  /** Its text, cut: to be compared with known phrases only. */
  text: string;
}

/** One event of an answer's stream. */
export interface StreamEvent {
  event?: string | undefined;
  data: string;
}

/** How one family of vendors speaks. */
export interface Dialect {
  request(provider: Provider, apiKey: string | undefined, sending: Sending): ProviderRequest;
  said(body: string | undefined): Said;
  /** Whether a stream is complete with this event. */
  ends(event: StreamEvent): boolean;
}
