import { Gauge, Registry } from "prom-client";
import { phases } from "../../schema/replica.ts";
import { authenticate } from "../auth/auth.ts";
import { regionsOf } from "../regions.ts";
import { requestIdOf, viewOf, type RouterRequest } from "./context.ts";

/** GET /metrics: the fleet as the Hubs know it, in Prometheus text. */
export async function metrics(c: RouterRequest): Promise<Response> {
  if (c.env.FAIRLEAD_LOCAL !== "1") await authenticate(c.env, c.req.raw, await viewOf(c), "metrics");
  const regions = await Promise.all(regionsOf(c.env).map((region) => c.env.HUB.getByName(region).status()));
  const registry = new Registry();
  const registers = [registry];
  const status = new Gauge({ name: "fairlead_replica_status", help: "1 for the phase a replica is in, else 0", labelNames: ["service", "replica", "region", "status"], registers });
  const queue = new Gauge({ name: "fairlead_queue_depth", help: "Requests waiting in the engine, as it reports", labelNames: ["service", "replica", "region"], registers });
  const kv = new Gauge({ name: "fairlead_kv_usage", help: "KV cache in use, 0..1, as the engine reports", labelNames: ["service", "replica", "region"], registers });
  const inFlight = new Gauge({ name: "fairlead_requests_in_flight", help: "Requests that agents are carrying to a replica", labelNames: ["service", "replica", "region"], registers });
  const link = new Gauge({ name: "fairlead_link_up", help: "Whether a host's control link is open", labelNames: ["host", "region"], registers });
  const age = new Gauge({ name: "fairlead_snapshot_age_seconds", help: "Time since a host was last heard, the oldest of each region", labelNames: ["region"], registers });
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
  return new Response(await registry.metrics(), { headers: { "content-type": registry.contentType, "x-request-id": requestIdOf(c) } });
}
