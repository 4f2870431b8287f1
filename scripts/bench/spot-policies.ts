import { place, type PlaceState } from "../../edge/scale/place.ts";
import { scalePolicySchema } from "../../schema/policy.ts";
import type { ScaleHost, ScaleReplica } from "../../schema/scale.ts";
import { isReady, replicasWanted, type Instance, type SpotPolicy } from "./spot-day.ts";
import { tickS } from "./spot-traces.ts";

const began = 1_700_000_000_000;
const sum = (counts: readonly number[]): number => counts.reduce((all, one) => all + one, 0);

/** As many in each zone, whatever can be had. */
export const evenSpread = (extra: number): SpotPolicy => (zones) => () => {
  const count = replicasWanted + extra;
  return { spot: Array.from({ length: zones }, (_, zone) => Math.floor(count / zones) + (zone < count % zones ? 1 : 0)), onDemand: 0 };
};

/** What is missing goes to one zone after the other. */
export const roundRobin = (extra: number): SpotPolicy => (zones) => {
  let turn = 0;
  return ({ spot }) => {
    const counts = spot.map(({ length }) => length);
    for (let missing = replicasWanted + extra - sum(counts); missing > 0; missing--) {
      const zone = turn++ % zones;
      counts[zone] = (counts[zone] ?? 0) + 1;
    }
    return { spot: counts, onDemand: 0 };
  };
};

export const onDemandOnly: SpotPolicy = (zones) => () => ({ spot: Array.from({ length: zones }, () => 0), onDemand: replicasWanted });

/** `place` as a Scaler runs it: it sees what runs, what was lost and what could not be had, and knows no capacities. */
export const placed = (placer: "default" | "spothedge", extra: number, dynamicOnDemand = true): SpotPolicy => (zones, random) => {
  const policy = scalePolicySchema.parse({ autoscaler: "fixed", min: replicasWanted, max: 100, overprovision: extra, spot: { placer, dynamicOnDemand } });
  const host = { region: "local", usable: true, room: 1_000, warm: false, reclaims: 0 } as const;
  const hosts: ScaleHost[] = [{ ...host, id: "on-demand", spot: false }, ...Array.from({ length: zones }, (_, zone) => ({ ...host, id: `zone${zone}`, zone: `zone${zone}`, spot: true }))];
  const common = { number: 1, version: 1, digest: "d", since: 0, region: "local", inFlight: 0, wasReady: true, leaving: false, reachable: true } as const;
  const replicaOf = (instance: Instance, kind: Pick<ScaleReplica, "host" | "zone" | "spot">): ScaleReplica => ({ ...common, ...kind, id: String(instance.id), phase: isReady(instance) ? "ready" : "starting" });
  let state: PlaceState | undefined;
  return ({ tick, spot, onDemand, lacking }) => {
    const { regions, state: after } = place({
      policy, wanted: [{ version: 1, digest: "d", count: replicasWanted + extra }], needed: replicasWanted, hosts, homes: ["local"],
      replicas: [...spot.flatMap((instances, zone) => instances.map((one) => replicaOf(one, { host: `zone${zone}`, zone: `zone${zone}`, spot: true }))), ...onDemand.map((one) => replicaOf(one, { host: "on-demand", spot: false }))],
      unplaced: lacking.flatMap((count, zone) => (count === 0 ? [] : [{ region: "local" as const, zone: `zone${zone}`, spot: true, count, reason: "no capacity" }])),
    }, state, began + tick * tickS * 1_000, random);
    state = after;
    const targets = regions.local ?? [];
    return {
      spot: Array.from({ length: zones }, (_, zone) => sum(targets.filter((target) => target.spot === true && target.zone === `zone${zone}`).map(({ count }) => count))),
      onDemand: sum(targets.filter((target) => target.spot === false).map(({ count }) => count)),
    };
  };
};
