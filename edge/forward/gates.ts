import type { Now } from "../../schema/clock.ts";

/** As for any upstream (facts/failures.md §2): 5 s, doubled, though a gate that is mended is to be used again within a minute. */
const closedMsFirst = 5_000;
const closedMsMax = 60_000;
/** Gates that are remembered as shut; the oldest goes. */
const gatesMax = 1_024;

/** The gates that this isolate could not reach. While there are none, nothing is looked at. */
export class Gates {
  readonly #shut = new Map<string, { until: Now; times: number }>();

  usable(host: string, now: Now): boolean {
    if (this.#shut.size === 0) return true;
    const shut = this.#shut.get(host);
    return shut === undefined || now >= shut.until;
  }

  failed(host: string, now: Now): void {
    const times = this.#shut.get(host)?.times ?? 0;
    this.#shut.delete(host);
    this.#shut.set(host, { until: now + Math.min(closedMsMax, closedMsFirst * 2 ** times), times: Math.min(times + 1, 10) });
    const oldest = this.#shut.size > gatesMax ? this.#shut.keys().next() : undefined;
    if (oldest?.done === false) this.#shut.delete(oldest.value);
  }

  answered(host: string): void {
    if (this.#shut.size > 0) this.#shut.delete(host);
  }
}
