/** Prompts kept at most: of fleets above 16 only a greater share than one replica's is told. */
const keptMax = 64;
/**
 * So many of the latest prompts, in multiples of the fleet's size, have to begin as one does for what they share to be hot. Four of four
 * times as many as there are replicas are one replica's part of the traffic. Fewer will do where they follow so closely on each other that of
 * what has an eighth of a replica's part, chance brings fewer than one in a thousand together: so a fleet that begins knows soon.
 */
const marks = [{ times: 0.25, count: 2 }, { times: 1, count: 3 }, { times: 4, count: 4 }] as const;
const countMax = 4;

/**
 * The latest prompts of one service, to tell what is asked for more than one replica's part of the time: that is worth a copy in every
 * cache, and nobody is at home to it. What is asked for less often is worth one copy.
 */
export class LatestPrompts {
  readonly #chains: (readonly number[])[] = [];
  /** The first hash of each: most are told apart by it. */
  readonly #firsts = new Int32Array(keptMax);
  readonly #conversations = new Int32Array(keptMax);
  #next = 0;
  #asked: { chain: readonly number[]; hot: number } | undefined;

  /** What was said of a chain that was asked for last; 0 of others. */
  lastHot(chain: readonly number[]): number {
    return this.#asked?.chain === chain ? this.#asked.hot : 0;
  }

  note(chain: readonly number[], conversation: number): void {
    this.#chains[this.#next] = chain;
    this.#conversations[this.#next] = conversation;
    this.#firsts[this.#next] = chain[0] ?? 0;
    this.#next = (this.#next + 1) % keptMax;
  }

  /** How many of a chain's first blocks are hot in a fleet of so many replicas. Earlier turns of its own conversation, which it contains whole, do not make it so. */
  hotBlocks(chain: readonly number[], conversation: number, replicas: number): number {
    const first = chain[0];
    if (first === undefined) return 0;
    // how much those share with this one that share the most, the most first
    const most: number[] = [];
    let hot = 0;
    let back = 1;
    let at = this.#next;
    for (const { times, count } of marks) {
      const until = Math.min(this.#chains.length, Math.ceil(replicas * times));
      for (; back <= until; back++) {
        at = at === 0 ? this.#chains.length - 1 : at - 1;
        if (this.#firsts[at] !== first) continue;
        const other = this.#chains[at] as readonly number[];
        // what shares no more than those that are known tells nothing more
        const least = most[countMax - 1] ?? 0;
        if (least >= chain.length || other[least] !== chain[least]) continue;
        const alike = sharedBlocks(chain, other);
        if (alike < other.length || this.#conversations[at] !== conversation) enter(most, alike);
      }
      hot = Math.max(hot, most[count - 1] ?? 0);
    }
    this.#asked = { chain, hot };
    return hot;
  }
}

/** One more among those that are the most, the most first. */
function enter(most: number[], one: number): void {
  let at = most.length < countMax ? most.push(0) - 1 : most.length - 1;
  if (one <= (most[at] as number)) return;
  for (; at > 0 && (most[at - 1] as number) < one; at--) most[at] = most[at - 1] as number;
  most[at] = one;
}

/** How many blocks two chains begin with in common, one at least: each hash is of all before it too, so that one look in the middle tells of a half. */
function sharedBlocks(a: readonly number[], b: readonly number[]): number {
  let low = 1;
  let high = Math.min(a.length, b.length);
  if (a[high - 1] === b[high - 1]) return high;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (a[middle - 1] === b[middle - 1]) low = middle;
    else high = middle - 1;
  }
  return low;
}
