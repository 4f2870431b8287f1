import type { Now, Random } from "../../schema/clock.ts";
import type { BreakerTold } from "../../schema/telemetry.ts";
import type { ReplicaRow } from "../route/candidates.ts";
import { poolOf } from "../route/pool.ts";
import { Breaker, breakersHold, type BreakerState } from "./breaker.ts";
import type { Failure } from "./outcome.ts";
import { parkMsUnsaid } from "./retryAfter.ts";

/** An upstream that refuses our credential is asked again after this long. */
export const credentialParkMs = 60_000;
/** Upstreams of one service that are remembered at most; the oldest goes. */
const upstreamsMax = 1_024;

/** What one isolate holds against one upstream. */
interface Standing {
  breaker: Breaker;
  parkedUntil: Now;
  parkedWhy: string;
  /** Whether it was parked because it is at its limit. */
  throttled: boolean;
  /** Paths that it has not got, until when they are believed missing. */
  missing: Map<string, Now> | undefined;
}

/** The upstreams of a service, as the view lists them. */
export interface Upstreams {
  replicas: readonly ReplicaRow[];
  providers: readonly { name: string }[];
}

/** How the upstreams of a service stand at one moment; made only when something is wrong with one of them. */
export interface Survey {
  /** Why upstreams are not to be used, by id; all others may be. */
  blocked: ReadonlyMap<string, string>;
  /** The share of its usual traffic that it may take, 0..1. */
  pressure: (id: string) => number;
  /** Its breaker is open and not believed: to be asked when nothing else is left. */
  lastResort: (id: string) => boolean;
  /** When the first of those that are blocked may be asked, in ms. */
  freeInMs: number;
  /** Whether all that blocks is that upstreams are at their limit. */
  throttledOnly: boolean;
}

/** How the upstreams of one service stand with one isolate: their breakers, and how long they asked to be left alone. */
export class Standings {
  readonly #all = new Map<string, Standing>();
  /** Those that may be anything but usable. While there are none, nothing is looked at. */
  readonly #troubled = new Set<string>();

