import type { ReplicaRow } from "../edge/route/candidates.ts";

/** A replica that may be used, as an isolate's view lists it. */
export function replicaRow(id: string, { replica = {}, host = {} }: { replica?: Partial<ReplicaRow["replica"]>; host?: Partial<ReplicaRow["host"]> } = {}): ReplicaRow {
  const hostId = `host of ${id}`;
  return {
    replica: { id, service: "chat", number: 1, version: 1, phase: "ready", host: hostId, since: 0, inFlight: 0, ...replica },
    host: { id: hostId, relays: [0, 1], heardAt: 0, linkUp: true, draining: false, ...host },
    takenAt: 0,
  };
}
