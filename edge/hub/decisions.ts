import type { DecisionRecord } from "../../schema/decision.ts";
import type { After } from "./journal.ts";

/** The latest decisions, found by their requests' ids. The oldest go first. */
export class Decisions {
  readonly max: number;
  readonly #ring: DecisionRecord[] = [];
  readonly #byRequest = new Map<string, DecisionRecord>();
  /** Where the next one goes once the ring is full: the place of the oldest. */
  #next = 0;
  /** How many were ever told. */
  #added = 0;

  constructor(max = 2_000) {
    this.max = max;
  }

  get size(): number {
    return this.#ring.length;
  }

  add(records: readonly DecisionRecord[]): void {
    this.#added += Math.max(0, records.length - this.max);
    // of more than fit only the latest stay anyway
    for (const record of records.slice(-this.max)) {
      const oldest = this.#ring[this.#next];
      // an id that was told twice belongs to the later record
      if (oldest !== undefined && this.#byRequest.get(oldest.requestId) === oldest) this.#byRequest.delete(oldest.requestId);
      this.#ring[this.#next] = record;
      this.#byRequest.set(record.requestId, record);
      this.#next = (this.#next + 1) % this.max;
      this.#added++;
    }
  }

  /** Those of a service that were told after so many of all, oldest first; of more than `max` the latest. */
  after(number: number, service: string, max: number): After<DecisionRecord> {
    const entries: DecisionRecord[] = [];
    const size = this.#ring.length;
    for (let back = Math.min(size, Math.max(0, this.#added - number)); back > 0; back--) {
      const record = this.#ring[(this.#next - back + size) % size];
      if (record?.service === service) entries.push(record);
    }
    return { entries: entries.slice(-max), next: this.#added };
  }

  find(requestId: string): DecisionRecord | undefined {
    return this.#byRequest.get(requestId);
  }
}
