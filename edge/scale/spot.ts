import type { Now } from "../../schema/clock.ts";
import type { Region } from "../../schema/region.ts";
import { isOver } from "../../schema/replica.ts";
import type { ScaleHost, ScaleReplica, Target } from "../../schema/scale.ts";

/** What is remembered of one zone's spot hosts. Plain values: a Scaler keeps them as JSON. */
export interface ZoneMemory {
  region: Region;
  zone?: string;
  /** So many were wanted there at the last look. */
  planned: number;
  /** Those that were there then: digest by id. */
  seen: Record<string, string>;
  /** How long at least one, two, … replicas have been there; and how often the first, second, … was lost while those before it stayed. */
  upMs: number[];
  losses: number[];
  /** When one was lost there, or could not be placed, and how often that was so since all that were wanted were there. */
  failedAt?: Now;
  fails: number;
  /** By SpotHedge's lists: not ACTIVE. */
  preempted?: boolean;
}

export interface SpotMemory {
  at?: Now;
  zones: Record<string, ZoneMemory>;
  /** When replicas were lost, the latest last. */
  lossesAt: Now[];
  /** SpotHedge's last tick. */
  tickAt?: Now;
}

/** A zone's spot hosts as they are now. */
export interface SpotZone {
  key: string;
  /** There, or told to be there and not spoken of yet; of the versions that are wanted. */
  alive: number;
  /** Of them: spoken of. */
  there: number;
  ready: number;
  /** Gone since the last look without having been sent away. */
  lost: number;
  /** Wanted there, and without a host. */
  lacking: number;
  /** How many more fit. */
  room: number;
  /** Of the cheapest host with room, or of any. */
  priceMicroUsd: number | undefined;
  reclaims: number;
  warm: boolean;
  memory: ZoneMemory;
}

/** A zone that nobody has been in for so long, and that has no host any more, is forgotten. */
const forgottenMs = 24 * 3_600_000;
/** Losses that are remembered by their time. */
const lossesMax = 50;

export const zoneKey = (region: Region, zone: string | undefined): string => `${region}/${zone ?? ""}`;

/** A lack as a Hub tells of it, and whose it is. */
export type Lack = { region: Region; count: number; reason: string } & Pick<Target, "zone" | "spot">;

export interface SpotFacts {
  hosts: readonly ScaleHost[];
  replicas: readonly ScaleReplica[];
  unplaced: readonly Lack[];
  /** Digests that are wanted: what is of another one goes because it was sent away. */
  digests: ReadonlySet<string>;
  /** Regions whose Hubs were heard; absent: all. Of the others nothing is learned. */
  heard?: readonly Region[];
}

/** One that takes requests, and will. */
export function isServing({ phase, reachable, leaving }: ScaleReplica): boolean {
  return phase === "ready" && reachable && !leaving;
}

/** One that is there or will be: neither ended nor on a host that goes. */
export function isThere({ phase, leaving }: ScaleReplica): boolean {
  return !leaving && phase !== "draining" && phase !== "stopping" && (!isOver(phase) || phase === "failed");
}

/**
 * What has become of each zone since the last look: what was lost, what lacks a host. A replica that is wanted and that nobody has
 * spoken of is on the way.
 */
