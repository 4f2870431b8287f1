import type { KvCache, KvLease } from "./kv.ts";

/** A sequence's place among the running ones. */
export interface Seat {
  kv: KvLease;
  /** Gives the place and the blocks back; more than once does nothing. */
  leave(): void;
}

interface Waiting {
  promptIds: readonly number[];
  salt: string;
  enter(seat: Seat): void;
}

/** Lets sequences run, at most `slots` at once and as the KV cache has room; the rest wait in order of arrival, and one that does not fit holds up those behind it, as in vLLM. */
export class Scheduler {
  readonly #slots: number;
  readonly #kv: KvCache;
  readonly #queue: Waiting[] = [];
  #running = 0;

  constructor(slots: number, kv: KvCache) {
    this.#slots = slots;
    this.#kv = kv;
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#queue.length;
  }

  /** Resolves when the sequence may run; rejects when the signal aborts before. */
  async admit(promptIds: readonly number[], salt: string, signal: AbortSignal): Promise<Seat> {
    signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      const entry: Waiting = {
        promptIds,
        salt,
        enter: (seat) => {
          signal.removeEventListener("abort", giveUp);
          resolve(seat);
        },
      };
      const giveUp = (): void => {
        this.#queue.splice(this.#queue.indexOf(entry), 1);
        reject(signal.reason as Error);
        this.#fill();
      };
      signal.addEventListener("abort", giveUp, { once: true });
      this.#queue.push(entry);
      this.#fill();
    });
  }

  #fill(): void {
    for (;;) {
      const next = this.#queue[0];
      if (next === undefined || this.#running >= this.#slots || !this.#kv.fits(next.promptIds, next.salt)) return;
      this.#queue.shift();
      this.#running++;
      const kv = this.#kv.allocate(next.promptIds, next.salt);
      let seated = true;
      next.enter({
        kv,
        leave: () => {
          if (!seated) return;
          seated = false;
          this.#running--;
          kv.release();
          this.#fill();
        },
      });
    }
  }
}
