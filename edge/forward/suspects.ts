import type { Now } from "../../schema/clock.ts";

/** A relay that let a dispatch go unanswered is passed over for so long: as a breaker's first time (facts/failures.md §2). */
const suspectMs = 5_000;
/** The oldest goes. */
const suspectsMax = 1_024;

/** The relays that this isolate has heard nothing from when it should have. */
export class Suspects {
  readonly #until = new Map<string, Now>();
  readonly #heard = new Map<string, Now>();

  /** Something came of a host, by whichever of its relays. */
  heard(host: string, now: Now): void {
    this.#heard.set(host, now);
    const oldest = this.#heard.size > suspectsMax ? this.#heard.keys().next() : undefined;
    if (oldest?.done === false) this.#heard.delete(oldest.value);
  }

  heardSince(host: string, at: Now): boolean {
    return (this.#heard.get(host) ?? Number.NEGATIVE_INFINITY) >= at;
  }

  add(relay: string, now: Now): void {
    this.#until.delete(relay);
    this.#until.set(relay, now + suspectMs);
    const oldest = this.#until.size > suspectsMax ? this.#until.keys().next() : undefined;
    if (oldest?.done === false) this.#until.delete(oldest.value);
  }

  has(relay: string, now: Now): boolean {
    if (this.#until.size === 0) return false;
    const until = this.#until.get(relay);
    if (until === undefined) return false;
    if (now < until) return true;
    this.#until.delete(relay);
    return false;
  }

  /** Whether none of a host's relays is believed in. */
  hasAll(host: string, relays: readonly number[], now: Now): boolean {
    return this.#until.size > 0 && relays.every((relay) => this.has(`${host}/${relay}`, now));
  }

  /** Which of a host's relays is asked first: any of those that are not suspect, or any where all are. */
  first(host: string, relays: readonly number[], random: () => number, now: () => Now): number {
    if (relays.length < 2) return 0;
    const from = Math.floor(random() * relays.length);
    if (this.#until.size === 0) return from;
    const at = now();
    for (let i = 0; i < relays.length; i++) {
      const one = (from + i) % relays.length;
      if (!this.has(`${host}/${relays[one] ?? 0}`, at)) return one;
    }
    return from;
  }
}
