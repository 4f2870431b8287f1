import type { Region } from "../../schema/region.ts";
import type { Snapshot } from "../../schema/snapshot.ts";

/** Another region's copy older than this is asked for again, behind the answer. */
const exchangeMs = 1_000;

export interface ExchangeOptions {
  /** The other regions. */
  regions: readonly Region[];
  ask: (region: Region) => Promise<Snapshot>;
  now: () => number;
}

/** Copies of other regions' rosters, asked for when somebody asks here: no timers, and no work without traffic. */
export class Exchange {
  readonly #options: ExchangeOptions;
  readonly #copies = new Map<Region, { snapshot: Snapshot; at: number }>();
  #asking = false;

  constructor(options: ExchangeOptions) {
    this.#options = options;
  }

  get snapshots(): Snapshot[] {
    return [...this.#copies.values()].map(({ snapshot }) => snapshot);
  }

  /** Asks for what is missing or old. @returns to be waited for the first time only; undefined when nothing is asked */
  refresh(): { work: Promise<unknown>; first: boolean } | undefined {
    const { regions, ask, now } = this.#options;
    const due = regions.filter((region) => now() - (this.#copies.get(region)?.at ?? 0) > exchangeMs);
    if (due.length === 0 || this.#asking) return undefined;
    this.#asking = true;
    const first = due.some((region) => !this.#copies.has(region));
    const work = Promise.allSettled(due.map(async (region) => this.#copies.set(region, { snapshot: await ask(region), at: now() }))).finally(() => {
      this.#asking = false;
    });
    return { work, first };
  }
}
