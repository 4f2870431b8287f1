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

/** What replicas were given is counted in steps of as many tokens as a block of vLLM's has. */
const stepTokens = 16;
/** By so much of the way what is learned of a cache's size goes towards what was seen: ten samples make up the most of it. */
const learned = 0.1;
/** At first, what was lost is taken to have been lost so much sooner. */
const firstGuess = 1.5;
/** So many of the latest prompts say how often one begins as another did: as many as say what is hot in a fleet of eight (`hot.ts`). */
const recurringOver = 32;

/** A replica and how many blocks of a chain it was given. */
export interface Match {
  id: string;
  blocks: number;
  /** How likely it is that it holds them still, 0..1. */
  likely: number;
}

/** What one upstream was given of a chain. */
export interface Given {
  blocks: number;
  /** Tokens of prompts it was given since, by this isolate. */
  since: number;
  likely: number;
}

/**
 * Which replica was lately given which chain of prompt blocks, by one isolate's own sending: what keeps a conversation, or those
 * who share a system prompt, where their cache is. Bounded: a table of fixed size, of which the least recently used of eight goes.
 * At 65,536 entries of 16 bytes it covers 33 MB of prompt.
 *
 * A cache loses what has not been asked for while as much else was as it holds: read or found, each prompt's blocks are its latest. How much
 * that is, is learned for each replica from what it was seen to hold and to have lost: in tokens of prompts of this isolate's own, so
 * that what others send it is in it.
 */
export class PrefixMemory {
  readonly #places: number;
  #hashes = new Int32Array(0);
  #owners = new Int32Array(0);
  #ticks = new Int32Array(0);
  /** What its owner had been given by then, in steps. */
  #stamps = new Int32Array(0);
  #names: string[] = [];
  /** By number: tokens of prompts given, and the size of the cache in the same; undefined: nothing was seen to be lost. */
  #given: number[] = [];
  #sizes: (number | undefined)[] = [];
  readonly #numbers = new Map<string, number>();
  /** Scratch: the owners of those that were found. */
  readonly #found = new Int32Array(ways);
  #start: number | undefined;
  #recurring = 1;

  /** @param entries a power of two; their room is taken when there is something to remember */
  constructor(entries = 65_536) {
    this.#places = entries / ways;
  }

