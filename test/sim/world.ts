import type { Replica } from "../../agent/replica.ts";
import type { Reassigned } from "../../edge/hub/assignments.ts";
import type { Bundle, RouteService } from "../../schema/bundle.ts";
import type { Random } from "../../schema/clock.ts";
import type { Assign, AssignedReplica, Heartbeat, ReplicaState } from "../../schema/protocol.ts";
import type { Region } from "../../schema/region.ts";
import type { Desire, HostKind, RegionFacts, ServiceScale } from "../../schema/scale.ts";
import type { Snapshot } from "../../schema/snapshot.ts";
import type { Agenda } from "./agenda.ts";
import type { Channel } from "./channel.ts";
import type { EngineModel, Job } from "./engine.ts";
import type { Told } from "./sums.ts";
import type { Tally } from "./tally.ts";

/** How one version of a service differs from the others. */
export interface SimVersion {
  /** It never answers its readiness probe. */
  neverReady?: boolean;
  /** Share of its attempts that fail. */
  failures?: number;
}

/** A service of the world, beside what its bundle says. */
export interface SimService {
  name: string;
  /** Of one replica. */
  engine: EngineModel;
  coldStartMs: { p50: number; p95: number };
  route: RouteService;
  /** What its providers are like; they are all alike. */
  provider?: { ttftMs: { p50: number; p95: number }; tpotMs: number };
  /** By their number. */
  versions?: Record<number, SimVersion>;
}

/** A machine of the world. */
export interface SimHost extends HostKind {
  id: string;
  region: Region;
  gpus: number;
  /** It runs nothing, for this reason; until so long after the beginning, where that is said. */
  refusal?: string;
  refusesUntilMs?: number;
  /** When its disk has no room for anything new, in ms after the beginning. */
  disk?: { fullFromMs: number; untilMs: number };
}

/** A Hub, as hosts, isolates and Scalers have it. */
export interface HubPart {
  readonly region: Region;
  readonly up: boolean;
  hello(host: string, send: (assign: Assign) => void): number;
  welcome(host: string): void;
  hear(host: string, epoch: number, message: Heartbeat | { report: ReplicaState }, now: number): void;
  cut(host: string): void;
  snapshot(): Snapshot;
  scales(): ServiceScale[];
  record(isolate: string, told: ReadonlyMap<string, Told>, now: number): void;
  wanted(service: string): void;
  scaleFacts(service: string): RegionFacts;
  desire(desire: Desire): void;
  // for checks
  readonly braked: boolean;
  isReady(host: string, replica: string): boolean;
  assigned(service: string): AssignedReplica[];
  generation(service: string): number;
}

/** Why an answer was cut: its host was lost, its replica came to the end of its time to drain, or it was told to stop before that. */
export type Cut = "lost" | "drained" | "stopped";

/** A host's agent, as Hubs and isolates have it. */
export interface AgentPart {
  readonly host: SimHost;
  readonly up: boolean;
  drop(): void;
  carry(replica: string, job: Job, now: number): boolean;
  whyCut(replica: string, now: number): Cut;
}

/** What the parts of a world have of each other. */
export interface World {
  readonly agenda: Agenda;
  readonly random: Random;
  readonly channel: Channel;
  readonly services: readonly SimService[];
  readonly tally: Tally;
  readonly hubs: readonly HubPart[];
  /** What control published last. */
  readonly bundle: Bundle;
  scaler(service: string): { wake(): void };
  service(name: string): SimService;
  agent(id: string): AgentPart;
  /** Nothing gets through between this host and its Hub. */
  isCut(host: string): boolean;
  /** A replica's phase has changed. */
  phase(replica: Replica, host: SimHost, now: number): void;
  /** A replica held its GPUs for so long. */
  held(service: string, host: SimHost, ms: number): void;
  /** A Hub has changed what should be where. */
  placed(hub: HubPart, reassigned: readonly Reassigned[], now: number): void;
  /** A Scaler wants something else than before. */
  desired(desire: Desire, before: Desire | undefined, now: number): void;
}

/** One way between two regions: within one, and across an ocean (Cloudflare's own figures are not better than ±50 %; half of usual round trips). */
export const hopMs = (from: Region, to: Region): number => (from === to ? 8 : 45);
