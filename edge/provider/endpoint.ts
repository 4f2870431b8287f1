import { FairleadError } from "../../schema/errors.ts";

/** What people paste along with an endpoint. */
const call = /\/(chat\/completions|completions|embeddings|responses)$/;

/**
 * The URL of a call on an endpoint. The endpoint's host stays, whatever the path says; its query (Azure's `api-version`) stays,
 * and the path's is added to it.
 *
 * `base` is where the API is on an endpoint that names the host alone, or leads to `base`: https://api.groq.com and
 * https://api.groq.com/openai stand for https://api.groq.com/openai/v1. Any other endpoint with a path is the API's base itself.
 *
 * @param path begins with `/v1`, which stands for the base
 * @throws FairleadError `not_found` when the path leads out of the endpoint
 */
export function callUrl(endpoint: string, base: string, path: string): URL {
  const url = new URL(endpoint);
  url.hash = "";
  const given = url.pathname.replace(/\/+$/, "").replace(call, "");
  const root = `${base}/`.startsWith(`${given}/`) ? base : given;
  const [called = "", query = ""] = path.split(/\?(.*)/s, 2);
  url.pathname = root + called.replace(/^\/v1(?=\/|$)/, "");
  if (url.pathname !== root && !url.pathname.startsWith(`${root}/`)) throw new FairleadError("not_found", "Cannot call the provider: the path leads out of its API");
  for (const [name, value] of new URLSearchParams(query)) if (!url.searchParams.has(name)) url.searchParams.append(name, value);
  return url;
}
