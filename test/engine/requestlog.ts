import { createHash } from "node:crypto";

/** One request as it came, for tests to look at. */
export interface Entry {
  /** Counts up from 1. */
  number: number;
  method: string;
  path: string;
  query: string;
  /** Names in lower case; several values joined by ", ". */
  headers: Record<string, string>;
  bodyBytes: number;
  /** The body's text, cut at 64 KiB. */
  body: string;
  outcome: "open" | "finished" | "aborted" | "failed" | "refused";
  /** Answer status, once it is known. */
  status: number | undefined;
  /** Output tokens delivered. */
  tokens: number;
  images: number;
  /** Of each image's URL as it came, in order: what says that an image crossed byte for byte, however large it is. */
  imageSha256: string[];
}

/** The numbers that `/_sim/stats` shows and `until` may wait for. */
export interface Stats {
  requests: number;
  inFlight: number;
  running: number;
  waiting: number;
  /** Answered to the end. */
  finished: number;
  /** Left by their client. */
  aborted: number;
  /** Broken by a failure that was asked for, or by sleep or shutdown. */
  failed: number;
  /** Answered with an error. */
  refused: number;
  tokens: number;
  images: number;
}

const KEPT = 100;
const GAUGES: ReadonlySet<string> = new Set(["inFlight", "running", "waiting"]);

/** Remembers requests, counts how they ended, and lets a test wait for a count instead of sleeping. */
export class RequestLog {
  readonly last: Entry[] = [];
  readonly #counts = { requests: 0, finished: 0, aborted: 0, failed: 0, refused: 0, tokens: 0, images: 0 };
  readonly #watchers = new Set<() => void>();
  readonly #queue: () => { running: number; waiting: number };

  constructor(queue: () => { running: number; waiting: number }) {
    this.#queue = queue;
  }

  open(entry: Pick<Entry, "method" | "path" | "query" | "headers">): Entry {
    const full: Entry = { number: ++this.#counts.requests, ...entry, bodyBytes: 0, body: "", outcome: "open", status: undefined, tokens: 0, images: 0, imageSha256: [] };
    this.last.push(full);
    if (this.last.length > KEPT) this.last.shift();
    this.changed();
    return full;
  }

  token(entry: Entry): void {
    entry.tokens++;
    this.#counts.tokens++;
    this.changed();
  }

  images(entry: Entry, urls: readonly string[]): void {
    entry.images += urls.length;
    entry.imageSha256.push(...urls.map((url) => createHash("sha256").update(url).digest("hex")));
    this.#counts.images += urls.length;
  }

  /** The first call decides; later ones change nothing. */
  close(entry: Entry, outcome: Exclude<Entry["outcome"], "open">): void {
    if (entry.outcome !== "open") return;
    entry.outcome = outcome;
    this.#counts[outcome]++;
    this.changed();
  }

  get stats(): Stats {
    const { requests, finished, aborted, failed, refused } = this.#counts;
    return { ...this.#counts, ...this.#queue(), inFlight: requests - finished - aborted - failed - refused };
  }

  /** Tells those who wait that a number may have changed. */
  changed(): void {
    for (const watcher of this.#watchers) watcher();
  }

  /**
   * Resolves true when the numbers are reached, false when the signal aborts first. Counts are reached from below, `inFlight`, `running` and `waiting` exactly.
   * @param until for example `aborted:1,inFlight:0`
   */
  async reached(until: string, signal: AbortSignal): Promise<boolean> {
    const wanted = until.split(",").map((part): [keyof Stats, number] => {
      const [name = "", value = ""] = part.split(":");
      if (!(name in this.stats) || !/^\d+$/.test(value)) throw new Error(`Cannot wait until "${part}": write NAME:NUMBER with a name of ${Object.keys(this.stats).join(", ")}`);
      return [name as keyof Stats, Number(value)];
    });
    const isReached = (): boolean => {
      const { stats } = this;
      return wanted.every(([name, value]) => (GAUGES.has(name) ? stats[name] === value : stats[name] >= value));
    };
    if (isReached()) return true;
    return new Promise((resolve) => {
      const settle = (result: boolean): void => {
        this.#watchers.delete(look);
        signal.removeEventListener("abort", giveUp);
        resolve(result);
      };
      const look = (): void => {
        if (isReached()) settle(true);
      };
      const giveUp = (): void => settle(false);
      this.#watchers.add(look);
      signal.addEventListener("abort", giveUp, { once: true });
    });
  }
}
