import type { AssignedReplica } from "../../schema/protocol.ts";

/** A replica and the host that has it. */
export interface Held extends AssignedReplica {
  host: string;
}

/** How many replicas of one service there are. */
interface Spread {
  hosts: Map<string, number>;
  zones: Map<string, number>;
}

function count(counts: Map<string, number>, key: string, by: 1 | -1): void {
  const now = (counts.get(key) ?? 0) + by;
  if (now === 0) counts.delete(key);
  else counts.set(key, now);
}

const nothing: readonly Held[] = [];

/**
 * What hosts have, counted once and kept up with what is placed and taken away: a thousand replicas for a thousand hosts are placed in a
 * second, where counting all of them for each host and each replica took five, and for two such services twenty.
 */
export class Occupied {
  readonly #on = new Map<string, Held[]>();
  readonly #spreads = new Map<string, Spread>();
  readonly #zoneOf: (host: string) => string | undefined;

  constructor(held: Iterable<Held>, zoneOf: (host: string) => string | undefined) {
    this.#zoneOf = zoneOf;
    for (const replica of held) this.add(replica);
  }

  add(replica: Held): void {
    const there = this.#on.get(replica.host);
    if (there === undefined) this.#on.set(replica.host, [replica]);
    else there.push(replica);
    this.#count(replica, 1);
  }

  remove(replica: Held): void {
    const there = this.#on.get(replica.host);
    const at = there?.findIndex(({ id }) => id === replica.id) ?? -1;
    if (at < 0) return;
    there?.splice(at, 1);
    this.#count(replica, -1);
  }

  #count({ service, host }: Held, by: 1 | -1): void {
    let spread = this.#spreads.get(service);
    if (spread === undefined) this.#spreads.set(service, (spread = { hosts: new Map(), zones: new Map() }));
    count(spread.hosts, host, by);
    const zone = this.#zoneOf(host);
    if (zone !== undefined) count(spread.zones, zone, by);
  }

  /** What a host has. */
  on(host: string): readonly Held[] {
    return this.#on.get(host) ?? nothing;
  }

  /** How many of a service's replicas each host has; those that have none are not there. */
  hostsOf(service: string): ReadonlyMap<string, number> {
    return this.#spreads.get(service)?.hosts ?? new Map<string, number>();
  }

  /** How many of a service's replicas each zone has. */
  zonesOf(service: string): ReadonlyMap<string, number> {
    return this.#spreads.get(service)?.zones ?? new Map<string, number>();
  }
}
