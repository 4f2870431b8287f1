import type { Now } from "../../schema/clock.ts";

/** A day is looked at in parts of a quarter of an hour: habits are no more exact. */
const partMs = 900_000;
const parts = 96;
/** A day counts for so much: of two days alike the second makes it more likely than not. */
const weight = 0.3;
/** A replica is started when a request is more likely than not while it starts. */
const likely = 0.5;

const partOf = (at: Now): number => Math.floor(at / partMs);

/** When a service was asked for on the last days, by the time of day (UTC); JSON-able. */
export interface Popularity {
  /** The part that is being counted, since the epoch, what came in it, and until when that was counted. */
  part: number;
  came: number;
  countedUntil: Now;
  /** By part of the day: the share of days with any request, and how many came on such. */
  days: number[];
  requests: number[];
}

/** Counts what came since the last count; a part that is over becomes a part of the profile. */
export function counted(before: Popularity | undefined, arrivals: readonly number[], now: Now): Popularity {
  // arrivals are of whole seconds, the last of which ended now
  const until = Math.floor(now / 1000) * 1000;
  if (before === undefined) return { part: partOf(until), came: 0, countedUntil: until, days: [], requests: [] };
  if (until <= before.countedUntil) return before;
  const next = { ...before, countedUntil: until, days: [...before.days], requests: [...before.requests] };
  const first = Math.max(before.countedUntil, until - 1000 * arrivals.length);
  for (let from = first; from < until; from += 1000) {
    end(next, partOf(from));
    next.came += arrivals[arrivals.length - (until - from) / 1000] ?? 0;
  }
  end(next, partOf(until));
  return next;
}

/** Ends the parts before this one; those that nobody looked at saw nothing. */
function end(profile: Popularity, part: number): void {
  for (let over = Math.max(profile.part, part - parts); over < part; over++) {
    fold(profile, over % parts, over === profile.part ? profile.came : 0);
    if (over === part - 1) [profile.part, profile.came] = [part, 0];
  }
}

function fold(profile: Popularity, at: number, came: number): void {
  const days = profile.days[at] ?? 0;
  profile.days[at] = days + weight * ((came > 0 ? 1 : 0) - days);
  if (came > 0) profile.requests[at] = profile.requests[at] === undefined ? came : profile.requests[at] + weight * (came - profile.requests[at]);
  // places that were never written read as nothing
  for (let i = 0; i < at; i++) {
    profile.days[i] ??= 0;
    profile.requests[i] ??= 0;
  }
  profile.requests[at] ??= 0;
}

/** How likely a request is within so long from now, by the last days; requests of a part come as Poisson's do. */
export function likelihood({ days, requests }: Popularity, now: Now, withinMs: number): number {
  let none = 1;
  for (let from = now; from < now + withinMs; ) {
    const until = Math.min(now + withinMs, (Math.floor(from / partMs) + 1) * partMs);
    const at = Math.floor(from / partMs) % parts;
    none *= 1 - (days[at] ?? 0) * (1 - Math.exp((-(requests[at] ?? 0) * (until - from)) / partMs));
    from = until;
  }
  return 1 - none;
}

/** Whether a replica had better be there, by the time it could be: in words why. */
export function expected(profile: Popularity, now: Now, coldStartMs: number): string | undefined {
  const p = likelihood(profile, now, 2 * coldStartMs);
  return p >= likely ? `at this time of day a request within ${Math.round((2 * coldStartMs) / 1000)} s is likely (${Math.round(p * 100)} %)` : undefined;
}
