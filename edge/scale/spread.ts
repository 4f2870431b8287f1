import type { Region } from "../../schema/region.ts";
import type { ScaleHost } from "../../schema/scale.ts";

/** A region as placing weighs it. */
export interface RegionRoom {
  region: Region;
  /** Replicas that are there and stay. */
  there: number;
  /** How many more fit. */
  room: number;
  warm: boolean;
  reclaims: number;
  priceMicroUsd: number;
}

/** What regions offer, of hosts of a kind. What says no price is there anyway. */
export function roomsOf(regions: readonly Region[], hosts: readonly ScaleHost[], there: (region: Region) => number): RegionRoom[] {
  return regions.map((region) => {
    const own = hosts.filter((host) => host.region === region && host.usable && host.room > 0);
    return {
      region, there: there(region),
      room: own.reduce((sum, { room }) => sum + room, 0),
      warm: own.some(({ warm }) => warm),
      reclaims: own.length === 0 ? 0 : Math.min(...own.map(({ reclaims }) => reclaims)),
      priceMicroUsd: own.length === 0 ? 0 : Math.min(...own.map(({ priceMicroUsd }) => priceMicroUsd ?? 0)),
    };
  });
}

/**
 * How many replicas each region has: those that are there stay; what is missing goes where there is room, not all to one region, then
 * where weights are near, where fewer hosts were reclaimed, where it costs less, where fewest are; what is too many goes where most are.
 * What has room nowhere is wanted in the first region, whose Hub says what it lacks.
 */
export function spread(rooms: readonly RegionRoom[], count: number): Map<Region, number> {
  const counts = new Map(rooms.map(({ region, there }) => [region, there]));
  const of = (region: Region): number => counts.get(region) ?? 0;
  const sum = (): number => [...counts.values()].reduce((all, one) => all + one, 0);
  for (let missing = count - sum(); missing > 0; missing--) {
    const roomy = rooms.filter(({ region, there, room }) => of(region) < there + room);
    const onlyOne = [...counts.values()].filter((one) => one > 0).length === 1;
    const [best] = roomy.toSorted((a, b) =>
      (onlyOne ? Number(of(a.region) > 0) - Number(of(b.region) > 0) : 0) || Number(b.warm) - Number(a.warm) || a.reclaims - b.reclaims || a.priceMicroUsd - b.priceMicroUsd || of(a.region) - of(b.region));
    const region = (best ?? rooms[0])?.region;
    if (region === undefined) break;
    counts.set(region, of(region) + 1);
  }
  for (let surplus = sum() - count; surplus > 0; surplus--) {
    const most = rooms.toReversed().reduce<RegionRoom | undefined>((best, one) => (best === undefined || of(one.region) > of(best.region) ? one : best), undefined);
    if (most === undefined) break;
    counts.set(most.region, of(most.region) - 1);
  }
  return counts;
}
