import { availableParallelism, totalmem } from "node:os";
import type { Capacity } from "../executor.ts";
import { diskOf } from "./disk.ts";
import type { Places } from "./places.ts";

/** What a machine has, for executors that run replicas on the agent's own. */
export async function hostCapacity(state: string, places: Places): Promise<Capacity> {
  return { gpus: (await places.gpus()).length, cpus: availableParallelism(), memoryBytes: totalmem(), disk: await diskOf(state) };
}
