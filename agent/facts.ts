import type { Capacity, Executor } from "./executor.ts";
import type { Log } from "./log.ts";
import type { Timers } from "./timers.ts";

export interface FactsOptions {
  executor: Pick<Executor, "capacity">;
  first: Capacity;
  /** With less free on the disk than this, nothing is started. */
  freeBytesMin: number;
  timers: Timers;
  log: Log;
}

/** As often as a hub hears of them. */
const everyMs = 5_000;

/** What this host can say of itself, kept fresh; a disk that has filled up, or has room again, is told once. */
export function keepFacts({ executor, first, freeBytesMin, timers, log }: FactsOptions): { readonly now: Capacity; close: () => void } {
  let now = first;
  let full = false;
  const look = (): void => {
    const { disk } = now;
    const isFull = disk !== undefined && disk.freeBytes < freeBytesMin;
    if (isFull !== full) log[isFull ? "error" : "info"](isFull ? "the disk is full: nothing is started until there is room" : "the disk has room again", { freeBytes: disk?.freeBytes, needed: freeBytesMin });
    full = isFull;
    cancel = timers.after(everyMs, () => {
      executor.capacity().then((found) => (now = found), (error: unknown) => log.warn("this host's capacity is not known", { problem: String(error) })).finally(look);
    });
  };
  let cancel = (): void => {};
  look();
  return {
    get now() {
      const { disk } = now;
      return disk === undefined || !full ? now : { ...now, disk: { ...disk, full } };
    },
    close: () => cancel(),
  };
}
