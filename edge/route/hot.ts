/** Prompts kept at most: a fleet of 32 is looked at as closely as is meant, of a larger one only what has a greater share is told. */
const keptMax = 128;
/**
 * So many of the latest prompts, in multiples of the fleet's size, have to begin alike for what they share to be hot: four of the last
 * four times as many as there are replicas are one replica's part of the traffic. Fewer do when they come so close together that chance
 * would not bring together those who have a replica's eighth (one in 300).
 */
const marks = [{ times: 0.5, count: 2 }, { times: 2, count: 3 }, { times: 4, count: 4 }] as const;

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

  note(chain: readonly number[], conversation: number): void {
    this.#chains[this.#next] = chain;
    this.#conversations[this.#next] = conversation;
    this.#firsts[this.#next] = chain[0] ?? 0;
    this.#next = (this.#next + 1) % keptMax;
  }

  /** How many of a chain's first blocks are hot in a fleet of so many replicas. Earlier turns of its own conversation do not make it so. */
  hotBlocks(chain: readonly number[], conversation: number, replicas: number): number {
    const first = chain[0];
    if (first === undefined) return 0;
    const chains = this.#chains;
    // how much each of those shares with this one that share the most, the most first
    let [one, two, three, four] = [0, 0, 0, 0];
    let hot = 0;
    let mark = 0;
    const most = Math.min(chains.length, Math.ceil(replicas * 4));
    for (let back = 1, at = this.#next; back <= most; back++) {
      at = at === 0 ? chains.length - 1 : at - 1;
      while (back > Math.ceil(replicas * (marks[mark] as (typeof marks)[number]).times)) {
        hot = Math.max(hot, mark === 0 ? two : three);
        mark++;
      }
      if (this.#firsts[at] !== first || this.#conversations[at] === conversation) continue;
      const alike = sharedBlocks(chain, chains[at] as readonly number[]);
      if (alike <= four) continue;
      if (alike > one) [one, two, three, four] = [alike, one, two, three];
      else if (alike > two) [two, three, four] = [alike, two, three];
      else if (alike > three) [three, four] = [alike, three];
      else four = alike;
    }
    return Math.max(hot, [two, three, four][mark] as number);
  }
}

/** How many blocks two chains begin with in common, one at least: each hash is of all before it too, so that one look in the middle tells of a half. */
function sharedBlocks(a: readonly number[], b: readonly number[]): number {
  let low = 1;
  let high = Math.min(a.length, b.length);
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (a[middle - 1] === b[middle - 1]) low = middle;
    else high = middle - 1;
  }
  return low;
}
