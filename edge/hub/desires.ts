import type { Bundle, FleetService } from "../../schema/bundle.ts";
import type { Region } from "../../schema/region.ts";
import type { Desire, ServiceScale } from "../../schema/scale.ts";
import type { Task } from "../../schema/task.ts";
import type { AssignService } from "../scale/assign.ts";

type Tasks = ReadonlyMap<string, Omit<Task, "sealedSecrets">>;

/** What Scalers want, kept in a Hub's storage: `desire:<service>`, the latest of each. */
export class Desires {
  readonly #kv: DurableObjectStorage["kv"];
  readonly #known = new Map<string, Desire>();

  constructor(kv: DurableObjectStorage["kv"]) {
    this.#kv = kv;
    for (const [, desire] of kv.list<Desire>({ prefix: "desire:" })) this.#known.set(desire.service, desire);
  }

  of(service: string): Desire | undefined {
    return this.#known.get(service);
  }

  all(): Desire[] {
    return [...this.#known.values()];
  }

  /** @returns whether it is news: one that is late or repeated is not */
  take(desire: Desire): boolean {
    if (desire.generation <= (this.#known.get(desire.service)?.generation ?? 0)) return false;
    this.#known.set(desire.service, desire);
    this.#kv.put(`desire:${desire.service}`, desire);
    return true;
  }

  /** Services that are no more. */
  keepOnly(services: ReadonlySet<string>): void {
    for (const service of this.#known.keys()) {
      if (services.has(service)) continue;
      this.#known.delete(service);
      this.#kv.delete(`desire:${service}`);
    }
  }

  /** What isolates are told. */
  scales(): ServiceScale[] {
    return this.all().flatMap(({ service, rollout }) => (rollout?.shares === undefined ? [] : [{ service, shares: rollout.shares }]));
  }
}

/**
 * What of a service is wanted in a region: what its Scaler said last, and what the bundle says as long as it has said nothing. A
 * Scaler that has not seen the latest version yet is waited for: it may want only a little of it.
 */
export function targetsOf({ task, replicas, policy }: FleetService, desire: Desire | undefined, region: Region, tasks: Tasks): AssignService {
  const fromBundle: AssignService = { service: task.service, targets: [{ task, count: replicas[region] ?? 0 }] };
  if (policy === undefined || desire === undefined) return fromBundle;
  const targets = (desire.regions[region] ?? []).flatMap(({ digest, version, ...where }) => {
    const known = digest === task.digest ? task : tasks.get(digest);
    return known === undefined ? [] : [{ task: digest === task.digest ? known : { ...known, version }, ...where }];
  });
  return { service: task.service, targets: targets.length === 0 ? [{ task, count: 0 }] : targets };
}

/** Services whose Scaler has not yet said what it makes of the configuration as it is. */
export function unseen({ fleet }: Bundle, desires: Desires): string[] {
  return fleet.services.flatMap(({ policy, task }) => (policy !== undefined && desires.of(task.service)?.version !== task.version ? [task.service] : []));
}
