import type { Random } from "../../schema/clock.ts";
import type { Agenda, Work } from "./agenda.ts";
import { between } from "./draw.ts";

/** What a network does to messages. */
export interface Network {
  /** One way. */
  delayMs: readonly [min: number, max: number];
  /** Shares, 0..1. */
  lost: number;
  doubled: number;
  /** And so much later than the others: what overtakes what. */
  late: number;
}

/** A good one: Cloudflare's own between objects, and a host's in the same region. */
export const good: Network = { delayMs: [2, 12], lost: 0, doubled: 0, late: 0 };

/** How much later a late message is. */
const lateMs = 3_000;

/** A channel that may lose, double and reorder, by its own seed. */
export class Channel {
  network: Network;
  readonly #agenda: Agenda;
  readonly #random: Random;

  constructor(agenda: Agenda, random: Random, network: Network) {
    this.#agenda = agenda;
    this.#random = random;
    this.network = network;
  }

  #delayMs(): number {
    const { delayMs: [min, max], late } = this.network;
    return between(this.#random, min, max) + (late > 0 && this.#random() < late ? between(this.#random, 0, lateMs) : 0);
  }

  /** A call between objects: it may come never, twice, or after the next one. */
  post(deliver: Work): void {
    const { lost, doubled } = this.network;
    if (lost > 0 && this.#random() < lost) return;
    this.#agenda.after(this.#delayMs(), deliver);
    if (doubled > 0 && this.#random() < doubled) this.#agenda.after(this.#delayMs() + between(this.#random, 0, lateMs), deliver);
  }

  /** A call that nobody repeats: it comes once, or never. */
  call(deliver: Work): void {
    const { lost } = this.network;
    if (lost > 0 && this.#random() < lost) return;
    this.#agenda.after(this.#delayMs(), deliver);
  }

  /** A link: what is sent on it comes in its order, as over a WebSocket; when something is lost, so is the link. */
  link(onBreak: () => void): { send(deliver: Work): void; close(): void } {
    let open = true;
    let last = 0;
    const close = (): void => {
      open = false;
    };
    return {
      send: (deliver) => {
        if (!open) return;
        if (this.network.lost > 0 && this.#random() < this.network.lost) {
          close();
          return onBreak();
        }
        last = Math.max(last, this.#agenda.now + this.#delayMs());
        this.#agenda.add(last, (now) => {
          if (open) deliver(now);
        });
      },
      close,
    };
  }
}
