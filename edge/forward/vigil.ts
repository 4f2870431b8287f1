import type { Now } from "../../schema/clock.ts";
import { linkTimes } from "../../schema/protocol.ts";
import type { Suspects } from "./suspects.ts";

/** Of the second within which a dispatch is to be acknowledged, one half is the replica's and one is for the question whether anybody is there: as at a gate (direct.ts). */
const halfMs = linkTimes.dispatchAckMs / 2;
/** How long nothing may come through a relay before it is asked: while an answer's beginning is waited for, and in the middle of one, where each piece follows soon. */
export const quietMs = { beginning: halfMs, midway: halfMs / 2 } as const;
/** How long it has for its answer. */
export const questionMs = halfMs;
/** While a question is out it is looked for so often. */
const lookMs = questionMs / 4;
/**
 * Of what was waited already, so much is waited between two questions at least: whoever waits ten minutes for an engine asks some 60
 * times, of the 10,000 calls that a request has (facts/cloudflare.md §1).
 */
const everyShare = 0.1;
/** An answer is believed for so long: a quiet time and a question's. */
const recentMs = linkTimes.dispatchAckMs;

/** What is to be done about the relay that carries a request. */
export interface Sight {
  /** Relays to ask whether they are there. */
  ask: readonly string[];
  /** It answers no question, and another relay of its host does; or none of them does. */
  verdict?: "silent" | "deserted";
  /** When to look again, in ms. */
  nextMs: number;
}

const nobody: readonly string[] = [];

/**
 * Watches over the relay by which a request went, while nothing comes through it: its engine may take its time, or the relay's object may
 * be stuck, its process frozen, its region out of reach. Nobody else times the relay itself.
 */
export class Vigil {
  readonly #suspects: Suspects;
  readonly #relay: string;
  readonly #others: readonly string[];
  #beganAt: Now;
  #receivedBytes = 0;

  /** @param others the host's other relays @param beganAt when the request went out */
  constructor(suspects: Suspects, relay: string, others: readonly string[], beganAt: Now) {
    this.#suspects = suspects;
    this.#relay = relay;
    this.#others = others;
    this.#beganAt = beganAt;
  }

  /** @param receivedBytes that have come of the answer's body; undefined while its head is waited for */
  look(now: Now, receivedBytes: number | undefined): Sight {
    const suspects = this.#suspects;
    const relay = this.#relay;
    if (receivedBytes !== undefined && receivedBytes !== this.#receivedBytes) {
      this.#receivedBytes = receivedBytes;
      this.#beganAt = now;
    }
    if (suspects.isSilent(relay)) return this.#whereTo(now);
    const quietForMs = now - Math.max(this.#beganAt, suspects.thereAt(relay));
    const everyMs = Math.max(receivedBytes === undefined ? quietMs.beginning : quietMs.midway, everyShare * (now - this.#beganAt));
    if (quietForMs < everyMs) return { ask: nobody, nextMs: Math.ceil(everyMs - quietForMs) };
    if (suspects.mayAsk(relay, now)) return { ask: [relay], nextMs: lookMs };
    // half of its time is over: when all of it is, it will be known whether the others are there
    const isLate = suspects.isAsked(relay) && suspects.askedFor(relay, now) >= questionMs / 2;
    return { ask: isLate ? this.#askable(now) : nobody, nextMs: lookMs };
  }

  /** Those of the others of which nothing is known, or nothing good. */
  #askable(now: Now): readonly string[] {
    return this.#others.filter((relay) => now - this.#suspects.thereAt(relay) > recentMs && this.#suspects.mayAsk(relay, now));
  }

  #whereTo(now: Now): Sight {
    const suspects = this.#suspects;
    if (this.#others.some((relay) => !suspects.isSilent(relay) && now - suspects.thereAt(relay) <= recentMs)) return { ask: nobody, verdict: "silent", nextMs: lookMs };
    // whoever has nowhere to go asks on: the first that answers is taken, this one included
    const ask = suspects.mayAsk(this.#relay, now) ? [...this.#askable(now), this.#relay] : this.#askable(now);
    const isDeserted = this.#others.every((relay) => suspects.isSilent(relay) || now - suspects.aloneAt(relay) <= recentMs);
    return isDeserted ? { ask, verdict: "deserted", nextMs: lookMs } : { ask, nextMs: lookMs };
  }
}
