import type { Now } from "../../schema/clock.ts";
import { formatDuration } from "../../schema/units.ts";
import type { ServiceView } from "../status.ts";
import { saidPolicy } from "./scaleWords.ts";
import { table } from "./table.ts";

const percent = (share: number): string => `${Math.round(share * 1000) / 10} %`;

/** What Scalers decided last, the newest first; undefined where none has. */
export function decisionsTable(services: readonly ServiceView[], now: Now): string | undefined {
  const rows = services
    .flatMap(({ name, decisions = [] }) => decisions.map((decision) => ({ name, ...decision })))
    .toSorted((a, b) => b.at - a.at)
    .map(({ name, at, action, desired, reason }) => [`${formatDuration(Math.max(0, now - at))} ago`, name, action, desired, reason]);
  return rows.length === 0 ? undefined : table(["WHEN", "SERVICE", "ACTION", "REPLICAS", "REASON"], rows);
}

/** Where rollouts stand, and how they went; undefined where there was none. */
export function rolloutsTable(services: readonly ServiceView[]): string | undefined {
  const rows = services.flatMap(({ name, rollout }) => {
    if (rollout === undefined) return [];
    const { mode, state, version, from, step, steps, shares, reason } = rollout;
    const shared = shares === undefined ? "-" : Object.entries(shares).map(([of, share]) => `${of}: ${percent(share)}`).join(", ");
    return [[name, mode, state, from === undefined ? version : `${from} -> ${version}`, step === undefined ? "-" : `${step}/${steps ?? "?"}`, shared, reason]];
  });
  return rows.length === 0 ? undefined : table(["SERVICE", "MODE", "STATE", "VERSIONS", "STEP", "SHARES", "REASON"], rows);
}

/** What a service's file asks for, in SkyServe's columns: AUTOSCALING_POLICY, LOAD_BALANCING_POLICY, REQUESTED_RESOURCES. */
export function askedCells({ asks, selfHosted }: ServiceView): string[] {
  if (asks === undefined) return ["-", "-", "-"];
  const { strategy, gpus = 0, accelerators = [], places = [] } = asks;
  const machines = accelerators.length > 0 ? accelerators.map(({ name, count }) => `${name}:${count}`).join(" or ") : gpus > 0 ? `GPU:${gpus}` : "";
  const where = places.map(({ cloud, region, zone }) => [cloud, region, zone].filter((part) => part !== undefined).join("/")).filter((place) => place !== "");
  const spot = places.length > 0 && places.every((place) => place.spot === true) ? ["spot"] : [];
  const resources = [machines, ...(where.length === 0 ? [] : [where.join(" or ")]), ...spot].filter((part) => part !== "").join(", ");
  return [(selfHosted ? saidPolicy({ ...asks, task: selfHosted }) : undefined) ?? "-", strategy, resources === "" ? "-" : resources];
}
