import type { Now } from "../../schema/clock.ts";

/** A request that is somewhere, until it leaves. */
export interface Stay {
  /** When it is over whatever happens. */
  readonly until: Now;
}

/** How many requests are somewhere now. As of flights, an end may never be said: where a client leaves, the platform drops its request. */
export class Stays {
  /** In the order of their beginnings; that of their ends too, as long as a service's time is the same for all. */
  readonly #open = new Set<Stay>();

  enter(until: Now): Stay {
    const stay = { until };
    this.#open.add(stay);
    return stay;
  }

  leave(stay: Stay): void {
    this.#open.delete(stay);
  }

  count(now: Now): number {
    for (const stay of this.#open) {
      if (stay.until > now) break;
      this.#open.delete(stay);
    }
    return this.#open.size;
  }
}
