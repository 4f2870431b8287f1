import type { Field } from "./field.ts";
import { keepBest, none } from "./pick.ts";
import { mix } from "./prefix.ts";
import type { RequestFacts } from "./request.ts";
import { meanPromptTokens } from "./score.ts";

/** Consistent hashing with bounded load: no replica takes more than its share by this factor (facts/routing-and-scaling.md §2: KubeAI, SMG: 1.25). */
const loadFactor = 1.25;
/** Requests above the mean that are no imbalance yet: below them all fit one engine's batch (facts/routing-and-scaling.md §2: AIBrix moves at 8). */
const slack = 8;
// The five below were chosen by `scripts/bench/prefix`, on its seed 1: other seeds say what they are worth.

/** What one request that is running costs the reading of a prompt, in tokens: each step reads some of the prompt and writes one token of each. */
const runningTokens = 64;
/** Share of a prompt that its conversation's home is expected to hold: other isolates may have sent earlier turns there; of a first turn, the system prompt. */
const expectedAtHome = { continued: 0.5, first: 0.125 };
/** A token that is read again costs more than its reading: the blocks of another prompt have to go for it. */
const worthOfMatch = 1.25;
/**
 * And more for what is cold, of a first turn: it is shared with others, who come back for it seldom, and a second copy takes the place of
 * what they come back for. A conversation's own blocks go with it; its old copy is nobody's.
 */
const worthOfCold = 0.6;
/** Readings that differ by less, in tokens and as a share of the prompt, are alike: who of them is picked is the conversation's hash. */
const alike = { tokens: 64, share: 0.05 };

/** The bound on load up to which a replica may be preferred for what it holds, and what one that does not say counts as: the busiest. */
export interface Bound {
  load: number;
  unknown: number;
}

export function boundOf({ replicas, load, competes }: Field): Bound {
  let unknown = 0;
  let sum = 0;
  let silent = 0;
  let count = 0;
  for (let i = 0; i < replicas; i++) {
    if (competes[i] !== 1) continue;
    count++;
    const q = load[i] as number;
    if (q !== q) silent++;
    else {
      sum += q;
      if (q > unknown) unknown = q;
    }
  }
  const total = sum + silent * unknown;
  return { load: Math.max(((total + 1) / count) * loadFactor, total / count + slack), unknown };
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
 * The replica that has the least to read before it answers: what waits there, and what of this prompt it does not hold
 * (facts/routing-and-scaling.md §2: Dynamo's cost), of those within the bound. Of a prompt that this isolate knows nothing of, the
 * conversation's home is expected to hold a little.
 */
export function pickNearest(field: Field, hash: Int32Array, request: RequestFacts, bound: Bound): number {
  const { replicas, load, queueDepth, waitingTokens, matched, cold, competes, near, toRead, source } = field;
  const { promptTokens } = request;
  const home = homeOf(field, hash, request.conversation, bound);
  const coldWorth = request.continues ? 0 : worthOfCold;
  const expected = request.continues ? expectedAtHome.continued : expectedAtHome.first;
  let count = 0;
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < replicas; i++) {
    if (competes[i] !== 1) continue;
    const reading = load[i] as number;
    const q = reading === reading ? reading : bound.unknown;
    if (q > bound.load) continue;
    const share = i === home ? Math.max(matched[i] as number, expected) : (matched[i] as number);
    const queued = queueDepth[i] as number;
    const before = Math.max(waitingTokens[i] as number, queued > 0 ? queued * meanPromptTokens : 0);
    const tokens = before + q * runningTokens - (share * worthOfMatch + (cold[i] as number) * coldWorth) * promptTokens;
    near[count++] = i;
    toRead[i] = tokens;
    if (tokens < least) least = tokens;
  }
  const most = least + alike.tokens + alike.share * promptTokens;
  let nearest = none;
  let highest = -1;
  for (let k = 0; k < count; k++) {
    const i = near[k] as number;
    if ((toRead[i] as number) > most) continue;
    const height = mix(hash[source[i] as number] as number, request.conversation) >>> 0;
    if (height <= highest) continue;
    highest = height;
    nearest = i;
  }
  return nearest;
}
