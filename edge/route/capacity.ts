import { qpsOn } from "../../schema/accelerator.ts";
import type { Pool } from "./pool.ts";

const known = new WeakMap<Pool, { qps: Readonly<Record<string, number>>; shares: Float32Array }>();

/**
 * What each of a pool's replicas can take, in what the weakest kind can, by the service's rates for accelerators: 1 or more, and 1 for a
 * host that does not say what it has. As SkyServe's `instance_aware_least_load` does, whose loads are divided by these rates. Worked out
 * once a pool.
 *
 * @param qps requests/s by accelerator
 */
export function capacities(pool: Pool, qps: Readonly<Record<string, number>>): Float32Array {
  const before = known.get(pool);
  if (before?.qps === qps) return before.shares;
  const least = qpsOn(qps, undefined);
  const shares = Float32Array.from(pool.rows, ({ host }) => qpsOn(qps, host.accelerator) / least);
  known.set(pool, { qps, shares });
  return shares;
}
