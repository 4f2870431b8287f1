import type { Provider } from "../../schema/bundle.ts";
import { changed, vendorChanges } from "./body.ts";
import type { Dialect, ProviderRequest, Sending, StreamEvent } from "./dialect.ts";
import { callUrl } from "./endpoint.ts";
import { said } from "./said.ts";
import { vendorOf, type Vendor } from "./vendors.ts";

/** What proves who a client or a proxy is: none of it is for a provider (facts/openai-wire.md section 9). */
const clientOnly = /^(authorization|x-api-key|api-key|x-goog-api-key|cookie|forwarded|cdn-loop|x-real-ip|(cf|proxy|x-forwarded|x-fairlead|x-stainless)-.*)$/;

/** Set by whoever makes the connection, never by configuration; hop-by-hop by RFC 9110 section 7.6.1. */
const connectionOnly = new Set(["authorization", "proxy-authorization", "host", "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "te", "trailer", "transfer-encoding", "upgrade", "content-length"]);

const validName = /^[!#$%&'*+.^_`|~\da-z-]+$/;
const validValue = /^[\t\x20-\x7e\x80-\xff]*$/;

function headersFor(provider: Provider, vendor: Vendor, apiKey: string | undefined, headers: Record<string, string>): Record<string, string> {
  const result: Record<string, string> = {};
  for (const [given, value] of Object.entries(headers)) {
    const name = given.toLowerCase();
    if (!clientOnly.test(name) && !connectionOnly.has(name)) result[name] = value;
  }
  for (const [given, value] of Object.entries(provider.headers)) {
    const name = given.toLowerCase();
    if (!connectionOnly.has(name) && validName.test(name) && validValue.test(value)) result[name] = value;
  }
  if (apiKey !== undefined) {
    // Azure takes a token of Entra's like everybody else's
    const { header, prefix } = vendor.name === "azure" && /^eyJ[\w-]+\.[\w-]+\.[\w-]+$/.test(apiKey) ? { header: "authorization", prefix: "Bearer " } : vendor.credential;
    result[header] = prefix + apiKey;
  }
  return result;
}

function bodyFor({ model }: Provider, vendor: Vendor, { path, body, parsed }: Sending): Sending["body"] {
  if (parsed === undefined || typeof body !== "string") return body;
  const changes = vendorChanges(vendor, path, parsed);
  if (model !== undefined && model !== parsed["model"]) changes.set("model", { value: model });
  return changed(body, changes);
}

/** Paths remembered per provider at most; a bundle's providers are objects of their own and go with it. */
const pathsMax = 16;

/** What is the same for every request to a provider. */
interface Known {
  vendor: Vendor;
  urls: Map<string, string>;
  /** What comes of headers that stay as they are: `fetch` copies them, at the cost of one. */
  headers?: { apiKey: string | undefined; from: Sending["headers"]; made: Headers };
}

/** Parsing an endpoint for each request was a tenth of the router's own cost. */
const known = new WeakMap<Provider, Known>();

function knownOf(provider: Provider): Known {
  let entry = known.get(provider);
  if (entry === undefined) {
    entry = { vendor: vendorOf(new URL(provider.endpoint).hostname), urls: new Map() };
    known.set(provider, entry);
  }
  return entry;
}

function urlOf({ endpoint }: Provider, { vendor, urls }: Known, path: string): string {
  let url = urls.get(path);
  if (url === undefined) {
    url = callUrl(endpoint, vendor.base, path).href;
    if (urls.size < pathsMax) urls.set(path, url);
  }
  return url;
}

function headersOf(provider: Provider, entry: Known, apiKey: string | undefined, from: Sending["headers"]): ProviderRequest["headers"] {
  if (entry.headers?.from === from && entry.headers.apiKey === apiKey) return entry.headers.made;
  const headers = headersFor(provider, entry.vendor, apiKey, from);
  if (!Object.isFrozen(from)) return headers;
  const made = new Headers(headers);
  entry.headers = { apiKey, from, made };
  return made;
}

function request(provider: Provider, apiKey: string | undefined, sending: Sending): ProviderRequest {
  const entry = knownOf(provider);
  return { url: urlOf(provider, entry, sending.path), headers: headersOf(provider, entry, apiKey, sending.headers), body: bodyFor(provider, entry.vendor, sending) };
}

/** `[DONE]` for chat and completions; for `/v1/responses` one of three named events (facts/openai-wire.md sections 4 and 10). */
function ends({ event, data }: StreamEvent): boolean {
  return data.trim() === "[DONE]" || (event !== undefined && /^response\.(completed|incomplete|failed)$/.test(event));
}

/** OpenAI, and the vendors that are compatible with it. */
export const openai: Dialect = { request, said, ends };
