import type { Now } from "../../schema/clock.ts";
import type { ScalePolicy } from "../../schema/policy.ts";
import type { ScaleReplica } from "../../schema/scale.ts";

/** What "just now" means of single events, in seconds: longer than any tick, so that each is seen by a decision. */
export const recentS = 10;

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

/** How many replicas may be needed at this time. */
export interface Bounds {
  min: number;
  max: number;
}

/** What an autoscaler is asked. */
export interface Question<State> {
  policy: ScalePolicy;
  signals: Signals;
  bounds: Bounds;
  /** How many were needed until now. */
  before: number;
  /** The policy is another than at the last question: what it says holds at once. */
  isNew: boolean;
  /** What it answered with the last time; JSON-able. */
  state: State | undefined;
  now: Now;
}

/** What it says. */
export interface Opinion<State> {
  /** How many are needed; what is beyond the bounds is cut off later. */
  needed: number;
  /** Why, with the figures it rests on. */
  reason: string;
  state: State;
  /** When to ask again. */
  nextMs: number;
}

/** A count between bounds; the upper one wins. */
export function within(count: number, { min, max }: Bounds): number {
  return Math.min(Math.max(count, min), max);
}

/** What people ask for, in words. */
export function askedFor(count: number): string {
  return `${count} ${count === 1 ? "is" : "are"} asked for`;
}

/** Why a count is cut off, in words; undefined: it is not. */
export function cut(count: number, { min, max }: Bounds): string | undefined {
  if (count > max) return `no more than ${max} are allowed`;
  return count < min ? `at least ${askedFor(min)}` : undefined;
}

/** A figure for people: three digits at most. */
export function figure(value: number): string {
  if (value >= 100 || Number.isInteger(value)) return Math.round(value).toString();
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
