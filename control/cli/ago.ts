import type { Now } from "../../schema/clock.ts";

/** SkyPilot's units (`sky/utils/log_utils.py`), the largest first, each in ms. */
const units: readonly (readonly [string, number])[] = [["week", 604_800_000], ["day", 86_400_000], ["hr", 3_600_000], ["min", 60_000], ["sec", 1_000]];

/** Below it SkyPilot counts no seconds. */
const fewSecondsMs = 11_000;

/**
 * How long ago something was, as `sky serve status` says when a replica was launched: in one unit.
 *
 * @example agoInWords(now - 200_000, now) // "3 mins ago"
 */
export function agoInWords(at: Now | undefined, now: Now): string {
  if (at === undefined) return "-";
  const ms = Math.max(0, now - at);
  const [name, unitMs] = units.find(([, one]) => ms >= one) ?? ["sec", 1_000];
  if (ms < fewSecondsMs) return "a few secs ago";
  const count = Math.floor(ms / unitMs);
  return `${count} ${name}${count === 1 ? "" : "s"} ago`;
}
