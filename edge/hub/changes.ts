import type { SnapshotChange } from "../../schema/snapshot.ts";
import { hostOf, replicasOf, type HostRow } from "./roster.ts";

/** Hosts that went are remembered, the latest: an isolate asks each second. */
const goneMax = 1_024;

/** What of a roster has changed since when: an isolate that asks each second is told that, and not ten thousand replicas each time. */
export class Changes {
  #number = 0;
  /** The version in which each host, and its replicas, last changed. */
  readonly #at = new Map<string, { host: number; replicas: number }>();
  readonly #gone = new Map<string, number>();
  /** Versions before this one are too old to tell what has changed since. */
  #oldest = 0;

  get number(): number {
    return this.#number;
  }

  put(before: HostRow | undefined, after: HostRow): void {
    const number = ++this.#number;
    const same = before?.replicas === after.replicas ? this.#at.get(after.id) : undefined;
    this.#at.set(after.id, { host: number, replicas: same?.replicas ?? number });
    this.#gone.delete(after.id);
  }

  remove(id: string): void {
    this.#at.delete(id);
    this.#gone.set(id, ++this.#number);
    const oldest = this.#gone.size > goneMax ? this.#gone.entries().next() : undefined;
    if (oldest?.done !== false) return;
    const [host, number] = oldest.value;
    this.#gone.delete(host);
    this.#oldest = number;
  }

  /** @returns undefined when that is not known: the whole is to be told */
  since(number: number, rows: ReadonlyMap<string, HostRow>): Pick<SnapshotChange, "hosts" | "replicas" | "gone"> | undefined {
    if (number < this.#oldest || number > this.#number) return undefined;
    const hosts: SnapshotChange["hosts"] = [];
    const replicas: SnapshotChange["replicas"] = [];
    for (const [id, at] of this.#at) {
      const row = at.host > number ? rows.get(id) : undefined;
      if (row === undefined) continue;
      hosts.push(hostOf(row));
      if (at.replicas > number) replicas.push({ host: id, replicas: replicasOf(row) });
    }
    return { hosts, replicas, gone: [...this.#gone].flatMap(([id, at]) => (at > number ? [id] : [])) };
  }
}