  #of(id: string): Standing {
    let standing = this.#all.get(id);
    if (standing !== undefined) return standing;
    standing = { breaker: new Breaker(), parkedUntil: 0, parkedWhy: "", throttled: false, missing: undefined };
    this.#all.set(id, standing);
    if (this.#all.size > upstreamsMax) {
      const oldest = this.#all.keys().next();
      if (!oldest.done) {
        this.#all.delete(oldest.value);
        this.#troubled.delete(oldest.value);
      }
    }
    return standing;
  }

  #forgetOld(now: Now): void {
    for (const id of this.#troubled) {
      const standing = this.#all.get(id);
      if (standing === undefined) {
        this.#troubled.delete(id);
        continue;
      }
      if (standing.missing !== undefined) {
        for (const [path, until] of standing.missing) if (until <= now) standing.missing.delete(path);
        if (standing.missing.size === 0) standing.missing = undefined;
      }
      if (standing.breaker.state(now, true) === "closed" && standing.parkedUntil <= now && standing.missing === undefined) this.#troubled.delete(id);
    }
  }

  /** Nothing is wrong with any upstream: the common case, known without a look at the clock. */
  get untroubled(): boolean {
    return this.#troubled.size === 0;
  }

  /**
   * @param tried what has failed the request that asks: for it, that is out like those whose breakers are open
   * @returns undefined when nothing is wrong with any upstream
   */
  survey({ replicas, providers }: Upstreams, path: string, now: Now, tried: readonly string[] = []): Survey | undefined {
    if (this.#troubled.size === 0) return undefined;
    this.#forgetOld(now);
    if (this.#troubled.size === 0) return undefined;
    // those that the view's own word lets be used: who is down or starting stands in for nobody
    const { indexOf: own } = poolOf(replicas);
    const vendors = new Set(providers.map(({ name }) => name));
    const isHere = (id: string): boolean => own.has(id) || vendors.has(id);
    let out = tried.filter((id) => isHere(id) && this.#all.get(id)?.breaker.opened !== true).length;
    let replicasOpen = 0;
    for (const id of this.#troubled) {
      if (!isHere(id) || this.#all.get(id)?.breaker.opened !== true) continue;
      out++;
      if (own.has(id)) replicasOpen++;
    }
    const hold = breakersHold(out, own.size + providers.length);
    const stateOf = (id: string, { breaker }: Standing): BreakerState => breaker.state(now, vendors.has(id) || replicasOpen === own.size);
    const blocked = new Map<string, string>();
    let freeInMs = Number.POSITIVE_INFINITY;
    let throttledOnly = true;
    for (const id of this.#troubled) {
      const standing = this.#of(id);
      const parked = now < standing.parkedUntil;
      if (parked) blocked.set(id, standing.parkedWhy);
      else if (now < (standing.missing?.get(path) ?? 0)) blocked.set(id, `it does not know ${path}`);
      // Past an open breaker only what fails fast is asked: a silent upstream would cost each caller its time.
      else if (stateOf(id, standing) === "open" && (hold || standing.breaker.slow)) blocked.set(id, "its breaker is open");
      else continue;
      if (!isHere(id)) continue;
      if (!parked || !standing.throttled) throttledOnly = false;
      freeInMs = Math.min(freeInMs, Math.max(0, (parked ? standing.parkedUntil : standing.breaker.opensUntil) - now));
    }
    return {
      blocked,
      pressure: (id) => this.#all.get(id)?.breaker.share(now) ?? 1,
      lastResort: (id) => {
        const standing = this.#all.get(id);
        return standing !== undefined && stateOf(id, standing) === "open";
      },
      freeInMs,
      throttledOnly,
    };
  }

  /** Breakers that are not closed, for telemetry. */
  *troubles(now: Now): Generator<{ id: string; state: BreakerTold }> {
    for (const id of this.#troubled) {
      const state = this.#all.get(id)?.breaker.state(now, false);
      if (state === "open" || state === "recovering") yield { id, state };
      else if (state === "due") yield { id, state: "half_open" };
    }
  }

  /** An attempt begins. */
  began(id: string, now: Now): void {
    if (this.#troubled.has(id)) this.#of(id).breaker.began(now);
  }

  answered(id: string, now: Now, beganAt: Now): void {
    const { breaker } = this.#of(id);
    breaker.succeeded(now, beganAt);
  }

  failed(id: string, path: string, failure: Failure, now: Now, beganAt: Now, random: Random): void {
    const standing = this.#of(id);
    const { breaker } = standing;
    switch (failure.kind) {
      case "unsent":
        // one way to it says nothing against what stands behind
        if (failure.silent === "relay") {
          breaker.withoutVerdict();
          return;
        }
        breaker.failed(now, beganAt, random);
        break;
      case "lost":
        breaker.failed(now, beganAt, random);
        break;
      case "timeout":
        breaker.failed(now, beganAt, random, true);
        break;
      case "unable":
        if (failure.status >= 500) breaker.failed(now, beganAt, random);
        else breaker.withoutVerdict();
        break;
      case "throttled":
        breaker.withoutVerdict();
        this.#park(standing, now, failure.retryAfterMs ?? parkMsUnsaid, "it is at its limit", true);
        break;
      case "credential":
        breaker.withoutVerdict();
        if (failure.status === 404) (standing.missing ??= new Map()).set(path, now + credentialParkMs);
        else this.#park(standing, now, credentialParkMs, "it refuses our credential", false);
        break;
      case "caller":
      case "context_length":
      case "content_filter":
        // it read the request and answered: it works
        breaker.succeeded(now, beganAt);
        return;
      case "abandoned":
        breaker.withoutVerdict();
        return;
    }
    this.#troubled.add(id);
  }

  #park(standing: Standing, now: Now, ms: number, why: string, throttled: boolean): void {
    if (now + ms <= standing.parkedUntil) return;
    standing.parkedUntil = now + ms;
    standing.parkedWhy = why;
    standing.throttled = throttled;
  }
}