  #open(): void {
    const entries = this.#places * ways;
    this.#hashes = new Int32Array(entries);
    this.#owners = new Int32Array(entries).fill(noEntry);
    this.#ticks = new Int32Array(entries);
    this.#stamps = new Int32Array(entries);
  }

  /** The share of prompts that begin as an earlier one did, with what is not hot in them, 0..1, of the latest; until any were seen: all. */
  get recurring(): number {
    return this.#recurring;
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
      this.#given = [];
      this.#sizes = [];
      this.#numbers.clear();
      this.#owners.fill(noEntry);
    }
    this.#numbers.set(id, this.#names.length);
    this.#given.push(0);
    this.#sizes.push(undefined);
    return this.#names.push(id) - 1;
  }

  /** The first way of a hash's place. */
  #firstWay(hash: number): number {
    return (mix(hash, 1) & (this.#places - 1)) * ways;
  }

  #knows(hash: number): boolean {
    const first = this.#firstWay(hash);
    for (let way = first; way < first + ways; way++) if (this.#hashes[way] === hash && this.#owners[way] !== noEntry) return true;
    return false;
  }

  /**
   * The upstream has been given a prompt.
   *
   * @param tokens of all of it
   * @param hotBlocks how many of its first blocks all begin with
   */
  remember(chain: readonly number[], id: string, now: number, tokens = 0, hotBlocks = 0): void {
    if (chain.length === 0) return;
    if (this.#hashes.length === 0) this.#open();
    const head = chain[hotBlocks];
    if (head !== undefined) this.#recurring += ((this.#knows(head) ? 1 : 0) - this.#recurring) / recurringOver;
    const owner = this.#number(id);
    const tick = this.#tick(now);
    const given = (this.#given[owner] as number) + tokens;
    this.#given[owner] = given;
    const stamp = Math.round(given / stepTokens) | 0;
    const hashes = this.#hashes;
    const owners = this.#owners;
    const ticks = this.#ticks;
    for (const hash of chain) {
      const first = this.#firstWay(hash);
      let at = first;
      for (let way = first; way < first + ways; way++) {
        if (hashes[way] === hash && owners[way] === owner) {
          at = way;
          break;
        }
        if ((ticks[way] as number) < (ticks[at] as number)) at = way;
      }
      hashes[at] = hash;
      owners[at] = owner;
      ticks[at] = tick;
      this.#stamps[at] = stamp;
    }
  }

  /** Tokens of prompts that an owner was given since it was last given what is in an entry. */
  #since(owner: number, way: number): number {
    return ((Math.round((this.#given[owner] as number) / stepTokens) - (this.#stamps[way] as number)) | 0) * stepTokens;
  }

  /** How likely it is that an owner holds what it was given so long ago: about its cache's size either may be. */
  #likely(owner: number, since: number): number {
    const size = this.#sizes[owner];
    return size === undefined ? 1 : Math.min(1, Math.max(0, 1.5 - since / size));
  }

  /**
   * Those who may hold the beginning of a chain, the longest match first; eight at most.
   *
   * @param beyond only who holds more than so many blocks
   */
  matches(chain: readonly number[], now: number, beyond = 0): Match[] {
    const out: Match[] = [];
    if (this.#names.length === 0) return out;
    const oldest = this.#tick(now) - keptMs / tickMs;
    const hashes = this.#hashes;
    const owners = this.#owners;
    const found = this.#found;
    for (let blocks = chain.length; blocks > beyond && out.length < ways; blocks--) {
      const hash = chain[blocks - 1] as number;
      const first = this.#firstWay(hash);
      for (let way = first; way < first + ways && out.length < ways; way++) {
        if (hashes[way] !== hash) continue;
        const owner = owners[way] as number;
        if (owner === noEntry || (this.#ticks[way] as number) < oldest || among(found, out.length, owner)) continue;
        const likely = this.#likely(owner, this.#since(owner, way));
        if (likely === 0) continue;
        found[out.length] = owner;
        out.push({ id: this.#names[owner] as string, blocks, likely });
      }
    }
    return out;
  }

  /** What one upstream was given of a chain; undefined: nothing. */
  givenOf(chain: readonly number[], id: string, now: number): Given | undefined {
    const owner = this.#numbers.get(id);
    if (owner === undefined) return undefined;
    const oldest = this.#tick(now) - keptMs / tickMs;
    for (let blocks = chain.length; blocks > 0; blocks--) {
      const hash = chain[blocks - 1] as number;
      const first = this.#firstWay(hash);
      for (let way = first; way < first + ways; way++) {
        if (this.#hashes[way] !== hash || this.#owners[way] !== owner || (this.#ticks[way] as number) < oldest) continue;
        const since = this.#since(owner, way);
        return { blocks, since, likely: this.#likely(owner, since) };
      }
    }
    return undefined;
  }

  /** How many blocks of a chain one upstream was given. */
  blocksOf(chain: readonly number[], id: string, now: number): number {
    return this.givenOf(chain, id, now)?.blocks ?? 0;
  }

  /** An upstream was seen to hold still, or to have lost, what it was given so many tokens ago. */
  learn(id: string, since: number, held: boolean): void {
    const owner = this.#numbers.get(id);
    if (owner === undefined) return;
    const size = this.#sizes[owner];
    if (size === undefined) {
      if (!held) this.#sizes[owner] = since * firstGuess;
    } else if (held === since > size) this.#sizes[owner] = size + (since - size) * learned;
  }
}

function among(few: Int32Array, count: number, one: number): boolean {
  for (let i = 0; i < count; i++) if (few[i] === one) return true;
  return false;
}
