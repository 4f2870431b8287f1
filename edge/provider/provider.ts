import type { Provider } from "../../schema/bundle.ts";
import type { FairleadError } from "../../schema/errors.ts";
import type { Dialect, ProviderRequest, Sending, StreamEvent } from "./dialect.ts";
import { errorOf, outcomeOf, type UpstreamOutcome } from "./failure.ts";
import { openai } from "./openai.ts";
import { vendorOf, type Prefill } from "./vendors.ts";

/** One more dialect is one more file, and its line here. */
const dialects: Readonly<Record<Provider["dialect"], Dialect>> = { openai };

/**
 * A request as a provider takes it: its URL, its credential, its names for fields. The URL's host is the endpoint's, whatever the
 * request says. A body that needs no change is passed on as it is.
 *
 * @param apiKey opened; without it no credential is sent
 */
export function providerRequest(provider: Provider, apiKey: string | undefined, sending: Sending): ProviderRequest {
  return dialects[provider.dialect].request(provider, apiKey, sending);
}

export interface UpstreamErrorOptions {
  dialect?: Provider["dialect"];
  /** The path that was called. */
  path?: string;
  /** What the answer's headers say of waiting. */
  retryAfterMs?: number | undefined;
}

/**
 * What an upstream's error means for the request, and the error that the caller is told when nothing else answers.
 *
 * @param bodyText at most the first 64 KiB; undefined when it could not be read
 */
export function upstreamError(status: number, bodyText: string | undefined, { dialect = "openai", ...options }: UpstreamErrorOptions = {}): { outcome: UpstreamOutcome; error: FairleadError } {
  const said = dialects[dialect].said(bodyText);
  const outcome = outcomeOf(status, said);
  return { outcome, error: errorOf(outcome, status < 300 ? (said.status ?? status) : status, said, options) };
}

/** How a provider is told to go on with the last message; what it takes is `continuation`'s to say. */
export function prefillOf({ endpoint }: Provider): Prefill {
  return vendorOf(new URL(endpoint).hostname).prefill ?? "plain";
}

/** Whether a provider's stream is complete with this event; one that ends without it was cut. */
export function endsStream(dialect: Provider["dialect"], event: StreamEvent): boolean {
  return dialects[dialect].ends(event);
}

export type { ProviderRequest, Sending, StreamEvent, UpstreamOutcome };
