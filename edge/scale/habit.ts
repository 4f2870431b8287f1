import type { Now } from "../../schema/clock.ts";
import { clumps } from "./burst.ts";

/** Habits are followed slowly: bursts are over before a replica that is started for them is there. */
const followS = 1_200;
/** A rate within so many standard errors of the one that is known, and as many clumps as chance brings, is no news. */
const newsErrors = 2;

/** What is usual of a service's demand; JSON-able. */
export interface Habit {
  since: Now;
  at: Now;
  /** Requests/s. */
  perS: number;
  /** Its arrivals' index of dispersion. */
  dispersion: number;
  /** How many replicas more than its mean rate needs, its bursts have needed. */
  spare: number;
}

/** A part of the way from what was to what is: a mean of all there is at first, and of the last while later. */
function weightOf({ since, at }: Habit, now: Now, overS = followS): number {
  return now <= at ? 0 : Math.min(1, (now - at) / Math.min(overS * 1000, now - since));
}

/** The rate that is usual, with one more look at it: what may be chance moves it little, and what is none at once. */
export function usualRate(before: Habit | undefined, { perS, error, seconds, isChanging }: { perS: number; error: number; seconds: number; isChanging: boolean }, now: Now, overS?: number): number {
  if (before === undefined || isChanging || Math.abs(perS - before.perS) > newsErrors * error + (clumps * before.dispersion) / Math.max(1, seconds)) return perS;
  return before.perS + weightOf(before, now, overS) * (perS - before.perS);
}

/** What is usual of burstiness, or of what bursts need, with one more look at it. */
export function usual(before: Habit | undefined, of: "dispersion" | "spare", value: number, now: Now, overS?: number): number {
  return before === undefined ? value : before[of] + weightOf(before, now, overS) * (value - before[of]);
}
