import { hashText, mix } from "./hash.ts";

interface Block {
  key: string | undefined;
  users: number;
}

/** The blocks of one running sequence. `grow` takes in generated tokens; `release` leaves its full blocks cached for others. */
export interface KvLease {
  /** Prompt tokens that needed no prefill: whole blocks, and never the whole prompt, since the last token must be computed to continue. */
  cachedTokens: number;
  grow(id: number): void;
  release(): void;
}

/**
 * A KV cache of `blockCount` blocks with automatic prefix caching, as vLLM V1 keeps it: a full block is found again by the hash of its tokens chained to the block before it, blocks nobody
 * uses stay until their room is needed, the longest unused going first. `blockSize` in tokens.
 */
export class KvCache {
  readonly blockCount: number;
  readonly blockSize: number;
  readonly #byKey = new Map<string, Block>();
  /** Cached and unused, longest unused first: a Map iterates in order of insertion. */
  readonly #idle = new Map<string, Block>();
  #used = 0;
  #overcommitted = 0;
  /** Tokens looked up and found since the start, for the metrics. */
  queriedTokens = 0;
  hitTokens = 0;

  constructor(blockCount: number, blockSize: number) {
    this.blockCount = blockCount;
    this.blockSize = blockSize;
  }

  /** The fraction of blocks in use by running sequences, 0 to 1. Idle cached blocks count as free. */
  get usage(): number {
    return this.blockCount === 0 ? 0 : Math.min(1, this.#used / this.blockCount);
  }

  /** How many times a block was needed and none was free; vLLM would have preempted a sequence. */
  get overcommitted(): number {
    return this.#overcommitted;
  }

  /** Whether this prompt finds room beside what is running. An empty cache takes any prompt. */
  fits(promptIds: readonly number[], salt = ""): boolean {
    const shared = this.#keys(promptIds, salt).filter((key) => (this.#byKey.get(key)?.users ?? 0) > 0).length;
    return this.#used === 0 || this.#used + Math.ceil((promptIds.length + 1) / this.blockSize) - shared <= this.blockCount;
  }

  /** Takes the blocks of a prompt. @param salt sequences of different salts share nothing, as with two LoRA adapters */
  allocate(promptIds: readonly number[], salt = ""): KvLease {
    const keys = this.#keys(promptIds, salt);
    const reusable = Math.floor(Math.max(0, promptIds.length - 1) / this.blockSize);
    let found = 0;
    while (found < reusable && this.#byKey.has(keys[found] ?? "")) found++;
    this.queriedTokens += promptIds.length;
    this.hitTokens += found * this.blockSize;

    const blocks = keys.map((key) => this.#take(key));
    let chain = keys.at(-1) ?? salt;
    let open = promptIds.slice(keys.length * this.blockSize);
    let last = open.length > 0 ? this.#take(undefined) : undefined;
    let released = false;
    return {
      cachedTokens: found * this.blockSize,
      grow: (id) => {
        if (released) return;
        last ??= this.#take(undefined);
        open.push(id);
        if (open.length < this.blockSize) return;
        this.#give(last);
        chain = blockKey(chain, open);
        blocks.push(this.#take(chain));
        open = [];
        last = undefined;
      },
      release: () => {
        if (released) return;
        released = true;
        if (last !== undefined) this.#give(last);
        // The end of a sequence is the least likely to be shared, so it goes idle, and is evicted, first.
        for (const block of blocks.toReversed()) this.#give(block);
      },
    };
  }

  /** Forgets all idle blocks, as `/reset_prefix_cache` and sleeping do. */
  clear(): void {
    for (const key of this.#idle.keys()) this.#byKey.delete(key);
    this.#idle.clear();
  }

  #keys(ids: readonly number[], salt = ""): string[] {
    const keys: string[] = [];
    let chain = salt;
    for (let at = 0; at + this.blockSize <= ids.length; at += this.blockSize) {
      chain = blockKey(chain, ids.slice(at, at + this.blockSize));
      keys.push(chain);
    }
    return keys;
  }

  #take(key: string | undefined): Block {
    const known = key === undefined ? undefined : this.#byKey.get(key);
    if (known !== undefined && key !== undefined) {
      if (known.users === 0) {
        this.#idle.delete(key);
        this.#used++;
      }
      known.users++;
      return known;
    }
    this.#makeRoom();
    const block: Block = { key, users: 1 };
    this.#used++;
    if (key !== undefined) this.#byKey.set(key, block);
    return block;
  }

  #makeRoom(): void {
    if (this.#used + this.#idle.size < this.blockCount) return;
    const oldest = this.#idle.keys().next();
    if (oldest.done === true) {
      this.#overcommitted++;
      return;
    }
    this.#idle.delete(oldest.value);
    this.#byKey.delete(oldest.value);
  }

  #give(block: Block): void {
    block.users--;
    if (block.users > 0) return;
    this.#used--;
    if (block.key === undefined) return;
    if (this.#used + this.#idle.size < this.blockCount) this.#idle.set(block.key, block);
    else this.#byKey.delete(block.key);
  }
}

/** The name of a full block: its tokens and, by the name of the block before it, all tokens before. */
function blockKey(before: string, ids: readonly number[]): string {
  let a = hashText(before, 1);
  let b = hashText(before, 2);
  for (const id of ids) {
    a = mix(a, id);
    b = mix(b, id + 1);
  }
  return `${a.toString(36)}.${b.toString(36)}`;
}
