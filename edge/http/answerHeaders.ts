import { servedBy } from "./context.ts";

/** What an answer's headers say. */
export interface AnswerFacts {
  requestId: string;
  /** The upstream's `content-type`; null where it sent none. */
  type: string | null;
  /** It is passed on as a stream of events. */
  streamed: boolean;
  /** Who gave it: a provider's name, or `replica`; never an address. */
  upstream: string;
  model: string;
  attempts: number;
  fallback: boolean;
}

/**
 * The headers of an answer to an inference request. Of the upstream's nothing but the content type crosses (facts/openai-wire.md §9).
 *
 * A plain object: made anew it costs an answer no more than a `Headers` that is kept, copied and given its request's id (`scripts/bench/crossings`).
 */
export function answerHeaders({ requestId, type, streamed, upstream, model, attempts, fallback }: AnswerFacts): Record<string, string> {
  const headers: Record<string, string> = { "x-fairlead-model": model };
  servedBy(headers, requestId, upstream, attempts, fallback);
  if (type !== null) headers["content-type"] = type;
  if (streamed) headers["cache-control"] = "no-cache";
  return headers;
}
