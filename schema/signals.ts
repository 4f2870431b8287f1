import type { ScaleReplica } from "./scale.ts";

/** What a service's scaling decisions rest on: plain values, the same in production and in the simulator. */
export interface Signals {
  /** Requests by second, the newest whole second last, whatever became of them; at most `historyS`, fewer while little is known. */
  arrivals: readonly number[];
  /** Requests in flight by second, the present one last: on replicas, held, and at providers for lack of capacity; at most `historyS`. */
  concurrency: readonly number[];
  /** Now: requests that wait, held or queued by engines. They are among those in flight. */
  waiting: number;
  /** In the last `recentS`: refused, or sent to providers, for lack of capacity. They are among the arrivals. */
  refused: number;
  spilled: number;
  /** Of the last minute, counts by bucket (`digestBoundsMs`), of what replicas answered. */
  ttft: readonly number[];
  itl: readonly number[];
  /** From assignment to readiness in ms, as last seen of this service; undefined: never. */
  coldStartMs: number | undefined;
  /** Of all regions that were heard, ended ones left out. */
  replicas: readonly ScaleReplica[];
  /** Many hosts were lost at once. */
  braked: boolean;
  /** Some region's Hub was not heard: what is missing may be there. */
  partial: boolean;
}

/** How much of the past is kept, in seconds (KubeAI averages over ten minutes; facts/routing-and-scaling.md §4). */
export const historyS = 600;

/** What "just now" means of single events, in seconds: longer than any tick, so that each is seen by a decision. */
export const recentS = 10;
