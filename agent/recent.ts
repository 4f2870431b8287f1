import type { Fields } from "./log.ts";

/** Own lines that are kept. */
const linesMax = 2_000;

/** One line of the agent's own log, and the service that it is about, if any. */
interface Kept {
  line: string;
  service: string | undefined;
}

export interface Recent {
  add(line: string, fields: Fields): void;
  /** The last lines; of one service only, where one is named. */
  tail(lines: number, service?: string): string;
  /** The same, and what comes, until the signal. */
  follow(lines: number, service: string | undefined, signal: AbortSignal): AsyncIterable<string>;
  /** Lines that have gone, for want of room. */
  readonly dropped: number;
}

/** The service in a replica's id (`schema/ids.ts`): all before its region and number. */
function serviceOf({ replica, service }: Fields): string | undefined {
  if (typeof service === "string") return service;
  return typeof replica === "string" ? /^(.+)\.[^.]+\.\d+$/.exec(replica)?.[1] : undefined;
}

/** The agent's latest log lines, for `fairlead logs --controller` and `fairlead hosts logs`. */
export function keepRecent(max = linesMax): Recent {
  const ring: Kept[] = [];
  const readers = new Set<(kept: Kept) => void>();
  let dropped = 0;
  const of = (service: string | undefined) => (kept: Kept): boolean => service === undefined || kept.service === service;
  const lastOf = (lines: number, service: string | undefined): string => (lines <= 0 ? "" : ring.filter(of(service)).slice(-lines).map(({ line }) => `${line}\n`).join(""));

  return {
    add(line, fields) {
      const kept = { line, service: serviceOf(fields) };
      ring.push(kept);
      if (ring.length > max) {
        ring.shift();
        dropped++;
      }
      for (const read of readers) read(kept);
    },
    tail: lastOf,
    async *follow(lines, service, signal) {
      // what waits to be read is bounded like the ring: a reader that does not take it misses some
      let waiting: string[] = [];
      let missed = 0;
      let wake: (() => void) | undefined;
      const read = (kept: Kept): void => {
        if (!of(service)(kept)) return;
        if (waiting.length >= max) missed++;
        else waiting.push(kept.line);
        wake?.();
      };
      const stop = (): void => wake?.();
      const before = lastOf(lines, service);
      readers.add(read);
      signal.addEventListener("abort", stop);
      try {
        if (before !== "") yield before;
        while (!signal.aborted) {
          if (waiting.length === 0) await new Promise<void>((resolve) => (wake = resolve));
          const text = waiting.map((line) => `${line}\n`).join("") + (missed > 0 ? `… ${missed} lines are missing here\n` : "");
          waiting = [];
          missed = 0;
          if (text !== "" && !signal.aborted) yield text;
        }
      } finally {
        readers.delete(read);
        signal.removeEventListener("abort", stop);
      }
    },
    get dropped() {
      return dropped;
    },
  };
}
