import type { Now } from "../../schema/clock.ts";
import type { ScalePolicy } from "../../schema/policy.ts";
import type { Signals } from "../../schema/signals.ts";

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

/** Why a count is cut off, in words; undefined: it is not. */
export function cut(count: number, { min, max }: Bounds): string | undefined {
  if (count > max) return `no more than ${max} are allowed`;
  return count < min ? `at least ${min} are asked for` : undefined;
}

/** A figure for people: three digits at most. */
export function figure(value: number): string {
  if (value >= 100 || Number.isInteger(value)) return Math.round(value).toString();
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
