import type { Now } from "../../schema/clock.ts";
import { quarantinedMax, quarantineMs, type Quarantine } from "../../schema/quarantine.ts";

/** Those that are not over. */
export function lasting(known: readonly Quarantine[], now: Now): Quarantine[] {
  return known.filter(({ until }) => until > now);
}

/**
 * What a Hub keeps after it was told of more: nothing twice, nothing for longer than a quarantine lasts whatever a clock elsewhere
 * says, and of each account and in all only the latest so many.
 */
export function added(known: readonly Quarantine[], told: readonly Quarantine[], now: Now): Quarantine[] {
  const kept = new Map<string, Quarantine>();
  for (const { account, fingerprint, until } of [...known, ...told]) {
    const key = `${fingerprint} ${account}`;
    const latest = Math.max(kept.get(key)?.until ?? 0, Math.min(until, now + quarantineMs));
    kept.delete(key);
    kept.set(key, { account, fingerprint, until: latest });
  }
  const ofAccount = new Map<string, number>();
  const newest: Quarantine[] = [];
  for (const one of lasting([...kept.values()], now).toReversed()) {
    const count = (ofAccount.get(one.account) ?? 0) + 1;
    ofAccount.set(one.account, count);
    if (count <= quarantinedMax.account) newest.push(one);
  }
  return newest.slice(0, quarantinedMax.all).toReversed();
}
