import type { FleetEnv } from "./env.ts";
import { agents } from "./http/agents.ts";

export { Hub } from "./hub/hub.ts";
export { Relay } from "./relay/relay.ts";
export { Scaler } from "./scale/scaler.ts";

/** The fleet Worker: the Durable Objects, and the door for agents' sockets. Deployed rarely. */
export default { fetch: agents } satisfies ExportedHandler<FleetEnv>;
