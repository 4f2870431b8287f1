import { endpoint } from "../upstream.ts";
import { bearer, type Peer } from "./peer.ts";

/** No proxy: what the load sees from the upstream itself. Latencies of the others are compared with it. */
export const direct: Peer = {
  name: "direct",
  install: async () => ({ version: "-" }),
  start: async ({ upstreamUrl }) => ({ url: endpoint(upstreamUrl), headers: bearer, pids: [], stop: async () => {} }),
};
