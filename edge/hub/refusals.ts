import type { Now } from "../../schema/clock.ts";
import { isOver } from "../../schema/replica.ts";
import type { HostRow } from "./roster.ts";

/** A host that would not run a version is asked last for so long: its owner may have changed his mind, or an image have come, and a try costs little. */
export const refusalsForMs = 600_000;
/** The oldest go first: thirty versions that thirty hosts refuse. */
export const refusalsMax = 1_000;

/** A host would not run a version. */
export interface Refused {
  host: string;
  digest: string;
  /** The session in which it said so: an agent that is started anew may read another configuration. */
  epoch: number;
  at: Now;
}

type Rows = ReadonlyMap<string, Pick<HostRow, "id" | "epoch" | "saidIn" | "replicas">>;

const isFresh = ({ at }: Refused, now: Now): boolean => at <= now && now - at < refusalsForMs;

/**
 * What is known of refusals after a look at the roster.
 *
 * @returns the same list when nothing is new
 */
export function refusalsAfter(known: readonly Refused[], rows: Rows, now: Now): readonly Refused[] {
  const runs = ({ host, digest }: Refused): boolean => rows.get(host)?.replicas.some((one) => one.digest === digest && !isOver(one.phase)) === true;
  const fresh = known.filter((one) => isFresh(one, now) && rows.get(one.host)?.epoch === one.epoch && !runs(one));
  const keys = new Set(fresh.map(({ host, digest }) => `${host} ${digest}`));
  const news: Refused[] = [];
  for (const { id, epoch, saidIn, replicas } of rows.values()) {
    // what it said in an earlier session is not its word now
    if (saidIn !== epoch) continue;
    for (const { digest, phase, refused } of replicas) {
      if (phase !== "failed" || refused !== true || keys.has(`${id} ${digest}`)) continue;
      keys.add(`${id} ${digest}`);
      const one = { host: id, digest, epoch, at: now };
      if (!runs(one)) news.push(one);
    }
  }
  return news.length === 0 && fresh.length === known.length ? known : [...fresh, ...news].slice(-refusalsMax);
}

/** Digests by host. */
export function refusalsByHost(known: readonly Refused[], now: Now): Map<string, Set<string>> {
  const digests = new Map<string, Set<string>>();
  for (const one of known) if (isFresh(one, now)) digests.set(one.host, (digests.get(one.host) ?? new Set()).add(one.digest));
  return digests;
}
