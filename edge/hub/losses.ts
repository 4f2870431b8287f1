import type { Snapshot } from "../../schema/snapshot.ts";
import { brake, missingSince, windowMs, type Brake } from "../scale/brake.ts";
import { isLost, type HostRow } from "./roster.ts";

/** Between two looks for hosts that have fallen silent. */
const sweepMs = 2_000;

type Rows = ReadonlyMap<string, HostRow>;

/** Which hosts are lost, and whether it is more than can be believed. */
export class Losses {
  #brake: Brake | undefined;
  readonly #awakeSince: number;
  /** The hosts that the last plan took for lost, as text to compare. */
  #planned = "";
  #sweptAt = 0;

  /** @param before the brake as it was when the Hub was last awake: a restart in the middle of a loss must not evict */
  constructor(awakeSince: number, before: Brake | undefined) {
    this.#awakeSince = awakeSince;
    this.#brake = before;
  }

  get brake(): Brake | undefined {
    return this.#brake;
  }

  /** Puts the brake on or takes it off. @returns whether it did */
  press(rows: Rows, now: number): boolean {
    const before = this.#brake;
    this.#brake = brake(before, [...rows.values()].map((row) => ({ missingSince: missing(row, now) })), now);
    return this.#brake?.since !== before?.since;
  }

  #lost(rows: Rows, now: number): string {
    return [...rows.values()].filter((row) => isLost(row, now, this.#awakeSince)).map(({ id }) => id).join();
  }

  /** A plan is being made of what is known now. */
  plan(rows: Rows, now: number): void {
    this.#planned = this.#lost(rows, now);
  }

  /** A host that falls silent says nothing of it: others' heartbeats are the time to look. @returns whether it is time to look, and another host is lost than the last plan knew */
  sweep(rows: Rows, now: number): boolean {
    if (Math.abs(now - this.#sweptAt) < sweepMs) return false;
    this.#sweptAt = now;
    const next = brake(this.#brake, [...rows.values()].map((row) => ({ missingSince: missing(row, now) })), now);
    if (next?.since !== this.#brake?.since) return true;
    // how long it is held counts from when it was last pressed, not from the last plan
    this.#brake = next;
    return this.#lost(rows, now) !== this.#planned;
  }

  /**
   * A roster's copy as it is told to routers. While the brake is on, hosts are listed as they were last known to be: their data links
   * may well be open. But only for services that nobody else can answer: a request has few attempts.
   */
  table(snapshot: Snapshot, rows: Rows, now: number): Snapshot {
    if (this.#brake === undefined) return snapshot;
    const from = this.#brake.since - windowMs;
    const lost = new Set([...rows.values()].filter((row) => (missing(row, now) ?? 0) >= from).map(({ id }) => id));
    const served = new Set(snapshot.replicas.filter(({ host, phase }) => phase === "ready" && !lost.has(host)).map(({ service }) => service));
    return {
      ...snapshot,
      hosts: snapshot.hosts.map((host) => (lost.has(host.id) ? { ...host, linkUp: true, heardAt: now, relays: rows.get(host.id)?.gone?.relays ?? host.relays } : host)),
      replicas: snapshot.replicas.filter(({ host, service }) => !lost.has(host) || !served.has(service)),
    };
  }
}

function missing({ heardAt, linkUp, gone }: HostRow, now: number): number | undefined {
  return missingSince(heardAt, linkUp, gone?.since, now);
}
