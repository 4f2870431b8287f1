import { errorCodes, type FairleadError } from "../schema/errors.ts";
import { quarantineMs, type Quarantine } from "../schema/quarantine.ts";
import type { RouterEnv } from "./env.ts";
import { fingerprint, Poison, poisonError, scopeOf } from "./forward/poison.ts";
import { nearestHub, type View } from "./view.ts";

/** What this isolate holds against requests. What it refuses its Hub is told, and so every other isolate. */
let poison = new Poison();

/** A request whose body is at hand, to whom it belongs and where it goes. */
export interface Suspect {
  service: { name: string; version: number };
  account: string;
  body: string;
}

/**
 * Whether a request is refused because replicas died of it. While nothing is held against anybody it costs two comparisons.
 *
 * @returns what its caller is told
 */
export function isPoison({ quarantined }: View, service: Suspect["service"], account: string, body: string): FairleadError | undefined {
  if (quarantined.size === 0 && poison.size === 0) return undefined;
  const now = Date.now();
  const told = quarantined.get(account);
  if (told === undefined && !poison.suspects(account, now)) return undefined;
  const mark = fingerprint(scopeOf(account, service), body);
  const until = Math.max(told?.get(mark) ?? 0, poison.isPoison(account, mark, now) ?? 0);
  return until > now ? poisonError(until) : undefined;
}

/** A replica was lost while it had a request. */
export interface Accusation extends Suspect {
  env: RouterEnv;
  request: Request;
  waitUntil: (work: Promise<unknown>) => void;
  requestId: string;
  /** When the request came. */
  startedAt: number;
  replica: string;
}

/** @returns what the caller is told when the request is to stop; undefined when it may go on */
export function blame({ env, request, waitUntil, service, account, body, requestId, startedAt, replica }: Accusation): FairleadError | undefined {
  const now = Date.now();
  const mark = fingerprint(scopeOf(account, service), body);
  const verdict = poison.blame(account, mark, { request: requestId, cameAt: startedAt, replica }, now);
  if (verdict === "suspect") return undefined;
  const until = poison.isPoison(account, mark, now) ?? now + quarantineMs;
  if (verdict === "poison") {
    console.warn(JSON.stringify({ message: "a request is refused because replicas died of it", code: "poison_request", status: errorCodes.poison_request.status, service: service.name, account, requestId, fingerprint: mark, replica, until }));
    waitUntil(tell(env, request, { account, fingerprint: mark, until }));
  }
  return poisonError(until);
}

/** A replica has answered a request whole: what was lost before was not lost to it. */
export function forgive(service: Suspect["service"], account: string, body: Suspect["body"]): void {
  if (poison.suspects(account, Date.now())) poison.forgive(account, fingerprint(scopeOf(account, service), body));
}

async function tell(env: RouterEnv, request: Request, quarantine: Quarantine): Promise<void> {
  try {
    await nearestHub(env, request).quarantine([quarantine]);
  } catch (error) {
    console.warn(JSON.stringify({ message: "a quarantine was not told", fingerprint: quarantine.fingerprint, error: String(error) }));
  }
}

/** Forget everything: for tests that start from a cold isolate. */
export function forgetPoison(): void {
  poison = new Poison();
}
