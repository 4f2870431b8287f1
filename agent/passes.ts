import { createHmac, timingSafeEqual } from "node:crypto";
import { gateTimes, passText, readPass, type PassFacts } from "../schema/gate.ts";

/** Passes that were used and are still good are remembered, so that each is good once: as many as a host can be sent in that time. */
const usedMax = 100_000;

/** Who may come through a host's gate. Times are the Hub's, reckoned on from its last word by a clock that nobody sets. */
export class Passes {
  /** The session's key, and the one before it: isolates learn of a new session within seconds. */
  #keys: Buffer[] = [];
  #aheadMs = 0;
  /** Until when each used pass would be good, the oldest first. */
  readonly #used = new Map<string, number>();

  /**
   * A new session.
   *
   * @param monotonic ms, from a clock that is never set
   */
  admit({ key, now }: { key: string; now: number }, monotonic: number): void {
    const next = Buffer.from(key, "base64");
    if (this.#keys[0]?.equals(next) !== true) this.#keys = [next, ...this.#keys.slice(0, 1)];
    this.#aheadMs = now - monotonic;
  }

  /** Why a request may not come in; undefined when it may, and its pass is used then. */
  refusal(pass: string | undefined, facts: Omit<PassFacts, "expiresAt" | "nonce">, monotonic: number): string | undefined {
    if (pass === undefined) return "no pass is shown";
    if (this.#keys.length === 0) return "this host has not been told yet who may come";
    let read: ReturnType<typeof readPass>;
    try {
      read = readPass(pass);
    } catch {
      return "what is shown is no pass";
    }
    const { expiresAt, nonce, mac } = read;
    const text = passText({ ...facts, expiresAt, nonce });
    const shown = Buffer.from(mac, "base64");
    if (!this.#keys.some((key) => timingSafeEqual(createHmac("sha256", key).update(text).digest(), shown))) return "the pass is for another request, or of another session";
    const now = monotonic + this.#aheadMs;
    if (expiresAt < now) return "the pass has expired";
    if (expiresAt > now + gateTimes.passMsMax) return "the pass is good for too long";
    if (this.#used.has(nonce)) return "the pass has been used";
    for (const [old, until] of this.#used) {
      if (until >= now) break;
      this.#used.delete(old);
    }
    if (this.#used.size >= usedMax) return "too many passes are in use";
    this.#used.set(nonce, expiresAt);
    return undefined;
  }
}
