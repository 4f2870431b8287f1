import type { FleetHost } from "../../schema/bundle.ts";
import type { Now } from "../../schema/clock.ts";
import type { Region } from "../../schema/region.ts";
import type { ScaleHost } from "../../schema/scale.ts";
import { room, type AssignHost, type AssignTask, type FitFacts } from "../scale/fit.ts";
import type { Held } from "../scale/occupied.ts";
import { isLost, leavingReason, type HostRow } from "./roster.ts";

/** Agents of this protocol and later know images; an earlier one would run such a task on the host itself. */
const imagesSince = 3;

/** What of a Hub's knowledge hosts are judged by. */
export interface KindFacts {
  rows: ReadonlyMap<string, HostRow>;
  awakeSince: Now;
  /** What is lost keeps its places, and nothing is moved. */
  braked: boolean;
  /** Reclaims of the last day, by zone; absent: not counted. */
  reclaims?: ReadonlyMap<string, number>;
  /** Digests that a host would not run, by host; absent: none is remembered. */
  refusals?: ReadonlyMap<string, ReadonlySet<string>>;
  /** Replicas that a host refused so long ago that it is asked again, by host; absent: none. */
  overdue?: ReadonlyMap<string, ReadonlySet<string>>;
}

/** Hosts as placing sees them. */
export function assignHosts(hosts: readonly FleetHost[], { rows, awakeSince, braked, reclaims, refusals, overdue }: KindFacts, now: Now): AssignHost[] {
  return hosts.map((host) => {
    const { id, revoked } = host;
    const row = rows.get(id);
    const silent = isLost(row, now, awakeSince);
    const lost = revoked || (silent && !braked);
    const leaving = leavingReason(row, host) !== undefined;
    const { warm, ...kind } = row?.kind ?? {};
    const refused = refusals?.get(id);
    const askedAgain = overdue?.get(id);
    const reclaimed = kind.zone === undefined ? undefined : reclaims?.get(kind.zone);
    return {
      id, usable: !lost && !silent && (row?.linkUp ?? false) && !leaving, leaving, lost, gpus: row?.gpus ?? 0, images: (row?.protocol ?? 1) >= imagesSince, ...kind,
      ...(warm === undefined ? {} : { warm: new Set(warm) }), ...(reclaimed === undefined ? {} : { reclaims: reclaimed }),
      ...(refused === undefined ? {} : { refused }), ...(askedAgain === undefined ? {} : { overdue: askedAgain }), ...(row?.diskFull === true ? { full: true } : {}),
    };
  });
}

export interface ScaleHostFacts extends FitFacts {
  region: Region;
  /** A service's current version. */
  task: AssignTask;
  hosts: readonly AssignHost[];
  /** All that is assigned in the region. */
  held: readonly Held[];
}

/** Hosts as a Scaler sees them for one service; those that are lost are not there. */
export function scaleHosts({ region, task, hosts, held, ...facts }: ScaleHostFacts): ScaleHost[] {
  const there = Map.groupBy(held, ({ host }) => host);
  return hosts.filter(({ lost }) => !lost).map((host) => {
    const { id, usable, zone, spot, accelerator, priceMicroUsd, warm, reclaims } = host;
    return {
      id, region, usable, room: room(facts, task, host, there.get(id) ?? []), warm: warm?.has(task.digest) === true, reclaims: reclaims ?? 0,
      ...(zone === undefined ? {} : { zone }), ...(spot === undefined ? {} : { spot }), ...(accelerator === undefined ? {} : { accelerator }), ...(priceMicroUsd === undefined ? {} : { priceMicroUsd }),
    };
  });
}
