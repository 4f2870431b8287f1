import type { Random, Now } from "../../schema/clock.ts";
import type { ScalePolicy } from "../../schema/policy.ts";
import type { Region } from "../../schema/region.ts";
import type { Desire, ScaleHost, ScaleReplica, Target } from "../../schema/scale.ts";
export type PlaceState = Record<string, never>;
export function place({ wanted, homes }: { policy: ScalePolicy; wanted: { version: number; digest: string; count: number }[]; needed: number; hosts: ScaleHost[]; replicas: ScaleReplica[]; unplaced: unknown[]; homes: Region[]; before?: Desire["regions"] }, _state: PlaceState | undefined, _now: Now, _random: Random): { regions: Partial<Record<Region, Target[]>>; state: PlaceState; reasons: string[] } {
  return { regions: Object.fromEntries(homes.map((home, i) => [home, wanted.map(({ version, digest, count }) => ({ version, digest, count: Math.floor(count / homes.length) + (i < count % homes.length ? 1 : 0) }))])), state: {}, reasons: [] };
}
