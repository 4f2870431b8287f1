/** What an answer's headers say beside its request's id. */
export interface AnswerFacts {
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

const kept = new Map<string, Headers>();
/** Kept at most; a service has few kinds of answers, and what is dropped is made anew. */
const keptMax = 1_000;

/**
 * The headers of an answer to an inference request. Of the upstream's nothing but the content type crosses (facts/openai-wire.md §9).
 *
 * One object for all answers that say the same, to be given to `new Response`, which copies it: each header that crosses from JavaScript
 * to the runtime costs 1.5 % of what a bare `fetch` does, and a copy of them all as much as one.
 */
export function answerHeaders({ type, streamed, upstream, model, attempts, fallback }: AnswerFacts): Headers {
  const key = `${type === null ? "" : `=${type}`}\n${streamed ? "s" : ""}${fallback ? "f" : ""}${attempts}\n${upstream}\n${model}`;
  const known = kept.get(key);
  if (known !== undefined) return known;
  const headers = new Headers({ "x-fairlead-upstream": upstream, "x-fairlead-model": model, "x-fairlead-attempts": String(attempts), "x-fairlead-fallback": String(fallback) });
  if (type !== null) headers.set("content-type", type);
  if (streamed) headers.set("cache-control", "no-cache");
  if (kept.size >= keptMax) kept.clear();
  kept.set(key, headers);
  return headers;
}
