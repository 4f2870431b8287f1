import { Cron } from "croner";
import type { Now } from "../../schema/clock.ts";
import type { ScalePolicy, Schedule } from "../../schema/policy.ts";
import type { Bounds } from "./opinion.ts";

/** The bounds that hold now, and for how long nothing changes them. */
export interface Held extends Bounds {
  until: Now;
  /** What made them other than the policy's, for people. */
  reason?: string;
}

/** Without any schedule the bounds are looked at again after so long; a day is long for any. */
const longMs = 86_400_000;

/** The policy's bounds, or those of the schedules that hold at this time: of several the highest `min` and the highest `max`. */
export function boundsAt({ min, max, schedule }: ScalePolicy, now: Now): Held {
  let until = now + longMs;
  const held: Schedule[] = [];
  const problems: string[] = [];
  for (const entry of schedule) {
    const edges = edgesOf(entry, now);
    if (typeof edges === "string") problems.push(edges);
    else {
      until = Math.min(until, edges.next);
      if (edges.isHeld) held.push(entry);
    }
  }
  const said = problems.length === 0 ? {} : { reason: problems.join("; ") };
  if (held.length === 0) return { min, max: Math.max(min, max), until, ...said };
  const least = Math.max(...held.map((entry) => entry.min));
  const most = Math.max(least, ...held.map((entry) => entry.max ?? Math.max(max, entry.min)));
  return { min: least, max: most, until, reason: [...held.map(({ cron }) => `schedule "${cron}" asks for ${least} to ${most}`).slice(0, 1), ...problems].join("; ") };
}

/** Whether an entry holds, and when that changes next; in words what is wrong with it. */
function edgesOf({ cron, durationMs, timezone }: Schedule, now: Now): { isHeld: boolean; next: Now } | string {
  try {
    const times = new Cron(cron, { timezone, paused: true });
    // strictly after: what began exactly `durationMs` ago is over
    const begun = times.nextRun(new Date(now - durationMs))?.getTime();
    const next = times.nextRun(new Date(now))?.getTime() ?? now + longMs;
    const isHeld = begun !== undefined && begun <= now;
    return { isHeld, next: isHeld ? Math.min(next, begun + durationMs) : next };
  } catch (error) {
    return `schedule "${cron}" is left out: ${error instanceof Error ? error.message : String(error)}`;
  }
}
