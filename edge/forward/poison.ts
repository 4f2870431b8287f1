import type { Now } from "../../schema/clock.ts";
import { FairleadError } from "../../schema/errors.ts";
import { quarantinedMax, quarantineMs } from "../../schema/quarantine.ts";
import { mix, textHash } from "../route/prefix.ts";
import type { Failure } from "./outcome.ts";

/**
 * A replica that was lost may be asked again by another request within so long: it has not started anew, its connections are still
 * breaking. What an agent gives a connection on loopback (facts/failures.md §2: connect, 2 s).
 */
const sameDeathMs = 2_000;

const encoder = new TextEncoder();

/**
 * 64 bits of a request's body, unrelated in another scope. About 1 ms for a megabyte: computed only when something was lost.
 *
 * @param scope whose request it is, and to what: `scopeOf`
 */
export function fingerprint(scope: string, body: string): string {
  const bytes = encoder.encode(body);
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2);
  const seed = textHash(scope, bytes.byteLength);
  let a = seed;
  let b = ~seed;
  // odd 32-bit constants with well-mixed bits: the primes of xxHash32 (Yann Collet, BSD 2-Clause)
  const take = (word: number): void => {
    a = Math.imul(a ^ word, 0x9e3779b1);
    a ^= a >>> 15;
    b = Math.imul(b ^ word, 0x85ebca77);
    b ^= b >>> 13;
  };
  for (let i = 0; i < words.length; i++) take(words[i] as number);
  for (let i = words.length * 4; i < bytes.byteLength; i++) take(bytes[i] as number);
  return hex(mix(a, seed)) + hex(mix(b, a));
}

/** An account's requests to one version of a service: a new version may be cured. */
export function scopeOf(account: string, { name, version }: { name: string; version: number }): string {
  return `${account}/${name}@${version}`;
}

function hex(word: number): string {
  return (word >>> 0).toString(16).padStart(8, "0");
}

/** Whether an attempt at a replica ended because the replica's connection broke: by its agent's own word, never for the carriage's faults. */
export function diedOf(failure: Failure): boolean {
  return failure.kind === "lost" && failure.why.startsWith("upstream_lost");
}

/** A replica that was lost while it had a request. */
export interface Loss {
  /** The request's id, and when it came. */
  request: string;
  cameAt: Now;
  replica: string;
}

/** What is held against a body: losses, or that it is refused. */
interface Held {
  until: Now;
  /** None once it is refused. */
  losses: { request: string; replica: string; at: Now }[] | undefined;
}

/** Losses remembered of a suspect: with the second one that counts it is none any more. */
const lossesMax = 8;

/**
 * What one isolate holds against requests, by account and fingerprint. One loss makes a suspect; a whole answer of a replica to the
 * same request clears it. A second loss makes it poison, for `quarantineMs`.
 *
 * Losses are told apart by cause: what was under way when a replica was lost may have been lost with it (a host that fails takes all
 * of its replicas along), so of two requests the later one's loss counts only if it came after the other's. Of one request every
 * replica counts.
 */
export class Poison {
  /** Of each account in the order in which they are over. */
  readonly #accounts = new Map<string, Map<string, Held>>();

  /** Accounts that something is held against. */
  get size(): number {
    return this.#accounts.size;
  }

  /** Whether anything is held against an account's requests: while there is nothing, no fingerprint need be made. */
  suspects(account: string, now: Now): boolean {
    if (this.#accounts.size === 0) return false;
    const held = this.#accounts.get(account);
    if (held === undefined) return false;
    for (const [fingerprint, { until }] of held) {
      if (until > now) break;
      held.delete(fingerprint);
    }
    if (held.size === 0) this.#accounts.delete(account);
    return held.size > 0;
  }

  /** Until when a request is refused; undefined when it is not. */
  isPoison(account: string, fingerprint: string, now: Now): Now | undefined {
    const held = this.#accounts.get(account)?.get(fingerprint);
    return held !== undefined && held.losses === undefined && held.until > now ? held.until : undefined;
  }

  /**
   * A replica was lost while it had this request.
   *
   * @returns `poison` when the request is to stop; `known` when it is so already
   */
  blame(account: string, fingerprint: string, { request, cameAt, replica }: Loss, now: Now): "suspect" | "poison" | "known" {
    const before = this.#accounts.get(account)?.get(fingerprint);
    const held = before !== undefined && before.until > now ? before : { until: 0, losses: [] };
    if (held.losses === undefined) return "known";
    const again = held.losses.some((loss) => (loss.request === request ? loss.replica !== replica : cameAt >= loss.at && (loss.replica !== replica || now - loss.at >= sameDeathMs)));
    const losses = again ? undefined : [...held.losses, { request, replica, at: now }].slice(-lossesMax);
    this.#hold(account, fingerprint, { until: now + quarantineMs, losses });
    return again ? "poison" : "suspect";
  }

  /** A replica has answered this request whole: what was lost before was not lost to it. */
  forgive(account: string, fingerprint: string): void {
    const held = this.#accounts.get(account);
    if (held?.get(fingerprint)?.losses === undefined) return;
    held.delete(fingerprint);
    if (held.size === 0) this.#accounts.delete(account);
  }

  #hold(account: string, fingerprint: string, held: Held): void {
    const all = this.#accounts.get(account) ?? new Map<string, Held>();
    all.delete(fingerprint);
    all.set(fingerprint, held);
    if (all.size > quarantinedMax.account) deleteOldest(all);
    // the account with the latest news comes last
    this.#accounts.delete(account);
    this.#accounts.set(account, all);
    if (this.#accounts.size > quarantinedMax.all) deleteOldest(this.#accounts);
  }
}

function deleteOldest(map: Map<string, unknown>): void {
  const oldest = map.keys().next();
  if (!oldest.done) map.delete(oldest.value);
}

/** What the caller of such a request is told. */
export function poisonError(until: Now): FairleadError {
  return new FairleadError("poison_request", `Cannot serve the request: replicas were lost while they had it; it is refused until ${new Date(until).toISOString()}`);
}
