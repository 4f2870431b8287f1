import type { Path, Report } from "./problem.ts";
import type { PoolYaml } from "./scaleYaml.ts";
import type { ServiceYaml } from "./serviceYaml.ts";

const forbidden = ["replicas", "replica_policy", "ports", "tls", "load_balancing_policy"] as const;
const sizes = ["workers", "min_workers", "max_workers", "queue_length_threshold"] as const;

/** Whether a `service:` section is a pool of workers. */
export function isPool(service: ServiceYaml): boolean {
  return (service.pool != null && service.pool !== false) || sizes.some((field) => service[field] != null);
}

/** How large a pool is that `service:` says, wherever in it it is said. */
export function poolOf(service: ServiceYaml): { pool: PoolYaml; at: Path } {
  if (typeof service.pool === "number") return { pool: { workers: service.pool }, at: ["service", "pool"] };
  if (typeof service.pool === "object" && service.pool !== null) return { pool: { ...service.pool, workers: service.pool.workers ?? service.workers }, at: ["service", "pool"] };
  return { pool: service, at: ["service"] };
}

/** The rules of a pool within `service:`, as SkyServe has them (facts/skyserve-compat.md §2). */
export function checkPool(service: ServiceYaml, report: Report): void {
  if (!isPool(service)) return;
  for (const field of forbidden) if (service[field] != null) report("error", ["service", field], "cannot be used with a pool of workers");
  const probe = service.readiness_probe;
  if (probe != null && typeof probe === "object") {
    for (const field of ["headers", "post_data"] as const) if (probe[field] != null) report("error", ["service", "readiness_probe", field], "cannot be used with a pool of workers");
  }
  const { pool, at } = poolOf(service);
  checkPoolSizes(pool, at, report);
}

/** How large a pool may be, of itself and under `pool:`. */
export function checkPoolSizes(pool: PoolYaml, at: Path, report: Report): void {
  const { workers, min_workers: min, max_workers: max } = pool;
  if (workers == null && max == null) report("error", at, "needs workers or max_workers");
  if (max == null) {
    for (const field of ["min_workers", "queue_length_threshold", "upscale_delay_seconds", "downscale_delay_seconds"] as const) {
      if (pool[field] != null) report("error", [...at, field], "needs max_workers");
    }
  } else if (min != null) {
    if (min > max) report("error", [...at, "min_workers"], `is ${min}, above max_workers, which is ${max}`);
  } else if ((workers ?? 1) > max) report("error", [...at, "max_workers"], workers == null ? "is 0, and a pool has one worker at least unless min_workers is 0" : `is ${max}, below workers, which is ${workers}`);
}
