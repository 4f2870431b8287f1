import type { Bundle } from "../../schema/bundle.ts";
import type { Now } from "../../schema/clock.ts";
import type { Region } from "../../schema/region.ts";
import type { ScaleHost } from "../../schema/scale.ts";
import type { RefusalStatus, RegionStatus } from "../../schema/snapshot.ts";
import type { Brake } from "../scale/brake.ts";
import { Assignments, type PlanFacts, type Reassigned } from "./assignments.ts";
import { Losses } from "./losses.ts";
import { reclaimsAfter, reclaimsByZone, type Reclaimed } from "./reclaims.ts";
import { overdueByHost, refusalsAfter, refusalsByHost, refusalStatus, type Refused } from "./refusals.ts";
import type { HostRow } from "./roster.ts";
import type { Scaling } from "./scaling.ts";

type Rows = ReadonlyMap<string, HostRow>;

export interface PlacingOptions {
  region: Region;
  awakeSince: Now;
  kv: DurableObjectStorage["kv"];
  scaling: Scaling;
  /** The brake was put on, or taken off. */
  onBrake?: (brake: Brake | undefined) => void;
}

/** What a region's hosts are to run, by what is wanted, what is lost, and what was reclaimed or refused: kept as `brake`, `reclaims`, `refusals`, and what `Assignments` keeps. */
export class Placing {
  readonly assignments: Assignments;
  readonly losses: Losses;
  /** What of the last plan has no host. */
  unplaced: RegionStatus["unplaced"] = [];
  readonly #options: PlacingOptions;
  #reclaims: readonly Reclaimed[];
  #refusals: readonly Refused[];

  constructor(options: PlacingOptions) {
    const { kv, awakeSince } = options;
    this.#options = options;
    this.assignments = new Assignments(kv);
    this.losses = new Losses(awakeSince, kv.get<Brake | null>("brake") ?? undefined);
    this.#reclaims = kv.get<Reclaimed[]>("reclaims") ?? [];
    this.#refusals = kv.get<Refused[]>("refusals") ?? [];
  }

  /** Look whether more is lost than can be believed. */
  press(rows: Rows, now: Now): void {
    if (!this.losses.press(rows, now)) return;
    const { kv, onBrake } = this.#options;
    kv.put("brake", this.losses.brake ?? null);
    onBrake?.(this.losses.brake);
  }

  /** Compares what is assigned with what should be, and keeps what should be. @returns the hosts for which it differs */
  plan(bundle: Bundle, rows: Rows, now: Now): Reassigned[] {
    this.losses.plan(rows, now);
    this.press(rows, now);
    // what is lost while the brake is on was reclaimed by nobody
    if (this.losses.brake === undefined) this.#lookForReclaims(bundle, rows, now);
    this.#lookForRefusals(rows, now);
    const { reassigned, unplaced } = this.assignments.plan(this.#facts(bundle, rows, now), now);
    this.unplaced = unplaced;
    this.#options.scaling.changed(now);
    this.#options.scaling.lacking(bundle, unplaced);
    return reassigned;
  }

  /** Hosts as a service's Scaler sees them; none of a service that is not there. */
  hostsFor(service: string, bundle: Bundle | undefined, rows: Rows, now: Now): ScaleHost[] {
    const task = bundle?.fleet.services.find((one) => one.task.service === service)?.task;
    return bundle === undefined || task === undefined ? [] : this.assignments.hostsFor(task, this.#facts(bundle, rows, now), now);
  }

  #lookForReclaims(bundle: Bundle, rows: Rows, now: Now): void {
    const { kv, awakeSince, scaling } = this.#options;
    const before = this.#reclaims;
    this.#reclaims = reclaimsAfter(before, rows, now, awakeSince);
    if (this.#reclaims !== before) kv.put("reclaims", this.#reclaims);
    if (this.#reclaims.at(-1) !== before.at(-1)) scaling.reclaimed(bundle);
  }

  /** Whether it was placed anew since a host said that it will not run a version. */
  hasRefused(host: string, digest: string): boolean {
    return this.#refusals.some((one) => one.host === host && one.digest === digest);
  }

  /** What is left with a host that refuses it, for people, and for the clock: then it is to be placed anew. */
  refusals(now: Now): RefusalStatus[] {
    return this.#refusals.length === 0 ? [] : refusalStatus(this.#refusals, (host) => this.assignments.of(host).replicas, now);
  }

  #lookForRefusals(rows: Rows, now: Now): void {
    const before = this.#refusals;
    this.#refusals = refusalsAfter(before, rows, now);
    if (this.#refusals !== before) this.#options.kv.put("refusals", this.#refusals);
  }

  #facts(bundle: Bundle, rows: Rows, now: Now): PlanFacts {
    const { region, awakeSince, scaling } = this.#options;
    return { region, bundle, rows, awakeSince, desires: scaling.desires, braked: this.losses.brake !== undefined, reclaims: reclaimsByZone(this.#reclaims, now), refusals: refusalsByHost(this.#refusals, now), overdue: overdueByHost(this.#refusals, now) };
  }
}
