import type { Field } from "./field.ts";
import { keepBest, none } from "./pick.ts";
import { mix } from "./prefix.ts";
import type { RequestFacts } from "./request.ts";
import { meanPromptTokens } from "./score.ts";

/** Consistent hashing with bounded load: no replica takes more than its share by this factor (facts/routing-and-scaling.md §2: KubeAI, SMG: 1.25). */
const loadFactor = 1.25;
/** Requests above the mean that are no imbalance yet: below them all fit one engine's batch (facts/routing-and-scaling.md §2: AIBrix moves at 8). */
const slack = 8;
/**
 * What one request that is running costs the reading of a prompt, in tokens: a step of the engine reads some of the prompt and writes one
 * token of each. Little, for who runs what is known as of seconds ago, and isolates that all go where little ran then meet there. From 0 to
 * 16 `scripts/bench/prefix` hardly tells them apart (seeds 1–10); at 64 four isolates meet: 727 ms at the 99th percentile of one prompt for
 * all, instead of 31.
 */
const runningTokens = 8;
/**
 * A token that is read again costs two: its own reading, and that of another, whose place it takes and which will be read again in its
 * turn. In `scripts/bench/prefix` (seeds 1–10) long prefixes move too soon at 1 (58 % of hits), less at 1.25 (62.2) and not at 2 (62.9).
 */
const worthOfMatch = 2;
/** Readings that differ by less, in tokens and as a share of the prompt, are alike: who of them had the latest turn the longest ago is picked. */
const alike = { tokens: 64, share: 0.02 };

/** What prefix affinity knows of a prompt. */
export interface Prompt {
  /** Of its first blocks, so many are asked for so often that they are in every cache, or soon will be. */
  hotBlocks: number;
  /** By what its home is found. */
  key: number;
  /** The share of prompts that begin as an earlier one did. */
  recurring: number;
  /** Whether somebody is known who may hold more of it than what is hot. */
  known: boolean;
}

/** The bound on load up to which a replica may be preferred for what it holds, and what one that does not say counts as: the busiest. */
export interface Bound {
  load: number;
  unknown: number;
  /** Requests on all that say, whether they compete or not. */
  known: number;
}

export function boundOf({ replicas, load, competes }: Field): Bound {
  let unknown = 0;
  let known = 0;
  let sum = 0;
  let silent = 0;
  let count = 0;
  for (let i = 0; i < replicas; i++) {
    const q = load[i] as number;
    if (q === q) known += q;
    if (competes[i] !== 1) continue;
    count++;
    if (q !== q) silent++;
    else {
      sum += q;
      if (q > unknown) unknown = q;
    }
  }
  const total = sum + silent * unknown;
  return { load: Math.max(((total + 1) / count) * loadFactor, total / count + slack), unknown, known };
}

/**
 * The replica where a key is at home: rendezvous hashing (Thaler & Ravishankar) over those within the bound, so that isolates agree
 * without speaking to each other, and a replica that comes or goes moves only what was its own.
 *
 * @param hash of each row's id
 */
export function homeOf(field: Field, hash: Int32Array, key: number, bound: Bound): number {
  const { replicas, source, load, competes } = field;
  let home = none;
  let highest = -1;
  for (let i = 0; i < replicas; i++) {
    if (competes[i] !== 1) continue;
    const q = load[i] as number;
    if ((q === q ? q : bound.unknown) > bound.load) continue;
    const height = mix(hash[source[i] as number] as number, key) >>> 0;
    if (height <= highest) continue;
    highest = height;
    home = i;
  }
  return home;
}

/** A key's first few homes among all rows, whatever their load: for fleets of which only a sample is weighed. */
export function homes(hash: Int32Array, key: number, count: number): number[] {
  const rows: number[] = [];
  const heights: number[] = [];
  let least = Number.NEGATIVE_INFINITY;
  for (let row = 0; row < hash.length; row++) {
    const height = mix(hash[row] as number, key) >>> 0;
    if (height > least) least = keepBest(rows, heights, count, row, height);
  }
  return rows;
}

/**
 * Where nothing says whether it is so. For earlier turns 1 in its place keeps 2 % more of them where they were, but waits more for what is lost:
 * the 99th percentile of `scripts/bench/prefix` with four isolates is a tenth above (seeds 31–45).
 */
const asLikelyAsNot = 0.5;
/**
 * Where somebody else is known to hold a first turn's prompt, of which others may know too. Less, and isolates keep copies in two places: of long
 * prefixes in `scripts/bench/prefix` four found 58.7 % at 0.5 and 59.8 % at 0.75, and half of all waited 82 ms instead of 87 (seeds
 * 11–14, when others' requests were reckoned to end exponentially).
 */
const thoughHeld = 0.75;

/**
 * How much of what other isolates may have sent its home is expected to be there, 0..1: as much of the traffic as is theirs. Of earlier turns
 * it is not known whether the home holds them still; of a first turn, whether it recurs is known from all prompts, and where somebody
 * else is known to hold it, others may know that too.
 */
function expectedAtHome({ own }: Field, { continues }: RequestFacts, { recurring, known }: Prompt, bound: Bound): number {
  // one more, who is not known: of an idle fleet nobody knows whose it is
  const others = (Math.max(0, bound.known - own) + 1) / (bound.known + 1);
  return others * (continues ? asLikelyAsNot : recurring * (known ? thoughHeld : 1));
}

/**
 * The replica that has the least to read before it answers: what waits there, and what of this prompt it does not hold
 * (facts/routing-and-scaling.md §2: Dynamo's cost), of those within the bound. What is hot is worth nothing: whoever lacks it reads it
 * once for all who follow. Of those that are alike, the one whose turn it is: that is the most even there is.
 */
export function pickNearest(field: Field, hash: Int32Array, request: RequestFacts, prompt: Prompt, bound: Bound): number {
  const { replicas, load, queueDepth, waitingTokens, cold, competes, near, toRead, turn } = field;
  const { promptTokens, prefix } = request;
  const home = homeOf(field, hash, prompt.key, bound);
  const own = prefix.length === 0 ? 1 : 1 - prompt.hotBlocks / prefix.length;
  const expected = own * expectedAtHome(field, request, prompt, bound);
  let count = 0;
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < replicas; i++) {
    if (competes[i] !== 1) continue;
    const reading = load[i] as number;
    const q = reading === reading ? reading : bound.unknown;
    if (q > bound.load) continue;
    const share = i === home ? Math.max(cold[i] as number, expected) : (cold[i] as number);
    const queued = queueDepth[i] as number;
    const before = Math.max(waitingTokens[i] as number, queued > 0 ? queued * meanPromptTokens : 0);
    const tokens = before + q * runningTokens - share * worthOfMatch * promptTokens;
    near[count++] = i;
    toRead[i] = tokens;
    if (tokens < least) least = tokens;
  }
  const most = least + alike.tokens + alike.share * promptTokens;
  let nearest = none;
  let earliest = Number.POSITIVE_INFINITY;
  for (let k = 0; k < count; k++) {
    const i = near[k] as number;
    if ((toRead[i] as number) > most || (turn[i] as number) >= earliest) continue;
    earliest = turn[i] as number;
    nearest = i;
  }
  return nearest;
}
