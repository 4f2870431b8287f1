import type { HostRow } from "./roster.ts";

/** Longer heartbeats are read each time: keeping them would take more memory than reading them takes time (an object has 128 MB). */
const keptTextMax = 4 * 1024;

/**
 * The heartbeats that hosts said last, with the rows they left behind: one that is said again by a host whose row nothing has touched
 * since has nothing new in it, and need be neither parsed nor checked.
 */
export class Unchanged {
  readonly #last = new Map<string, { text: string; row: HostRow }>();

  /** A heartbeat was checked and has made this row. */
  took(host: string, text: string, row: HostRow): void {
    if (text.length > keptTextMax) this.#last.delete(host);
    else this.#last.set(host, { text, row });
  }

  /** A host is gone for good. */
  forget(host: string): void {
    this.#last.delete(host);
  }

  is(text: string, row: HostRow): boolean {
    const last = this.#last.get(row.id);
    return last !== undefined && last.row === row && last.text === text;
  }
}
