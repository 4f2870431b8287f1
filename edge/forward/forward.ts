import { FairleadError } from "../../schema/errors.ts";
import { decrypt, sharedKey } from "../../schema/seal.ts";
import type { RouterEnv } from "../env.ts";
import type { Candidate, Decision } from "../route/route.ts";
import type { Routes } from "../view.ts";
import type { RouteService } from "../../schema/bundle.ts";
import { attemptProvider, attemptReplica, type Sending } from "./attempt.ts";
import { finalCode, type Outcome } from "./outcome.ts";

/** Attempts in all, whatever they are on (facts/failures.md §2). */
const attemptsMax = 3;

export interface Answered {
  response: Response;
  candidate: Candidate;
  attempts: number;
}

export interface ForwardOptions {
  env: RouterEnv;
  routes: Routes;
  service: RouteService;
  /** Whether an attempt that may have begun may be repeated elsewhere. */
  repeatable: boolean;
  random: () => number;
  /** A decision from news, when nothing of the first one could be reached. */
  again?: () => Promise<Decision>;
}

let shared: { text: string; key: CryptoKey } | undefined;

/** A provider's key, opened once per bundle. */
async function providerKey({ env, routes, service }: ForwardOptions, candidate: Extract<Candidate, { kind: "provider" }>): Promise<string | undefined> {
  const { sealedApiKey, name } = candidate.provider;
  if (sealedApiKey === undefined) return undefined;
  const context = `provider:${service.name}:${name}`;
  const known = routes.providerKeys.get(context);
  if (known !== undefined) return known;
  if (shared?.text !== env.FAIRLEAD_SHARED_KEY) shared = { text: env.FAIRLEAD_SHARED_KEY, key: await sharedKey(env.FAIRLEAD_SHARED_KEY) };
  const key = await decrypt(shared.key, context, sealedApiKey);
  routes.providerKeys.set(context, key);
  return key;
}

/** The body for a provider that has its own name for the model; all others get the bytes as they came. */
function providerBody(sending: Sending, model: string | undefined, parsed: Record<string, unknown> | undefined): Sending {
  return model === undefined || parsed === undefined ? sending : { ...sending, body: new TextEncoder().encode(JSON.stringify({ ...parsed, model })) };
}

async function attempt(options: ForwardOptions, candidate: Candidate, sending: Sending, parsed: Record<string, unknown> | undefined): Promise<Outcome> {
  if (candidate.kind === "provider") {
    return attemptProvider(candidate, await providerKey(options, candidate), providerBody(sending, candidate.provider.model, parsed));
  }
  const { relays } = candidate;
  const start = Math.floor(options.random() * relays.length);
  let outcome: Outcome = { kind: "unsent", why: "its host has no relay" };
  // A relay that cannot carry says nothing against the replica behind it: try its other one before another replica.
  for (let i = 0; i < relays.length; i++) {
    outcome = await attemptReplica(options.env, candidate, relays[(start + i) % relays.length] ?? 0, sending);
    const carrier = outcome.kind === "unsent" && outcome.why.startsWith("no_a");
    if (!carrier || sending.body instanceof ReadableStream) break;
  }
  return outcome;
}

/**
 * Send a request to the first candidate that answers.
 *
 * Before the first byte any failure of an upstream moves on to the next candidate, while attempts last. A body that is a stream
 * can be sent once only.
 *
 * @throws FairleadError when nothing answered: `provider_unreachable`, `provider_timeout`, `provider_error` or `saturated`
 */
export async function forward(options: ForwardOptions, decision: Decision, sending: Sending, parsed?: Record<string, unknown>): Promise<Answered> {
  let last: Exclude<Outcome, { kind: "answer" }> | undefined;
  const tried = new Set<string>();
  let { candidates } = decision;
  for (let attempts = 0; attempts < attemptsMax && !sending.abort.signal.aborted; ) {
    let candidate = candidates.find(({ id }) => !tried.has(id));
    if (candidate === undefined && last?.kind === "unsent" && options.again !== undefined) {
      // What was known has gone; what took its place may be known by now.
      candidates = (await options.again()).candidates;
      candidate = candidates.find(({ id }) => !tried.has(id));
    }
    if (candidate === undefined) break;
    tried.add(candidate.id);
    attempts++;
    const outcome = await attempt(options, candidate, sending, parsed);
    if (outcome.kind === "answer") return { response: outcome.response, candidate, attempts };
    if (last?.kind === "unable") await last.response.body?.cancel();
    last = outcome;
    const mayMove = outcome.kind === "unsent" || options.repeatable;
    if (!mayMove || sending.body instanceof ReadableStream) break;
  }
  if (last === undefined) throw new FairleadError("no_replica", `Cannot serve "${options.service.name}": nothing can take the request`, { retryAfterMs: 1_000 });
  // nobody is there to be told; the outcome of an abandoned attempt says nothing of its upstream
  if (sending.abort.signal.aborted) throw new FairleadError("provider_unreachable", "Cannot go on: the client has gone");
  throw failure(options.service.name, last);
}

function failure(service: string, outcome: Exclude<Outcome, { kind: "answer" }>): FairleadError {
  const code = finalCode(outcome);
  if (outcome.kind !== "unable") {
    // The reason is ours or the platform's, never an upstream's text; it is logged, not sent.
    console.warn(JSON.stringify({ message: "no upstream answered", service, outcome: outcome.kind, why: outcome.why }));
    return new FairleadError(code, outcome.kind === "timeout" ? `Cannot serve "${service}": no upstream answered in time` : `Cannot serve "${service}": the upstream was lost before it answered`, { retryAfterMs: 1_000 });
  }
  const { status, headers } = outcome.response;
  void outcome.response.body?.cancel();
  const seconds = Number(headers.get("retry-after") ?? Number.NaN);
  const retryAfterMs = Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : 1_000;
  return new FairleadError(code, code === "saturated" ? `Cannot serve "${service}": it is at its limit` : `Cannot serve "${service}": the upstream answered with status ${status}`, { retryAfterMs });
}
