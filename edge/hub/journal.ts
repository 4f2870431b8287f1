import type { AssignedReplica } from "../../schema/protocol.ts";
import type { ScaleDecision } from "../../schema/scale.ts";
import type { RegionStatus } from "../../schema/snapshot.ts";

/** One thing that a Hub decided about a service. */
export interface JournalEntry {
  /** ms since the epoch. */
  at: number;
  service: string;
  action: "place" | "withdraw" | "unplaced" | ScaleDecision["action"];
  text: string;
}

/** Entries that are kept; the oldest go first. */
const entriesMax = 1_000;

/** What comes after a place in a numbered list. */
export interface After<Entry> {
  entries: Entry[];
  /** The number of the last one, asked for or not. */
  next: number;
}

/** The latest decisions about placing, for `fairlead logs --controller`. In memory only. */
export class Journal {
  readonly #entries: JournalEntry[] = [];
  #added = 0;
  /** What could not be placed when that was looked at last: told once, and not at every look. */
  #unplaced = new Map<string, string>();

  add(entry: JournalEntry): void {
    this.#entries.push(entry);
    this.#added++;
    if (this.#entries.length > entriesMax) this.#entries.shift();
  }

  /** Replicas that have no place, where that is news. @returns the services for which it is */
  unplaced(now: RegionStatus["unplaced"], at: number): string[] {
    const before = this.#unplaced;
    const lacks = Map.groupBy(now, ({ service }) => service);
    this.#unplaced = new Map([...lacks].map(([service, rows]) => [service, rows.map(({ count, reason }) => `${count} without a host: ${reason}`).join("; ")]));
    const news = [...this.#unplaced].filter(([service, text]) => before.get(service) !== text);
    for (const [service, text] of news) this.add({ at, service, action: "unplaced", text });
    return news.map(([service]) => service);
  }

  after(number: number, service: string, max: number): After<JournalEntry> {
    const first = this.#added - this.#entries.length;
    return { entries: this.#entries.slice(Math.max(0, number - first)).filter((entry) => entry.service === service).slice(-max), next: this.#added };
  }
}

/** Which replicas came to a host and which left it. */
export function changesOf(before: readonly AssignedReplica[], after: readonly AssignedReplica[], host: string, at: number): JournalEntry[] {
  const had = new Map(before.map((replica) => [replica.id, replica]));
  const has = new Map(after.map((replica) => [replica.id, replica]));
  const entry = ({ id, service, version }: AssignedReplica, action: "place" | "withdraw"): JournalEntry => ({
    at, service, action, text: action === "place" ? `${id} of version ${version} is placed on ${host}` : `${id} of version ${version} is taken from ${host}`,
  });
  return [
    ...before.filter(({ id }) => !has.has(id)).map((replica) => entry(replica, "withdraw")),
    ...after.filter(({ id, digest }) => had.get(id)?.digest !== digest).map((replica) => entry(replica, "place")),
  ];
}
