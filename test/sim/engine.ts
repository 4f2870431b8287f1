import type { Load } from "../../schema/protocol.ts";
import type { Agenda } from "./agenda.ts";

/** What an engine is like. */
export interface EngineModel {
  /** How fast a prompt is read with nothing beside it. */
  prefillTokensPerMs: number;
  /** So much of a prompt is read in one step, between which every running request gets a token (chunked prefill). */
  chunkTokens: number;
  /** A step's time for one running request, and for a full batch; between them it grows with the batch. */
  decodeMs: { alone: number; full: number };
  /** Requests in one batch. */
  slots: number;
  /** KV cache. */
  kvTokens: number;
}

/** Tokens in a block, as `edge/route/prefix.ts` counts them: 512 bytes at four a token. */
export const blockTokens = 128;

/** Times of this century have some 0.0002 ms of precision as doubles: less than so much of a step is none, and the next thing happens this much later at least. */
const slackSteps = 1e-4;
const timeMsMin = 1e-3;

/** An 8B model in 16 bits on a GPU of 24 GB: 6 GB are left for KV, 128 KiB a token. The times are slower than facts/engines.md §12's of an H100 by the memory's bandwidth, about an L4's. */
export const small: EngineModel = { prefillTokensPerMs: 8, chunkTokens: 512, decodeMs: { alone: 30, full: 60 }, slots: 32, kvTokens: 45_000 };

/** One request at an engine. */
export interface Job {
  promptTokens: number;
  outputTokens: number;
  chain: readonly number[];
  /** The first token. */
  begins: (now: number) => void;
  /** The last one. @param itlMs the mean time between two */
  ends: (now: number, itlMs: number) => void;
  /** The engine ended before it did. @param written tokens of it */
  cut: (now: number, written: number) => void;
}

interface Running {
  job: Job;
  /** Of the prompt, not yet read. */
  left: number;
  beganAt: number;
  /** On the engine's own count of steps: when it began to write and when it is done. */
  from: number;
  until: number;
}

/**
 * An engine in virtual time: so many requests in a batch and KV cache for so many tokens, the rest in a queue; one prompt is read after
 * the other, in chunks, between which the running ones go on; a prefix cache of blocks of which the least recently used go. It flows:
 * between two changes of its batch every step takes the same time, so a request costs three events, not one for each token. A request takes KV cache for its prompt and its whole answer when it begins.
 */
export class SimEngine {
  readonly model: EngineModel;
  readonly #agenda: Agenda;
  readonly #queue: Job[] = [];
  readonly #reading: Running[] = [];
  /** A heap by `until`. */
  readonly #writing: Running[] = [];
  readonly #cache = new Set<number>();
  #steps = 0;
  #at = 0;
  #kv = 0;
  #due = Number.POSITIVE_INFINITY;
  #stopped = false;
  /** Tokens of prompts that were asked for, and found in the cache. */
  readonly tokens = { queried: 0, hit: 0 };

  constructor(agenda: Agenda, model: EngineModel) {
    this.#agenda = agenda;
    this.model = model;
    this.#at = agenda.now;
  }

  get running(): number {
    return this.#reading.length + this.#writing.length;
  }

  get queued(): number {
    return this.#queue.length;
  }

