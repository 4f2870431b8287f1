import { linkTimes } from "../../schema/protocol.ts";
import type { ReplicaRow } from "./candidates.ts";

/**
 * Why a replica may not be used; undefined when it may. A host's lease is measured against the time of its snapshot, both by its
 * Hub's clock: an isolate that has lost its Hubs goes on with the last good copy, and a dead host shows at dispatch.
 */
export function unusable({ replica, host, takenAt }: ReplicaRow): string | undefined {
  if (replica.phase !== "ready") return `phase is ${replica.phase}`;
  if (!host.linkUp) return "its host's link is down";
  if (host.draining) return "its host is draining";
  if (host.relays.length === 0) return "its host has no relay";
  if (takenAt - host.heardAt > linkTimes.leaseMs) return `its host was last heard ${takenAt - host.heardAt} ms before the snapshot`;
  return undefined;
}

/** A replica over any of these takes a request only when nothing else can. */
export const bounds = {
  /** Requests waiting in the engine (facts/routing-and-scaling.md §2: llm-d calls 5 saturated). */
  queueDepth: 5,
  /** llm-d says 0.8 on readings 50 ms old; near 1 vLLM begins to evict what it is working on, and a long prompt may need the rest. */
  kvUsage: 0.95,
  /** Requests on one replica (facts/routing-and-scaling.md §2: llm-d's concurrency cap). */
  inFlight: 100,
} as const;

/** Whether a replica is over its bounds; of what it does not say nothing follows. */
export const isFull = (load: number, queueDepth: number, kvUsage: number): boolean => queueDepth >= bounds.queueDepth || kvUsage >= bounds.kvUsage || load >= bounds.inFlight;

/** Reasons that are told, of so many upstreams; the rest are counted. */
const reasonsMax = 20;

/** Why upstreams were left out, for people: bounded, whatever the size of a fleet. */
export class Reasons {
  readonly #told: Record<string, string> = {};
  #count = 0;

  add(id: string, why: string): void {
    if (this.#count++ < reasonsMax) this.#told[id] = why;
  }

  /** Many at once. */
  addAll(left: readonly { id: string; why: string }[]): void {
    const room = Math.max(0, reasonsMax - this.#count);
    for (let i = 0; i < room && i < left.length; i++) {
      const { id, why } = left[i] as { id: string; why: string };
      this.#told[id] = why;
    }
    this.#count += left.length;
  }

  /** By id; under "…" how many more there are. */
  told(): Record<string, string> {
    return this.#count > reasonsMax ? { ...this.#told, "…": `and ${this.#count - reasonsMax} more` } : this.#told;
  }
}
