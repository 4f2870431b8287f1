import type { Now, Random } from "../../schema/clock.ts";
import type { ScalePolicy } from "../../schema/policy.ts";
import type { Region } from "../../schema/region.ts";
import type { Desire, ScaleHost, ScaleReplica, Target } from "../../schema/scale.ts";
import { hedge } from "./hedge.ts";
import { mix, type Slots, type Wanted } from "./mix.ts";
import { isServing, isThere, lookAtZones, type Lack, type SpotMemory } from "./spot.ts";
import { spothedge } from "./spothedge.ts";
import { roomsOf, spread } from "./spread.ts";

/** What is kept between two looks, as JSON. */
export interface PlaceState {
  /** While replicas are wanted on spot hosts. */
  spot?: SpotMemory;
}

export interface PlaceFacts {
  policy: ScalePolicy;
  /** All versions that should be, each with its count. */
  wanted: readonly Wanted[];
  /** Without overprovision. */
  needed: number;
  hosts: readonly ScaleHost[];
  replicas: readonly ScaleReplica[];
  /** What of the latest desire has no host. */
  unplaced: readonly Lack[];
  /** Regions where replicas may be. */
  homes: readonly Region[];
  /** Regions whose Hubs were heard: the others go on as they were told before. Absent: all. */
  heard?: readonly Region[];
  before?: Desire["regions"];
}

export interface Placed {
  regions: Partial<Record<Region, Target[]>>;
  state: PlaceState;
  reasons: string[];
}

/**
 * Where a service's replicas should be, by region, zone and kind of host; which host is for each region's Hub to say (`assign`).
 * Idempotent: with the same facts it wants the same. Sums: what is wanted on spot and always on demand is what is `wanted`; beyond it is
 * only what stands in for spot replicas that are not ready.
 */
export function place(facts: PlaceFacts, state: PlaceState | undefined, now: Now, random: Random): Placed {
  const { policy, hosts, replicas } = facts;
  const { silent, wanted } = unheard(facts);
  const digests = new Set(wanted.map(({ digest }) => digest));
  const count = wanted.reduce((sum, one) => sum + one.count, 0);
  const homes = facts.homes.filter((region) => facts.heard?.includes(region) ?? true);
  const homesOrAny = homes.length > 0 ? homes : facts.homes.slice(0, 1);
  const { zones, memory } = policy.spot === undefined ? { zones: [], memory: undefined } : lookAtZones({ hosts, replicas, unplaced: facts.unplaced, digests, ...(facts.heard === undefined ? {} : { heard: facts.heard }) }, state?.spot, now);

  if (policy.spot === undefined || memory === undefined || zones.length === 0) {
    const slots = byRegion(homesOrAny, hosts, facts, digests, {}, count);
    const reasons = policy.spot === undefined ? [] : ["no host says that it is spot: replicas go wherever they fit"];
    return { regions: { ...everyHome(facts, mix(slots, wanted, replicas)), ...silent }, state: memory === undefined ? {} : { spot: memory }, reasons };
  }

  const { baseOnDemand, dynamicOnDemand, placer } = policy.spot;
  const needed = Math.min(facts.needed, count);
  // what is always on demand is no more than is needed, as in SkyServe; the rest is wanted on spot, so that none is missing
  const base = Math.min(baseOnDemand, needed);
  const serving = replicas.filter(isServing);
  const spotWanted = {
    spot: count - base, base, dynamic: dynamicOnDemand, needed, max: policy.max,
    readySpot: serving.filter(({ spot }) => spot === true).length, readyOnDemand: serving.filter(({ spot }) => spot !== true).length,
  };
  const plan = placer === "spothedge" ? spothedge(zones, spotWanted, memory, random) : hedge(zones, spotWanted, memory, now);
  const spots = zones.flatMap(({ key, memory: { region, zone } }): Slots[] => [{ region, ...(zone === undefined ? {} : { zone }), spot: true, count: plan.zones.get(key) ?? 0 }]);
  for (const [key, planned] of plan.zones) {
    const zone = memory.zones[key];
    if (zone !== undefined) zone.planned = planned;
  }
  const onDemand = byRegion(homesOrAny, hosts, facts, digests, { spot: false }, plan.onDemand);
  return { regions: { ...everyHome(facts, mix([...spots, ...onDemand], wanted, replicas)), ...silent }, state: { spot: memory }, reasons: plan.reasons };
}

/** What regions that nobody has heard go on with, and what is wanted beside that. */
function unheard({ wanted, heard, before = {} }: PlaceFacts): { silent: Partial<Record<Region, Target[]>>; wanted: Wanted[] } {
  const silent = Object.fromEntries(Object.entries(before).filter(([region]) => heard !== undefined && !heard.includes(region as Region)));
  const there = (digest: string): number => Object.values(silent).flat().reduce((sum, target) => (target.digest === digest ? sum + target.count : sum), 0);
  return { silent, wanted: wanted.map((one) => ({ ...one, count: Math.max(0, one.count - there(one.digest)) })) };
}

/** So many on hosts of a kind, by region. Those of old versions make room as they go. */
function byRegion(homes: readonly Region[], hosts: readonly ScaleHost[], { replicas }: PlaceFacts, digests: ReadonlySet<string>, kind: Pick<Target, "spot">, count: number): Slots[] {
  const isOfKind = ({ spot }: { spot?: boolean }): boolean => kind.spot === undefined || (spot ?? false) === kind.spot;
  const there = replicas.filter((one) => isThere(one) && isOfKind(one));
  const rooms = roomsOf(homes, hosts.filter(isOfKind), (region) => there.filter((one) => one.region === region && digests.has(one.digest)).length)
    .map((room) => ({ ...room, room: room.room + there.filter((one) => one.region === room.region && !digests.has(one.digest)).length }));
  return [...spread(rooms, count)].map(([region, own]) => ({ region, ...kind, count: own }));
}

/** A region of which nothing is said would go on as it was told. */
function everyHome({ homes, before = {} }: PlaceFacts, regions: Partial<Record<Region, Target[]>>): Partial<Record<Region, Target[]>> {
  return { ...Object.fromEntries([...Object.keys(before), ...homes].map((region) => [region, [] as Target[]])), ...regions };
}