  load(): Load {
    const { queried, hit } = this.tokens;
    return { running: this.running, queueDepth: this.#queue.length, kvUsage: Math.min(1, this.#kv / this.model.kvTokens), prefixTokensQueried: queried, prefixTokensHit: hit };
  }

  take(job: Job, now: number): void {
    this.#flow(now);
    this.#queue.push(job);
    this.#admit(now);
    this.#look(now);
  }

  /** It ends now, and what it has with it. */
  stop(now: number): void {
    this.#flow(now);
    this.#stopped = true;
    const all = [...this.#writing.map(({ job, from }) => ({ job, written: 1 + Math.floor(this.#steps - from) })), ...this.#reading.map(({ job }) => ({ job, written: 0 })), ...this.#queue.map((job) => ({ job, written: 0 }))];
    this.#writing.length = this.#reading.length = this.#queue.length = 0;
    for (const { job, written } of all) job.cut(now, written);
  }

  /** One step's time as things are. */
  #stepMs(): number {
    const { decodeMs, slots, chunkTokens, prefillTokensPerMs } = this.model;
    const batch = this.#writing.length;
    const decode = batch === 0 ? 0 : decodeMs.alone + ((decodeMs.full - decodeMs.alone) * (batch - 1)) / Math.max(1, slots - 1);
    return decode + (this.#reading.length > 0 ? chunkTokens / prefillTokensPerMs : 0);
  }

  /** What has been read and written until now. */
  #flow(now: number): void {
    const stepMs = this.#stepMs();
    if (stepMs > 0) {
      const steps = (now - this.#at) / stepMs;
      this.#steps += steps;
      const first = this.#reading[0];
      if (first !== undefined) first.left -= steps * this.model.chunkTokens;
    }
    this.#at = now;
  }

  #needs({ promptTokens, outputTokens }: Job): number {
    return Math.min(promptTokens + outputTokens, this.model.kvTokens);
  }

  #admit(now: number): void {
    for (let job = this.#queue[0]; job !== undefined; job = this.#queue[0]) {
      if (this.running >= this.model.slots || (this.running > 0 && this.#kv + this.#needs(job) > this.model.kvTokens)) return;
      this.#queue.shift();
      this.#kv += this.#needs(job);
      const hit = Math.min(job.promptTokens, this.#use(job.chain) * blockTokens);
      this.tokens.queried += job.promptTokens;
      this.tokens.hit += hit;
      this.#reading.push({ job, left: Math.max(1, job.promptTokens - hit), beganAt: now, from: 0, until: 0 });
    }
  }

  /** When the next thing happens, by what is known now. */
  #look(now: number): void {
    if (this.#stopped) return;
    const stepMs = this.#stepMs();
    if (stepMs === 0) return;
    const read = this.#reading[0];
    const written = this.#writing[0];
    const steps = Math.min(read === undefined ? Number.POSITIVE_INFINITY : read.left / this.model.chunkTokens, written === undefined ? Number.POSITIVE_INFINITY : written.until - this.#steps);
    const due = now + Math.max(timeMsMin, steps * stepMs);
    if (due >= this.#due) return;
    this.#due = due;
    this.#agenda.add(due, (at) => this.#happen(at, due));
  }

  #happen(now: number, due: number): void {
    if (this.#stopped || due !== this.#due) return;
    this.#due = Number.POSITIVE_INFINITY;
    this.#flow(now);
    const ended: Running[] = [];
    for (let first = this.#writing[0]; first !== undefined && first.until <= this.#steps + slackSteps; first = this.#writing[0]) ended.push(pop(this.#writing));
    const begun: Running[] = [];
    const first = this.#reading[0];
    if (first !== undefined && first.left <= slackSteps * this.model.chunkTokens) {
      this.#reading.shift();
      begun.push(first);
      first.beganAt = now;
      first.from = this.#steps;
      first.until = this.#steps + first.job.outputTokens - 1;
      if (first.job.outputTokens > 1) push(this.#writing, first);
      else ended.push(first);
    }
    for (const { job } of ended) this.#kv -= this.#needs(job);
    this.#admit(now);
    this.#look(now);
    for (const { job } of begun) job.begins(now);
    for (const { job, beganAt } of ended) job.ends(now, job.outputTokens > 1 ? (now - beganAt) / (job.outputTokens - 1) : 0);
  }

  /** Blocks of the beginning that are cached; afterwards all are. */
  #use(chain: readonly number[]): number {
    if (chain.length === 0) return 0;
    let hits = 0;
    while (hits < chain.length && this.#cache.has(chain[hits] as number)) hits++;
    // the end first, so that the beginning, which more share, is the most recent
    for (const hash of chain.toReversed()) {
      this.#cache.delete(hash);
      this.#cache.add(hash);
    }
    const max = Math.max(chain.length, Math.floor((this.model.kvTokens - this.#kv) / blockTokens));
    for (const hash of this.#cache) {
      if (this.#cache.size <= max) break;
      this.#cache.delete(hash);
    }
    return hits;
  }
}

// ——— a binary heap by `until` ———

function push(heap: Running[], one: Running): void {
  let i = heap.push(one) - 1;
  while (i > 0) {
    const up = (i - 1) >> 1;
    if ((heap[up] as Running).until <= one.until) break;
    heap[i] = heap[up] as Running;
    i = up;
  }
  heap[i] = one;
}

function pop(heap: Running[]): Running {
  const first = heap[0] as Running;
  const last = heap.pop() as Running;
  if (heap.length === 0) return first;
  let i = 0;
  for (;;) {
    let down = 2 * i + 1;
    if (down >= heap.length) break;
    if (down + 1 < heap.length && (heap[down + 1] as Running).until < (heap[down] as Running).until) down++;
    if ((heap[down] as Running).until >= last.until) break;
    heap[i] = heap[down] as Running;
    i = down;
  }
  heap[i] = last;
  return first;
}
