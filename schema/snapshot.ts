import type { Engine, Heartbeat, Load } from "./protocol.ts";
import type { Quarantine } from "./quarantine.ts";
import type { Phase } from "./replica.ts";
import type { Readings } from "./readings.ts";
import type { Region } from "./region.ts";
import type { HostKind, RolloutStatus, ScaleDecision, ServiceScale } from "./scale.ts";
import type { TrafficRow } from "./telemetry.ts";

/** A replica as the edge weighs it. */
export interface SnapshotReplica {
  id: string;
  service: string;
  number: number;
  version: number;
  phase: Phase;
  host: string;
  /** When its phase began (ms since the epoch, by its agent's clock). */
  since: number;
  inFlight: number;
  /** Absent: unknown, which never means idle. */
  load?: Load;
  /** Absent: not known, or none of those that the edge knows more of. */
  engine?: Engine;
}

export interface SnapshotHost {
  id: string;
  /** Data links that are open; a request goes to `Relay` object `<host>/<index>`. */
  relays: number[];
  /** When the Hub last heard from it (ms since the epoch, by the Hub's clock). */
  heardAt: number;
  /** Whether its control link is open. */
  linkUp: boolean;
  draining: boolean;
  /** When it came back after it was lost (ms since the epoch, by the Hub's clock); absent when it never was. */
  backSince?: number;
  /** Of its GPUs, as it says: `A100-80GB`. */
  accelerator?: string;
  /** Its gate, and the key of this session's passes (schema/gate.ts): what holds this may call the host, so it is logged and shown nowhere. */
  direct?: { url: string; key: string };
}

/** Which state a roster is in, since its Hub woke. */
export interface RosterVersion {
  /** Of this waking: versions of different ones have nothing to do with each other. */
  stamp: string;
  number: number;
}

/** What has changed in a roster since a version of it: for an isolate that has that one, instead of the whole. */
export interface SnapshotChange {
  region: Region;
  takenAt: number;
  /** The number of the version that it is to be put on. */
  since: number;
  version: RosterVersion;
  /** Hosts that are new or have changed, whole. */
  hosts: SnapshotHost[];
  /** All replicas of those hosts whose replicas have changed. */
  replicas: { host: string; replicas: SnapshotReplica[] }[];
  /** Hosts that are no more. */
  gone: string[];
  quarantined?: Quarantine[];
}

/** An immutable, dated copy of one Hub's roster. */
export interface Snapshot {
  region: Region;
  /** Absent: nothing can be put on it. */
  version?: RosterVersion;
  /** When it was taken (ms since the epoch, by the Hub's clock). Staleness is now − takenAt. */
  takenAt: number;
  hosts: SnapshotHost[];
  replicas: SnapshotReplica[];
  /** Requests that isolates near this Hub refuse; absent when there are none. */
  quarantined?: Quarantine[];
}

/** A replica as people see it: the roster's row, whole. */
export interface StatusReplica extends SnapshotReplica {
  region: Region;
  reason?: string;
  restarts: number;
  /** When its host was given it, by the Hub's clock (ms since the epoch); absent: before its Hub kept that. */
  launchedAt?: number;
  hostName: string;
  engineVersion?: string;
  /** Why its load is unknown though its engine is known. */
  loadProblem?: string;
}

export interface StatusHost extends SnapshotHost {
  region: Region;
  name: string;
  /** The generation it was last told, and the one it says it has taken over. */
  generation: number;
  appliedGeneration: number;
  /** Whose word it takes on what to run (docs/trust.md); absent: it has not said. */
  trust?: Heartbeat["trust"];
  /** As it said when it connected; absent for one that was not heard since its Hub knows of these. */
  agentVersion?: string;
  protocol?: number;
  /** What kind of host it is; absent: it says nothing of it. */
  kind?: HostKind;
  /** What it read of itself, with its age when this was said; absent when there is nothing fresh. */
  readings?: Readings;
  /** Present: it is shut out until an operator lets it back in, because its identity was seen in two places. */
  quarantine?: { since: number; reason: string };
  /** Why it is draining: here that is from when its replicas are being moved. */
  reason?: string;
}

/** What a service's Scaler wants, for people. */
export interface ScaleStatus {
  service: string;
  /** The configured version that it was decided for. */
  version: number;
  /** Replicas in all regions. */
  desired: number;
  rollout?: RolloutStatus;
  /** The latest, newest last. */
  decisions: ScaleDecision[];
}

/** A version that is left with a host that would not run it. */
export interface RefusalStatus {
  service: string;
  version: number;
  /** How many hosts would not. */
  hosts: number;
  /** When the first of them is asked again (ms since the epoch, by the Hub's clock). */
  againAt: number;
}

/** What a Hub knows, for `fairlead status`. */
export interface RegionStatus {
  region: Region;
  takenAt: number;
  bundleVersion: number;
  hosts: StatusHost[];
  replicas: StatusReplica[];
  /** Replicas that should be and have no host, with the reason in words. */
  unplaced: { service: string; count: number; reason: string; zone?: string; spot?: boolean }[];
  /** Replicas that no host would run; absent: by a Hub that does not say. */
  refusals?: RefusalStatus[];
  /** Requests of the last minute, as isolates near this Hub told of them. */
  traffic?: TrafficRow[];
  /** Of services whose Scalers have spoken. */
  scales?: ScaleStatus[];
  /** Why nothing is moved although hosts are lost; absent when it is. */
  braked?: string;
}

/** What an isolate is given: the parts that it lacks. */
export interface ViewUpdate {
  /** Only when the isolate's is older. */
  route?: import("./bundle.ts").RouteBundle;
  bundleVersion: number;
  snapshots: Snapshot[];
  /** Of regions whose snapshots the isolate has, by its own word. */
  changes?: SnapshotChange[];
  /** What Scalers want of requests; services that are not named want nothing of them. */
  scales?: ServiceScale[];
}
