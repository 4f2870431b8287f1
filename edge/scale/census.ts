import type { ScaleReplica } from "../../schema/scale.ts";
import { recentS, type Signals } from "./opinion.ts";
import { meanOf } from "./series.ts";

/** A service's replicas by what may be expected of them. */
export interface Census {
  /** They take requests, and their hosts stay. */
  ready: ScaleReplica[];
  /** They will, when nothing goes wrong. */
  starting: ScaleReplica[];
  /** Of those that start: such as have failed at it. */
  failing: number;
}

const startingPhases: ReadonlySet<string> = new Set(["pending", "provisioning", "starting", "unhealthy"]);

export function census(replicas: readonly ScaleReplica[]): Census {
  const staying = replicas.filter(({ leaving }) => !leaving);
  const starting = staying.filter(({ phase }) => startingPhases.has(phase));
  return {
    ready: staying.filter(({ phase, reachable }) => phase === "ready" && reachable),
    starting,
    failing: starting.filter(({ phase, wasReady }) => phase === "unhealthy" && !wasReady).length,
  };
}

/** Whether anyone asks for this service: now, or a moment ago. */
export function isAskedFor({ arrivals, concurrency, waiting, refused, spilled }: Signals): boolean {
  return waiting > 0 || refused > 0 || spilled > 0 || (concurrency.at(-1) ?? 0) > 0 || meanOf(arrivals, recentS) > 0;
}

/**
 * Requests that would be in flight, had they not been refused, by Little's law; they are taken to last as long as the others do, and a
 * second where there are none.
 */
export function refusedInFlight({ arrivals, concurrency, refused }: Signals): number {
  if (refused === 0) return 0;
  const answeredPerS = meanOf(arrivals, 60) - refused / recentS;
  const lastsS = answeredPerS > 0 ? meanOf(concurrency, 60) / answeredPerS : 1;
  return (refused / recentS) * Math.max(1, lastsS);
}
