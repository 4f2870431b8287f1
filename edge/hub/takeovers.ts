import type { FleetHost } from "../../schema/bundle.ts";
import type { Now } from "../../schema/clock.ts";
import { fighting, holds, noted, type Clone, type Takeover } from "./clones.ts";

/** Connections of hosts that took over from others of their own, kept in their Hub's storage: `takeovers:<host>`, and `clone:<host>` where that is a fight. */
export class Takeovers {
  readonly #kv: DurableObjectStorage["kv"];

  constructor(kv: DurableObjectStorage["kv"]) {
    this.#kv = kv;
  }

  /**
   * A host has connected.
   *
   * @param took the runs that came and went, when it took over from a connection that was open; absent: from none
   * @returns that its identity is in two places, if it is
   */
  judge(host: string, releases: number, took: Pick<Takeover, "came" | "went"> | undefined, now: Now): Clone | undefined {
    const stored = this.#kv.get<Clone>(`clone:${host}`);
    if (stored !== undefined && holds(stored, { releases })) return stored;
    if (stored !== undefined) this.#kv.delete(`clone:${host}`);
    if (took === undefined) return undefined;
    const takeovers = noted(this.#kv.get<Takeover[]>(`takeovers:${host}`) ?? [], { at: now, ...took });
    const reason = fighting(takeovers, now);
    if (reason === undefined) {
      this.#kv.put(`takeovers:${host}`, takeovers);
      return undefined;
    }
    const clone: Clone = { since: now, reason, releases };
    this.#kv.put(`clone:${host}`, clone);
    this.#kv.delete(`takeovers:${host}`);
    return clone;
  }

  /** The hosts that are shut out now. */
  clones(hosts: ReadonlyMap<string, FleetHost> | undefined): Map<string, Clone> {
    const clones = new Map<string, Clone>();
    for (const [key, clone] of this.#kv.list<Clone>({ prefix: "clone:" })) {
      const id = key.slice("clone:".length);
      const host = hosts?.get(id);
      if (host !== undefined && holds(clone, host)) clones.set(id, clone);
    }
    return clones;
  }

  forget(host: string): void {
    for (const kind of ["takeovers", "clone"]) this.#kv.delete(`${kind}:${host}`);
  }
}
