import type { Now } from "../../schema/clock.ts";
import { linkTimes } from "../../schema/protocol.ts";

/** A relay that let a dispatch go unanswered is passed over for so long: as a breaker's first time (facts/failures.md §2). */
const suspectMs = 5_000;
/** The oldest goes. */
const suspectsMax = 1_024;
/** How often a relay is asked whether it is there, by all that wait for it together: the time that an acknowledgement has, or half of it where it answers. */
const askMs = linkTimes.dispatchAckMs;

const never = Number.NEGATIVE_INFINITY;

/** The oldest goes where there are too many. */
function bound(map: Map<string, unknown>): void {
  const oldest = map.size > suspectsMax ? map.keys().next() : undefined;
  if (oldest?.done === false) map.delete(oldest.value);
}

/** The relays that this isolate has heard nothing from when it should have. */
export class Suspects {
  readonly #until = new Map<string, Now>();
  readonly #heard = new Map<string, Now>();
  /** Relays that said, when they were asked, that they are there with their agent, and those that are without it. */
  readonly #there = new Map<string, Now>();
  readonly #alone = new Map<string, Now>();
  /** When a relay was last asked. */
  readonly #asked = new Map<string, Now>();
  /** Relays that did not answer that: passed over until they are heard, and since when. */
  readonly #silent = new Map<string, Now>();

  /** Something came of a host, by whichever of its relays. */
  heard(host: string, now: Now): void {
    this.#heard.set(host, now);
    bound(this.#heard);
  }

  heardSince(host: string, at: Now): boolean {
    return (this.#heard.get(host) ?? never) >= at;
  }

  /** Whether a relay is to be asked if it is there: nobody has done so of late. That is noted, for whoever is told so asks. */
  mayAsk(relay: string, now: Now): boolean {
    const askedForMs = this.askedFor(relay, now);
    if (askedForMs < (this.isAsked(relay) ? askMs : askMs / 2)) return false;
    this.#asked.delete(relay);
    this.#asked.set(relay, now);
    bound(this.#asked);
    return true;
  }

  /** A relay was asked and has not answered. */
  isAsked(relay: string): boolean {
    return (this.#asked.get(relay) ?? never) > Math.max(this.thereAt(relay), this.aloneAt(relay));
  }

  /** How long ago a relay was asked. */
  askedFor(relay: string, now: Now): number {
    return now - (this.#asked.get(relay) ?? never);
  }

  /** A relay answered. @param linked its agent is connected to it @returns how long it had been silent; undefined for one that was not */
  answered(relay: string, linked: boolean, now: Now): number | undefined {
    const map = linked ? this.#there : this.#alone;
    map.delete(relay);
    map.set(relay, now);
    bound(map);
    return this.unsilence(relay, now);
  }

  /** When a relay last said that it is there with its agent. */
  thereAt(relay: string): Now {
    return this.#there.get(relay) ?? never;
  }

  /** When a relay last said that it is there without its agent. */
  aloneAt(relay: string): Now {
    return this.#alone.get(relay) ?? never;
  }

  /** Something came of a relay. @returns how long it had been silent; undefined for one that was not */
  unsilence(relay: string, now: Now): number | undefined {
    const since = this.#silent.get(relay);
    if (since === undefined) return undefined;
    this.#silent.delete(relay);
    return now - since;
  }

  /** A relay did not answer the question whether it is there. @returns whether that is news */
  silence(relay: string, now: Now): boolean {
    if (this.#silent.has(relay)) return false;
    this.#silent.set(relay, now);
    bound(this.#silent);
    return true;
  }

  isSilent(relay: string): boolean {
    return this.#silent.size > 0 && this.#silent.has(relay);
  }

  /** Of a host's relays, those that are passed over until they are heard. */
  silentOf(host: string, relays: readonly number[]): string[] {
    return this.#silent.size === 0 ? [] : relays.map((relay) => `${host}/${relay}`).filter((relay) => this.#silent.has(relay));
  }

  add(relay: string, now: Now): void {
    this.#until.delete(relay);
    this.#until.set(relay, now + suspectMs);
    bound(this.#until);
  }

  has(relay: string, now: Now): boolean {
    if (this.isSilent(relay)) return true;
    if (this.#until.size === 0) return false;
    const until = this.#until.get(relay);
    if (until === undefined) return false;
    if (now < until) return true;
    this.#until.delete(relay);
    return false;
  }

  /** Nobody is suspect: the common case, known without a look at the clock. */
  get isEmpty(): boolean {
    return this.#until.size === 0 && this.#silent.size === 0;
  }

  /** Whether none of a host's relays is believed in. */
  hasAll(host: string, relays: readonly number[], now: Now): boolean {
    return !this.isEmpty && relays.every((relay) => this.has(`${host}/${relay}`, now));
  }

  /** Which of a host's relays is asked first: any of those that are not suspect; where all are, any that is not known to be silent; where all are that, any. */
  first(host: string, relays: readonly number[], random: () => number, now: () => Now): number {
    if (relays.length < 2) return 0;
    const from = Math.floor(random() * relays.length);
    if (this.isEmpty) return from;
    const at = now();
    let spoke: number | undefined;
    for (let i = 0; i < relays.length; i++) {
      const one = (from + i) % relays.length;
      const relay = `${host}/${relays[one] ?? 0}`;
      if (!this.has(relay, at)) return one;
      if (!this.isSilent(relay)) spoke ??= one;
    }
    return spoke ?? from;
  }
}
