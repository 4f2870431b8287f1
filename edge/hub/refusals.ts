import type { Now } from "../../schema/clock.ts";
import type { AssignedReplica } from "../../schema/protocol.ts";
import { isOver } from "../../schema/replica.ts";
import type { RefusalStatus } from "../../schema/snapshot.ts";
import type { HostRow } from "./roster.ts";

/** A host that would not run a version is believed for so long: its owner may have changed his mind, or an image have come, and a try costs little. */
export const refusalsForMs = 600_000;
/** Twice as long after each refusal in a row, up to an hour: as seldom as Nomad tries a service at last that nothing runs (`reschedule.max_delay`). */
export const refusalsForMsMax = 3_600_000;
/** The oldest go first: thirty versions that thirty hosts refuse. */
export const refusalsMax = 1_000;

/** A host would not run a version. */
export interface Refused {
  host: string;
  digest: string;
  /** The session in which it said so: an agent that is started anew may read another configuration. */
  epoch: number;
  at: Now;
  /** The replicas of which it said so; absent: in what was kept before this was known. */
  said?: readonly string[];
  /** How many times in a row; absent: once. */
  times?: number;
}

type Rows = ReadonlyMap<string, Pick<HostRow, "id" | "epoch" | "saidIn" | "replicas">>;

const believedMs = ({ times = 1 }: Refused): number => Math.min(refusalsForMsMax, refusalsForMs * 2 ** (times - 1));
/** Until when it is believed; it is remembered for as long again, so that the next one is known to follow it. */
const endOf = (one: Refused): Now => one.at + believedMs(one);
const isBelieved = (one: Refused, now: Now): boolean => one.at <= now && now < endOf(one);
const isRemembered = (one: Refused, now: Now): boolean => one.at <= now && now < endOf(one) + believedMs(one);

/** The host has begun a replica of it: its processes had a port, were ready, or failed by themselves. */
function hasBegun(rows: Rows, { host, digest }: Pick<Refused, "host" | "digest">): boolean {
  return rows.get(host)?.replicas.some((one) => one.digest === digest && (one.wasReady || (isOver(one.phase) ? one.phase === "failed" && one.refused !== true : one.port !== undefined))) === true;
}

/** What hosts say in their present session that they would not run: ids of replicas, by digest. */
function saidBy({ epoch, saidIn, replicas }: Pick<HostRow, "epoch" | "saidIn" | "replicas">): Map<string, string[]> {
  const said = new Map<string, string[]>();
  // what it said in an earlier session is not its word now
  if (saidIn !== epoch) return said;
  for (const { id, digest, phase, refused } of replicas) if (phase === "failed" && refused === true) said.set(digest, [...(said.get(digest) ?? []), id]);
  return said;
}

/**
 * What is known of refusals after a look at the roster. A refusal is believed for a while; of a replica that is asked for after that, it is
 * another one in a row.
 *
 * @returns the same list when nothing is new
 */
export function refusalsAfter(known: readonly Refused[], rows: Rows, now: Now): readonly Refused[] {
  const kept = known.filter((one) => isRemembered(one, now) && rows.get(one.host)?.epoch === one.epoch && !hasBegun(rows, one));
  const byKey = new Map(kept.map((one) => [`${one.host} ${one.digest}`, one]));
  const news: Refused[] = [];
  for (const row of rows.values()) {
    for (const [digest, ids] of saidBy(row)) {
      const { id: host, epoch } = row;
      const before = byKey.get(`${host} ${digest}`);
      const said = before?.said ?? ids;
      if (before !== undefined && ids.every((id) => said.includes(id))) continue;
      const one: Refused = before === undefined ? { host, digest, epoch, at: now, said: ids, times: 1 } : isBelieved(before, now) ? { ...before, said: [...new Set([...said, ...ids])] } : { ...before, at: now, said: ids, times: (before.times ?? 1) + 1 };
      if (!hasBegun(rows, one)) news.push(one);
    }
  }
  if (news.length === 0) return kept.length === known.length ? known : kept;
  const anew = new Set(news.map(({ host, digest }) => `${host} ${digest}`));
  return [...kept.filter(({ host, digest }) => !anew.has(`${host} ${digest}`)), ...news].slice(-refusalsMax);
}

/** Digests by host. */
export function refusalsByHost(known: readonly Refused[], now: Now): Map<string, Set<string>> {
  const digests = new Map<string, Set<string>>();
  for (const one of known) if (isBelieved(one, now)) digests.set(one.host, (digests.get(one.host) ?? new Set()).add(one.digest));
  return digests;
}

/** Replicas that were refused so long ago that their hosts are asked again, by host. */
export function overdueByHost(known: readonly Refused[], now: Now): Map<string, Set<string>> {
  const ids = new Map<string, Set<string>>();
  for (const one of known) if (!isBelieved(one, now)) for (const id of one.said ?? []) ids.set(one.host, (ids.get(one.host) ?? new Set()).add(id));
  return ids;
}

/** What of a region's assigned replicas is left with a host that refuses it, by service and digest: how many hosts do, and when the first of them is asked again. */
export function refusalStatus(known: readonly Refused[], assigned: (host: string) => readonly AssignedReplica[], now: Now): RefusalStatus[] {
  const rows = new Map<string, RefusalStatus>();
  for (const { host, digest, said = [] } of known) {
    for (const { id, service, version } of assigned(host)) {
      if (!said.includes(id) || rows.has(`${service} ${digest}`)) continue;
      const own = known.filter((one) => one.digest === digest && isBelieved(one, now));
      if (own.length > 0) rows.set(`${service} ${digest}`, { service, version, hosts: own.length, againAt: Math.min(...own.map(endOf)) });
    }
  }
  return [...rows.values()];
}
