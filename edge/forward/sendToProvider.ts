import type { Provider } from "../../schema/bundle.ts";
import { decrypt, sharedKey } from "../../schema/seal.ts";
import type { RouterEnv } from "../env.ts";
import { providerRequest } from "../provider/provider.ts";
import type { Candidate } from "../route/candidates.ts";
import { besideV1, detokenizePath } from "./detokenize.ts";
import type { Reply } from "./outcome.ts";
import type { Sending } from "./sending.ts";

export interface ProviderOptions {
  env: RouterEnv;
  /** Whose provider it is: what is sealed is sealed for its service. */
  service: { name: string };
}

let shared: { text: string; key: CryptoKey } | undefined;

/** A provider with what was sealed opened. */
interface Opened {
  provider: Provider;
  apiKey: string | undefined;
}

/** Opened once per bundle: each bundle has provider objects of its own. */
const opened = new WeakMap<Provider, Opened>();

async function open({ env, service }: ProviderOptions, sealed: Provider): Promise<Opened> {
  const { name, sealedApiKey, sealedHeaders, headers } = sealed;
  if (shared?.text !== env.FAIRLEAD_SHARED_KEY) shared = { text: env.FAIRLEAD_SHARED_KEY, key: await sharedKey(env.FAIRLEAD_SHARED_KEY) };
  const apiKey = sealedApiKey === undefined ? undefined : await decrypt(shared.key, `provider:${service.name}:${name}`, sealedApiKey);
  const more = sealedHeaders === undefined ? undefined : (JSON.parse(await decrypt(shared.key, `provider-headers:${service.name}:${name}`, sealedHeaders)) as Record<string, string>);
  const result = { provider: more === undefined ? sealed : { ...sealed, headers: { ...headers, ...more } }, apiKey };
  opened.set(sealed, result);
  return result;
}

const answered = (response: Response): Reply => ({ kind: "answer", response });

function sendOpened({ provider, apiKey }: Opened, sending: Sending, signal: AbortSignal | undefined): Promise<Reply> {
  const { url, headers, body } = providerRequest(provider, apiKey, sending);
  const init: RequestInit = { method: sending.method, headers, body, redirect: "manual" };
  if (signal !== undefined) init.signal = signal;
  return fetch(sending.path === detokenizePath ? besideV1(url) : url, init).then(answered);
}

/** To a vendor, in its dialect and with its key. Redirects are not followed: the key would go with them. */
export function sendToProvider(options: ProviderOptions, candidate: Extract<Candidate, { kind: "provider" }>, sending: Sending, signal: AbortSignal | undefined): Promise<Reply> {
  const known = opened.get(candidate.provider);
  return known === undefined ? open(options, candidate.provider).then((fresh) => sendOpened(fresh, sending, signal)) : sendOpened(known, sending, signal);
}
