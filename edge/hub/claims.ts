import type { AssignedReplica, ReplicaState } from "../../schema/protocol.ts";
import { isOver } from "../../schema/replica.ts";

/**
 * What of a host's word on its replicas counts: of those that its hub assigned to it. Another's replica, one that is no longer its own,
 * or one under another service's name is not routed to, so that neither a stale owner nor a host that lies draws requests.
 *
 * What is leaving is still shown while it drains, and how it ended: nothing is routed there, and nothing is placed by it.
 */
export function owned(claimed: readonly ReplicaState[], assigned: readonly AssignedReplica[]): ReplicaState[] {
  const mine = new Map(assigned.map((replica) => [replica.id, replica]));
  return claimed.filter(({ id, service, number, phase }) => {
    const own = mine.get(id);
    if (own === undefined) return phase === "draining" || phase === "stopping" || isOver(phase);
    return own.service === service && own.number === number;
  });
}
