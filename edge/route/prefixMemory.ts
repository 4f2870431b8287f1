import { mix } from "./prefix.ts";

/** Entries that share a place: several replicas may hold a chain, and chains that fall on one place crowd out the oldest only. */
const ways = 8;
const noEntry = -1;
/** Longer ago than this, a replica is not expected to hold a chain any more (facts/routing-and-scaling.md §2: AIBrix, 20 min). */
export const keptMs = 20 * 60_000;
/** Times are kept in steps of 0.1 s. */
const tickMs = 100;
/** Names are forgotten, with all they hold, when there are more. */
const namesMax = 16_384;

/** What was asked for within this time is hot: it is worth a copy in more than one cache. Chosen by `scripts/bench/prefix`, on its first two seeds. */
const hotMs = 500;

/** A replica and how many blocks of a chain it was given. */
export interface Match {
  id: string;
  blocks: number;
  /** How many of them nobody has asked for lately: a second copy would lie unused, in the place of what others come back for. */
  cold: number;
}

/**
 * Which replica was lately given which chain of prompt blocks, by one isolate's own sending: what keeps a conversation, or those
 * who share a system prompt, where their cache is. Bounded: a table of fixed size, of which the least recently used of eight goes.
 * At 65,536 entries of 12 bytes it covers 33 MB of prompt.
 */
export class PrefixMemory {
  readonly #places: number;
  readonly #hashes: Int32Array;
  readonly #owners: Int32Array;
  readonly #ticks: Int32Array;
  #names: string[] = [];
  readonly #numbers = new Map<string, number>();
  #start: number | undefined;

  /** @param entries a power of two */
  constructor(entries = 65_536) {
    this.#places = entries / ways;
    this.#hashes = new Int32Array(entries);
    this.#owners = new Int32Array(entries).fill(noEntry);
    this.#ticks = new Int32Array(entries);
  }

  /** Ticks since the first call, from 1. */
  #tick(now: number): number {
    this.#start ??= now - tickMs;
    return Math.floor((now - this.#start) / tickMs);
  }

  #number(id: string): number {
    const known = this.#numbers.get(id);
    if (known !== undefined) return known;
    if (this.#names.length >= namesMax) {
      this.#names = [];
      this.#numbers.clear();
      this.#owners.fill(noEntry);
    }
    this.#numbers.set(id, this.#names.length);
    return this.#names.push(id) - 1;
  }

  /** The upstream has been given a prompt. */
  remember(chain: readonly number[], id: string, now: number): void {
    if (chain.length === 0) return;
    const owner = this.#number(id);
    const tick = this.#tick(now);
    for (const hash of chain) {
      const first = ((mix(hash, 1) >>> 0) % this.#places) * ways;
      let at = first;
      for (let way = first; way < first + ways; way++) {
        if (this.#hashes[way] === hash && this.#owners[way] === owner) {
          at = way;
          break;
        }
        if ((this.#ticks[way] as number) < (this.#ticks[at] as number)) at = way;
      }
      this.#hashes[at] = hash;
      this.#owners[at] = owner;
      this.#ticks[at] = tick;
    }
  }

  /** Those who hold the beginning of a chain, the longest match first; eight at most. */
  matches(chain: readonly number[], now: number): Match[] {
    const out: Match[] = [];
    if (this.#names.length === 0) return out;
    const tick = this.#tick(now);
    const oldest = tick - keptMs / tickMs;
    const hotSince = tick - hotMs / tickMs;
    // whoever asked for a block asked for all before it
    let hot = 0;
    for (let blocks = chain.length; blocks > 0 && (out.length < ways || hot === 0); blocks--) {
      const hash = chain[blocks - 1] as number;
      const first = ((mix(hash, 1) >>> 0) % this.#places) * ways;
      for (let way = first; way < first + ways; way++) {
        const owner = this.#owners[way] as number;
        const asked = this.#ticks[way] as number;
        if (owner === noEntry || this.#hashes[way] !== hash || asked < oldest) continue;
        if (asked >= hotSince && hot === 0) hot = blocks;
        const id = this.#names[owner] as string;
        if (out.length < ways && !out.some((match) => match.id === id)) out.push({ id, blocks, cold: 0 });
      }
    }
    for (const match of out) match.cold = Math.max(0, match.blocks - hot);
    return out;
  }

  /** How many blocks of a chain one upstream was given. */
  blocksOf(chain: readonly number[], id: string, now: number): number {
    return this.matches(chain, now).find((match) => match.id === id)?.blocks ?? 0;
  }
}