export function lookAtZones({ hosts, replicas, unplaced, digests, heard }: SpotFacts, before: SpotMemory | undefined, now: Now): { zones: SpotZone[]; memory: SpotMemory } {
  const elapsedMs = Math.max(0, now - (before?.at ?? now));
  const here = Map.groupBy(hosts.filter(({ spot }) => spot === true), ({ region, zone }) => zoneKey(region, zone));
  const there = Map.groupBy(replicas.filter((one) => one.spot === true && digests.has(one.digest) && isThere(one)), ({ region, zone }) => zoneKey(region, zone));
  const known = Object.entries(before?.zones ?? {}).filter(([key, { failedAt, planned }]) => here.has(key) || planned > 0 || now - (failedAt ?? 0) < forgottenMs).map(([key]) => key);
  const silent = Object.entries(before?.zones ?? {}).filter(([, { region }]) => heard?.includes(region) === false);
  const isHeard = (key: string): boolean => silent.every(([other]) => other !== key);
  const zones = [...new Set([...known, ...here.keys(), ...there.keys()])].filter(isHeard).sort().map((key): SpotZone => {
    const own = there.get(key) ?? [];
    const places = here.get(key) ?? [];
    const was = before?.zones[key];
    const { region, zone } = was ?? places[0] ?? (own[0] as ScaleReplica);
    const now0: ZoneMemory = was ?? { region, ...(zone === undefined ? {} : { zone }), planned: 0, seen: {}, upMs: [], losses: [], fails: 0 };
    const ids = new Set(own.map(({ id }) => id));
    const seen = Object.entries(now0.seen).filter(([, digest]) => digests.has(digest));
    const stayed = seen.filter(([id]) => ids.has(id)).length;
    const lost = Math.max(0, Math.min(seen.length, now0.planned) - stayed);
    const lacking = unplaced.reduce((sum, lack) => (lack.spot === true && zoneKey(lack.region, lack.zone) === key ? sum + lack.count : sum), 0);
    const coming = Math.max(0, now0.planned - own.length - lost - lacking);
    const usable = places.filter((host) => host.usable);
    const roomy = usable.filter(({ room }) => room > 0);
    const prices = (roomy.length > 0 ? roomy : places).flatMap(({ priceMicroUsd }) => (priceMicroUsd === undefined ? [] : [priceMicroUsd]));

    const upMs = [...now0.upMs];
    for (let i = 0; i < stayed; i++) upMs[i] = (upMs[i] ?? 0) + elapsedMs;
    const losses = [...now0.losses];
    for (let i = 0; i <= stayed; i++) losses[i] ??= 0;
    if (lost > 0) losses[stayed] = (losses[stayed] ?? 0) + 1;
    const failed = lost > 0 || lacking > 0;
    const { failedAt: _, ...kept } = now0;
    const failedAt = failed ? now : now0.failedAt;
    return {
      key, alive: own.length + coming, there: own.length, ready: own.filter(isServing).length, lost, lacking,
      room: usable.reduce((sum, { room }) => sum + room, 0),
      priceMicroUsd: prices.length === 0 ? undefined : Math.min(...prices),
      reclaims: Math.max(0, ...places.map(({ reclaims }) => reclaims)),
      warm: roomy.some(({ warm }) => warm),
      memory: {
        ...kept, upMs, losses, seen: Object.fromEntries(own.map(({ id, digest }) => [id, digest])), ...(failedAt === undefined ? {} : { failedAt }),
        fails: failed ? now0.fails + 1 : own.length > 0 ? 0 : now0.fails,
      },
    };
  });
  const lossesAt = [...(before?.lossesAt ?? []), ...(zones.some(({ lost }) => lost > 0) ? [now] : [])].slice(-lossesMax);
  return { zones, memory: { at: now, zones: Object.fromEntries([...silent, ...zones.map(({ key, memory }) => [key, memory] as const)]), lossesAt, ...(before?.tickAt === undefined ? {} : { tickAt: before.tickAt }) } };
}

/** What is wanted on spot hosts, and what may stand in for it. */
export interface SpotWanted {
  /** Replicas on spot hosts. */
  spot: number;
  /** Always on demand. */
  base: number;
  /** On demand for what is not ready of those on spot. */
  dynamic: boolean;
  /** Without overprovision. */
  needed: number;
  /** So many at most, all together. */
  max: number;
  /** Ready, of any version. */
  readySpot: number;
  readyOnDemand: number;
}

export interface SpotPlan {
  /** By zone's key. */
  zones: Map<string, number>;
  onDemand: number;
  reasons: string[];
}
