import type { Now } from "../../schema/clock.ts";
import { clumps } from "./burst.ts";

/**
 * Habits are followed slowly, in seconds: bursts are over before a replica that is started for them is there. The least is as long as
 * SkyServe waits before it scales down; the most is our choice: what is older than half a working day was another demand.
 */
export const followS = { min: 1_200, max: 14_400 };
/**
 * A rate within so many standard errors of the one that is known, and as many clumps as chance brings, is no news. Where a look tells the
 * rate exactly enough, chance that is taken for news changes no number, and two do. Where it does not, as many as `surprise` in
 * `burst.ts`: whoever looks every two seconds sees twice the standard error every hour, and starts for it what nobody needs.
 */
const newsErrors = { exact: 2, inexact: 4 };

/** What is usual of a service's demand; JSON-able. */
export interface Habit {
  since: Now;
  at: Now;
  /** Requests/s. */
  perS: number;
  /** Of so many seconds; absent in what was kept before 2026-11-22. */
  ofS?: number;
  /** Its arrivals' index of dispersion. */
  dispersion: number;
  /** How many replicas more than its mean rate needs, its bursts have needed. */
  spare: number;
}

/**
 * For how long a habit is averaged, in seconds: until what chance makes of the mean rate is no more than `exact` requests/s, which takes
 * the longer the burstier they come (a mean's variance is dispersion × rate / time).
 */
export function followedS(before: Pick<Habit, "perS" | "dispersion"> | undefined, exact: number): number {
  const { perS, dispersion } = before ?? { perS: 0, dispersion: 1 };
  return Math.min(followS.max, Math.max(followS.min, (dispersion * perS) / (exact * exact)));
}

/** For how long the rate that is usual has been so, in seconds; before the first look: for as long as anything. */
export function knownS(before: Habit | undefined, now: Now): number {
  return before === undefined ? Infinity : (before.ofS ?? (before.at - before.since) / 1000) + Math.max(0, now - before.at) / 1000;
}

/** A part of the way from what was to what is: a mean of all there is at first, and of the last while later. */
function weightOf({ since, at }: Habit, now: Now, overS: number): number {
  return now <= at ? 0 : Math.min(1, (now - at) / Math.min(overS * 1000, now - since));
}

/** A rate that was seen: its standard error, and for how long it was so. */
interface Seen {
  perS: number;
  error: number;
  seconds: number;
}

/** The rate that is usual, and whether it is another level than the one before, as exactly as a level is to be known. */
interface Level extends Seen {
  isNew: boolean;
}

/**
 * The rate that is usual, with one more look at it. A look that tells it exactly enough is it: averaging would only make it late. Of others
 * what may be chance moves it little, and what is none at once; its error shrinks with the time it is known for until it is exact enough.
 */
export function usualRate(before: Habit | undefined, { perS, error, seconds, isChanging }: Seen & { isChanging: boolean }, now: Now, overS: number, exact: number): Level {
  const seen = { perS, error, seconds: Math.max(1, seconds) };
  const isExact = error <= exact;
  if (before === undefined || isChanging || Math.abs(perS - before.perS) > newsErrors[isExact ? "exact" : "inexact"] * error + (clumps * before.dispersion) / seen.seconds) return { ...seen, isNew: isExact };
  const ofS = Math.max(seen.seconds, Math.min(overS, knownS(before, now)));
  if (isExact) return { perS, error, seconds: ofS, isNew: false };
  const passedS = Math.max(0, now - before.at) / 1000;
  return { perS: before.perS + Math.min(1, passedS / ofS) * (perS - before.perS), error: Math.max(exact, error * Math.sqrt(seen.seconds / ofS)), seconds: ofS, isNew: false };
}

/** What is usual of burstiness, or of what bursts need, with one more look at it. */
export function usual(before: Habit | undefined, of: "dispersion" | "spare", value: number, now: Now, overS = followS.min): number {
  return before === undefined ? value : before[of] + weightOf(before, now, overS) * (value - before[of]);
}
