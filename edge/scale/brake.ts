import type { Now } from "../../schema/clock.ts";
import { linkTimes } from "../../schema/protocol.ts";

/** Beyond this share of hosts lost at once, it is more likely the fleet's network or its Hub than the hosts (facts/failures.md §2: Kubernetes' 55 %). */
export const shareMax = 0.55;
/** Of fewer hosts that many are soon lost by chance, and whoever is left had better take over. */
export const hostsMin = 3;
/** "At once": within so long (facts/failures.md §2). */
export const windowMs = 15_000;
/** Held for so long after it was last pressed: an agent's wait between two connections is 30 s at most. */
export const settleMs = 30_000;
/** So long a loss may look like a mistake; then it is believed, and what was lost is started elsewhere (Kubernetes evicts after five minutes). */
export const heldMsMax = 300_000;

/** A host as the brake sees it. */
export interface BrakeHost {
  /** Since when nothing is heard of it; undefined: it is there. */
  missingSince: Now | undefined;
}

/** The brake is on: what is lost keeps its places, and nothing is moved. */
export interface Brake {
  since: Now;
  /** When so many were last missing. */
  pressedAt: Now;
  /** At that time. */
  missing: number;
  of: number;
}

/** Since when a host is missing: from its link's end, or from the first heartbeat that did not come. */
export function missingSince(heardAt: Now, linkUp: boolean, lostAt: Now | undefined, now: Now): Now | undefined {
  if (!linkUp) return lostAt ?? heardAt;
  return now - heardAt > 1.5 * linkTimes.heartbeatMs ? heardAt + linkTimes.heartbeatMs : undefined;
}

/**
 * Whether more hosts were lost within a few seconds than can be believed. Those that had gone before count neither way.
 *
 * @param was the brake as it was; undefined: off
 */
export function brake(was: Brake | undefined, hosts: readonly BrakeHost[], now: Now): Brake | undefined {
  // the clock was set back: its time begins now
  const before = was !== undefined && was.since > now ? { ...was, since: now, pressedAt: now } : was;
  // while the brake is on, those count that it was put on for
  const from = (before === undefined ? now : before.since) - windowMs;
  const missing = hosts.filter(({ missingSince: since }) => since !== undefined && since >= from).length;
  const of = missing + hosts.filter(({ missingSince: since }) => since === undefined).length;
  const isPressed = of >= hostsMin && missing > shareMax * of;
  if (before === undefined) return isPressed ? { since: now, pressedAt: now, missing, of } : undefined;
  if (now - before.since >= heldMsMax || missing === 0) return undefined;
  if (isPressed) return { ...before, pressedAt: now, missing, of };
  return now - before.pressedAt < settleMs ? before : undefined;
}

/** When a brake that is on may be off by itself. */
export function nextLook({ since, pressedAt }: Brake): Now {
  return Math.min(since + heldMsMax, pressedAt + settleMs);
}

export function brakeReason({ missing, of }: Brake): string {
  return `${missing} of ${of} hosts were lost at once: nothing is moved until they are back, for ${heldMsMax / 60_000} minutes at most`;
}
