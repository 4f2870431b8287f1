import { isAlive } from "../schema/replica.ts";
import type { RegionStatus, ScaleStatus } from "../schema/snapshot.ts";
import type { PreviousVersion, ServiceRow } from "../schema/tables.ts";

/** What a service's Scaler said last, as far as the regions heard of it. */
export function scaleOf(service: string, regions: readonly RegionStatus[]): ScaleStatus | undefined {
  const all = regions.flatMap(({ scales = [] }) => scales).filter((scale) => scale.service === service);
  const saidAt = ({ decisions }: ScaleStatus): number => decisions.at(-1)?.at ?? 0;
  return all.reduce<ScaleStatus | undefined>((best, one) => (best === undefined || one.version > best.version || (one.version === best.version && saidAt(one) > saidAt(best)) ? one : best), undefined);
}

/**
 * Whether all of a service runs its configured version, for what is known: a service without a Scaler rolls by itself, and one whose Scaler has
 * not seen the version yet is on its way. What replicas say is newer than what a Scaler says of them.
 */
function isWhole({ name, version }: Pick<ServiceRow, "name" | "version">, regions: readonly RegionStatus[]): boolean {
  const scale = scaleOf(name, regions);
  if (scale === undefined) return true;
  if (scale.version !== version) return false;
  const { rollout, desired } = scale;
  if (rollout === undefined || (rollout.state === "done" && rollout.shares === undefined)) return true;
  const alive = regions.flatMap(({ replicas }) => replicas).filter((replica) => replica.service === name && isAlive(replica.phase));
  return alive.length > 0 && alive.length >= desired && alive.every((replica) => replica.version === version && replica.phase === "ready");
}

/** What a new version replaces, and may go back to: the version before it, or while that is on its way itself, the last one that was whole. */
export function previousOf(before: Pick<ServiceRow, "name" | "version" | "spec" | "secrets" | "signed" | "previous">, regions: readonly RegionStatus[]): PreviousVersion | null {
  const { version, spec: { task }, secrets, signed } = before;
  if (!isWhole(before, regions)) return before.previous;
  return task === undefined ? null : { version, task, secrets, signed };
}
