import { Gauge, Registry } from "prom-client";
import { phases } from "../../schema/replica.ts";
import type { RegionStatus } from "../../schema/snapshot.ts";

/** The fleet as the Hubs know it, in Prometheus text. */
export async function fleetMetrics(regions: readonly RegionStatus[]): Promise<{ text: string; contentType: string }> {
  const registry = new Registry();
  const registers = [registry];
  const status = new Gauge({ name: "fairlead_replica_status", help: "1 for the phase a replica is in, else 0", labelNames: ["service", "replica", "region", "status"], registers });
  const queue = new Gauge({ name: "fairlead_queue_depth", help: "Requests waiting in the engine, as it reports", labelNames: ["service", "replica", "region"], registers });
  const kv = new Gauge({ name: "fairlead_kv_usage", help: "KV cache in use, 0..1, as the engine reports", labelNames: ["service", "replica", "region"], registers });
  const inFlight = new Gauge({ name: "fairlead_requests_in_flight", help: "Requests that agents are carrying to a replica", labelNames: ["service", "replica", "region"], registers });
  const link = new Gauge({ name: "fairlead_link_up", help: "Whether a host's control link is open", labelNames: ["host", "region"], registers });
  const age = new Gauge({ name: "fairlead_snapshot_age_seconds", help: "Time since a connected host was last heard, the oldest of each region", labelNames: ["region"], registers });
  for (const { region, hosts, replicas, takenAt } of regions) {
    for (const host of hosts) link.set({ host: host.name, region }, host.linkUp ? 1 : 0);
    age.set({ region }, Math.max(0, ...hosts.filter(({ linkUp }) => linkUp).map(({ heardAt }) => takenAt - heardAt)) / 1000);
    for (const { service, id: replica, phase, inFlight: carried, load } of replicas) {
      for (const one of phases) status.set({ service, replica, region, status: one }, one === phase ? 1 : 0);
      inFlight.set({ service, replica, region }, carried);
      if (load !== undefined) queue.set({ service, replica, region }, load.queueDepth);
      if (load?.kvUsage !== undefined) kv.set({ service, replica, region }, load.kvUsage);
    }
  }
  return { text: await registry.metrics(), contentType: registry.contentType };
}
