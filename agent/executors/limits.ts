import type { Task } from "../../schema/task.ts";

/** What one replica may use at most; what is absent is not bounded. */
export interface Limits {
  memoryBytes?: number | undefined;
  cpus?: number | undefined;
  /** Processes and threads. */
  pids?: number | undefined;
}

/** The smaller of what a service's file says and what the host's owner allows each replica. */
export function limitsOf({ limits: asked = {} }: Pick<Task, "limits">, host: Limits): Limits {
  return { memoryBytes: least(asked.memoryBytes, host.memoryBytes), cpus: least(asked.cpus, host.cpus), pids: host.pids };
}

function least(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined ? b : b === undefined ? a : Math.min(a, b);
}
