import type { Heartbeat, ReclaimNotice, ReplicaState } from "../schema/protocol.ts";
import { isAlive, type Phase } from "../schema/replica.ts";

/** As many as the schema lets through: a heartbeat that a hub must refuse would cost the host its lease. */
const replicasMax = 1000;
const relaysMax = 16;

/** The full state of this host, with what is alive first should the list be too long. */
export function heartbeat({ reclaim, ...state }: Omit<Heartbeat, "type"> & { reclaim?: ReclaimNotice | undefined }): Heartbeat {
  const replicas = [...state.replicas].sort((a, b) => rank(a.phase) - rank(b.phase)).slice(0, replicasMax);
  return { ...state, ...(reclaim === undefined ? {} : { reclaim }), type: "heartbeat", relays: state.relays.slice(0, relaysMax), replicas };
}

function rank(phase: Phase): number {
  return isAlive(phase) ? 0 : 1;
}

/** Whether two states differ in what a hub should hear of soon; load and requests in flight can wait for the next heartbeat. */
export function differs(a: ReplicaState, b: ReplicaState): boolean {
  return a.phase !== b.phase || a.reason !== b.reason || a.port !== b.port || a.pid !== b.pid || a.version !== b.version || a.restarts !== b.restarts || a.engine !== b.engine || a.loadProblem !== b.loadProblem;
}
