import type { Now } from "../../schema/clock.ts";
import type { Observed } from "../route/observed.ts";
import type { RequestFacts } from "../route/request.ts";

/** An attempt from its beginning to its end. */
export interface Flight {
  readonly id: string;
  /** When it is over whatever happens. */
  readonly until: Now;
}

/**
 * The one owner of what is in flight: every attempt that begins ends once, however often it is said to.
 *
 * An end may never be said: where a client leaves before its answer has begun, the platform drops the request with all that would
 * have run after it. No attempt outlives its request's time, so what is older has ended.
 */
export class Flights {
  readonly #observed: Observed;
  /** In the order of their beginnings; that of their ends too, as long as a service's time is the same for all. */
  readonly #open = new Set<Flight>();

  constructor(observed: Observed) {
    this.#observed = observed;
  }

  begin(id: string, now: Now, until: Now, request?: RequestFacts): Flight {
    for (const flight of this.#open) {
      if (flight.until > now) break;
      this.end(flight, now);
    }
    const flight = { id, until };
    this.#open.add(flight);
    this.#observed.started(id, now, request);
    return flight;
  }

  end(flight: Flight, now: Now): void {
    if (this.#open.delete(flight)) this.#observed.ended(flight.id, now);
  }
}
