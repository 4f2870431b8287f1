import type { Hub } from "./hub/hub.ts";
import type { Relay } from "./relay/relay.ts";
import type { Scaler } from "./scale/scaler.ts";

/** What both Workers are given. */
export interface FleetEnv {
  /** Comma-separated regions in use (`schema/region.ts`). */
  FAIRLEAD_REGIONS: string;
  /** Secret that signs relay tickets, known to the fleet Worker only. */
  FAIRLEAD_TICKET_KEY: string;
  HUB: DurableObjectNamespace<Hub>;
  RELAY: DurableObjectNamespace<Relay>;
  SCALER: DurableObjectNamespace<Scaler>;
}

export interface RouterEnv {
  FAIRLEAD_REGIONS: string;
  /** Keys API-key digests; shared with control. */
  FAIRLEAD_KEY_PEPPER: string;
  /** What control proves itself with. */
  FAIRLEAD_CONTROL_TOKEN: string;
  /** Opens provider keys in the bundle; shared with control. */
  FAIRLEAD_SHARED_KEY: string;
  /** "1" in a world on one machine: metrics need no key, and simulators' headers pass to replicas. */
  FAIRLEAD_LOCAL?: string;
  /** Provider endpoints that an operator grants beside public https ones, comma-separated: `host`, `host:port` or `scheme://host:port`. */
  FAIRLEAD_ALLOWED_ENDPOINTS?: string;
  CONFIG: KVNamespace;
  HUB: DurableObjectNamespace<Hub>;
  RELAY: DurableObjectNamespace<Relay>;
}
