import type { SyncKvStorage } from "@cloudflare/workers-types";

declare global {
  /** Named by the parts of a Hub; its types are the Workers' own, which this project does not load. */
  interface DurableObjectStorage {
    kv: SyncKvStorage;
  }
}

/** The storage of one object, in memory: what is put there is never changed by those that put it. */
export class Store {
  readonly #values = new Map<string, unknown>();

  get(key: string): never {
    return this.#values.get(key) as never;
  }

  put(key: string, value: unknown): void {
    this.#values.set(key, value);
  }

  delete(key: string): boolean {
    return this.#values.delete(key);
  }

  *list({ prefix = "" }: { prefix?: string } = {}): Generator<[string, never]> {
    for (const [key, value] of this.#values) if (key.startsWith(prefix)) yield [key, value as never];
  }
}
