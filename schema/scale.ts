import type { FleetService } from "./bundle.ts";
import type { Now } from "./clock.ts";
import type { Load } from "./protocol.ts";
import type { Phase } from "./replica.ts";
import type { Region } from "./region.ts";

/** What Hubs and Scalers tell each other. Both live in the fleet Worker and are deployed together; storage holds none of it but `Desire`. */

/** What a host is, as its agent says (`Heartbeat.facts`); absent: not known. */
export interface HostKind {
  /** The vendor's zone, as in `us-east-1a`. */
  zone?: string;
  /** It may be reclaimed at any time. */
  spot?: boolean;
  /** The GPUs' name as SkyPilot has it, as in `A100-80GB`. */
  accelerator?: string;
  /** Of the whole host, in micro-USD per hour. */
  priceMicroUsd?: number;
}

/** Of one service in one region, since the Hub's waking (`RegionFacts.stamp`): sums, so that a report that is lost, doubled or late adds nothing. */
export interface Demand {
  /** Requests, whatever became of them. */
  arrivals: number;
  /** Of them: refused because no replica was ready or all were full. */
  refused: number;
  /** Of them: sent to a provider because no replica could take them. */
  spilled: number;
  /** Those that replicas answered: counts by bucket (`digestBoundsMs`). */
  ttft: number[];
  itl: number[];
  /** Now: requests that wait for a first replica. */
  held: number;
  /** Now: requests at a provider because no replica could take them. */
  spilledInFlight: number;
}

/** What attempts on one version of a service came to, while a rollout is under way; sums, as `Demand`. */
export interface VersionSeen {
  version: number;
  answers: number;
  /** By the replica's fault. */
  failures: number;
  /** Counts by bucket (`digestBoundsMs.ttft`); of what is not streamed, the whole answer's time. */
  ttft: number[];
}

/** A replica as a Scaler sees it. */
export interface ScaleReplica extends HostKind {
  id: string;
  number: number;
  version: number;
  digest: string;
  /** `pending` for one that is assigned and that its host has not spoken of. */
  phase: Phase;
  /** When its phase began, by its agent's clock. */
  since: Now;
  region: Region;
  host: string;
  inFlight: number;
  load?: Load;
  /** Whether this digest was ever ready on it. */
  wasReady: boolean;
  /** Its host is draining or to be reclaimed: it serves until another is ready in its place. */
  leaving: boolean;
  /** Its host is heard. */
  reachable: boolean;
  reason?: string;
  /** It has failed because its host would not begin it, and is asked again. */
  refused?: boolean;
}

/** A host on which a service's replicas may be, as a Scaler sees it. */
export interface ScaleHost extends HostKind {
  id: string;
  region: Region;
  /** May be given something new. */
  usable: boolean;
  /** How many more replicas of the service's current version fit; those of services without a GPU or a fixed port: 1000. */
  room: number;
  /** The current version has been ready there before: its weights are near. */
  warm: boolean;
  /** Reclaims that its zone has seen in the last day. */
  reclaims: number;
}

/** What one region's Hub knows of one service. */
export interface RegionFacts {
  region: Region;
  /** Of the Hub's waking: another one, and all sums begin anew. */
  stamp: string;
  /** When its sums began; absent: what it counted before it was first heard counts for nothing. */
  since?: Now;
  at: Now;
  bundleVersion: number;
  /** As the bundle has it, without secrets; absent: there is no such service. */
  service?: Omit<FleetService, "sealedSecrets" | "previous"> & { previous?: { version: number; digest: string } };
  demand: Demand;
  versions: VersionSeen[];
  replicas: ScaleReplica[];
  hosts: ScaleHost[];
  /** Of the desire that it keeps; 0: none. */
  generation: number;
  /** What of that has no host. */
  unplaced: { count: number; reason: string; zone?: string; spot?: boolean }[];
  /** Many of its hosts were lost at once: nothing is to be concluded from what is missing. */
  braked: boolean;
}

/** So many replicas of one version, wherever they fit that is of this kind. */
export interface Target {
  version: number;
  digest: string;
  count: number;
  zone?: string;
  spot?: boolean;
  /** So many that are ready here on hosts that leave serve on: what takes their place is not ready yet in another region. */
  staying?: number;
}

/** One decision of a Scaler, for people. */
export interface ScaleDecision {
  at: Now;
  action: "up" | "down" | "hold" | "rollout" | "rollback" | "done" | "wake" | "zero";
  /** How many replicas are wanted after it. */
  desired: number;
  /** In words, with the figures it rests on. */
  reason: string;
}

/** Where a rollout stands, for people and for isolates. */
export interface RolloutStatus {
  mode: "rolling" | "blue_green" | "canary" | "ab";
  state: "progressing" | "done" | "rolled_back" | "stuck";
  /** The version that is coming, and the one before. */
  version: number;
  from?: number;
  /** Requests by version, 0..1, in sum 1; absent: by what is ready. */
  shares?: Record<string, number>;
  step?: number;
  steps?: number;
  reason: string;
}

/** What a Scaler wants of a service, whole: each Hub keeps the latest generation and obeys its own region's part. */
export interface Desire {
  service: string;
  /** A lower one is ignored. */
  generation: number;
  at: Now;
  /** The service's configured version that it was made for. */
  version: number;
  desired: number;
  regions: Partial<Record<Region, Target[]>>;
  rollout?: RolloutStatus;
  /** The latest, newest last. */
  decisions: ScaleDecision[];
}

/** What isolates are told of a Scaler's mind. */
export interface ServiceScale {
  service: string;
  /** Requests by version; versions that are not named get none. Absent: all alike. */
  shares?: Record<string, number>;
}
