/** A fleet of engines in virtual time, for `scripts/bench/prefix`. */
import type { Agenda } from "../../test/sim/agenda.ts";

/** Prompt tokens in a block: as `edge/route/prefix.ts` counts them, 512 bytes at four a token. */
export const blockTokens = 128;
/** Tokens/ms that an engine reads of a prompt, one prompt after the other (facts/routing-and-scaling.md §2: llm-d's peak prefill). */
const prefillTokensPerMs = 15.928;
/** A token of output each, when alone; slower by the batch. */
const stepMs = 15;
const stepMsPerRunning = 0.5;
/** Requests in one batch. */
const slots = 32;
/** KV blocks kept: 120,000 tokens, about 16 GB of an 8B model's. */
const cacheBlocks = 940;

export interface SimRequest {
  arrivesAt: number;
  /** Chained hashes of the prompt's blocks. */
  chain: number[];
  promptTokens: number;
  outputTokens: number;
  /** What the request belongs to. */
  conversation: number;
  /** Whether it has earlier turns. */
  continues: boolean;
  /** Makes the request that follows when this one is done. */
  next?: (doneAt: number) => SimRequest | undefined;
}

interface Queued {
  request: SimRequest;
  begins: (hitTokens: number, ttftAt: number) => void;
  ends: (now: number) => void;
}

/** One engine: a batch of so many, prompts read one after the other, and a cache of blocks of which the least recently used go. */
export class Engine {
  running = 0;
  readonly #queue: Queued[] = [];
  readonly #cache = new Set<number>();
  readonly #agenda: Agenda;
  #readsUntil = 0;

  constructor(agenda: Agenda) {
    this.#agenda = agenda;
  }

  get queued(): number {
    return this.#queue.length;
  }

  take(queued: Queued, now: number): void {
    this.#queue.push(queued);
    this.#begin(now);
  }

  #begin(now: number): void {
    while (this.running < slots) {
      const queued = this.#queue.shift();
      if (queued === undefined) return;
      this.running++;
      const { request, begins, ends } = queued;
      const hitTokens = this.#use(request.chain) * blockTokens;
      const readAt = Math.max(now, this.#readsUntil) + Math.max(1, request.promptTokens - hitTokens) / prefillTokensPerMs;
      this.#readsUntil = readAt;
      this.#agenda.add(readAt, () => begins(hitTokens, readAt));
      this.#agenda.add(readAt + request.outputTokens * (stepMs + stepMsPerRunning * this.running), (endedAt) => {
        this.running--;
        ends(endedAt);
        this.#begin(endedAt);
      });
    }
  }

  /** Blocks of the beginning that are cached; afterwards all are. */
  #use(chain: number[]): number {
    let hits = 0;
    while (hits < chain.length && this.#cache.has(chain[hits] as number)) hits++;
    // the end first, so that the beginning, which more share, is the most recent
    for (const hash of chain.toReversed()) {
      this.#cache.delete(hash);
      this.#cache.add(hash);
    }
    for (const hash of this.#cache) {
      if (this.#cache.size <= cacheBlocks) break;
      this.#cache.delete(hash);
    }
    return hits;
  }
}
