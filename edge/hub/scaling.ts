import type { Bundle } from "../../schema/bundle.ts";
import type { Desire, ScaleDecision, ServiceScale } from "../../schema/scale.ts";
import type { RegionStatus, ScaleStatus } from "../../schema/snapshot.ts";
import { Desires, unseen } from "./desires.ts";

/** A Scaler that has not asked for so long has no clock running. */
const asleepMs = 5_000;

/** Between two wakings for the sake of a rollout: replicas get ready together. */
const changedMs = 500;

export interface ScalingOptions {
  kv: DurableObjectStorage["kv"];
  /** Have a service's Scaler look. Nobody waits for what comes of it: what was missed is seen at the next look. */
  wake: (service: string) => void;
}

/** A Hub's part in scaling: what Scalers want, and who has to be woken. */
export class Scaling {
  readonly desires: Desires;
  readonly #options: ScalingOptions;
  /** When each service's Scaler asked last: one that asks needs no waking. */
  readonly #asked = new Map<string, number>();
  /** What of each service had no host when that was looked at last, by kind of host, as text. */
  #lacks = new Map<string, string>();

  constructor(options: ScalingOptions) {
    this.#options = options;
    this.desires = new Desires(options.kv);
  }

  /** A bundle was taken over: services that are gone are forgotten, and Scalers hear of what is new to them. */
  published(bundle: Bundle): void {
    this.desires.keepOnly(new Set(bundle.fleet.services.map(({ task }) => task.service)));
    for (const service of unseen(bundle, this.desires)) this.#options.wake(service);
  }

  /** A Scaler asks. */
  asked(service: string, now: number): void {
    this.#asked.set(service, now);
  }

  /**
   * Take over what a Scaler wants. One that has heard of a later version in another region is asked again when it has come here: a digest
   * that is not known yet would leave nothing to run.
   *
   * @returns the decisions that are new; undefined when it is late or repeated, early, or of a service that is gone
   */
  take(desire: Desire, bundle: Bundle | undefined): ScaleDecision[] | undefined {
    const task = bundle?.fleet.services.find((one) => one.task.service === desire.service)?.task;
    if (task === undefined || desire.version > task.version) return undefined;
    const told = this.desires.of(desire.service)?.decisions.at(-1)?.at ?? 0;
    return this.desires.take(desire) ? desire.decisions.filter(({ at }) => at > told) : undefined;
  }

  /** What was asked after now was asked by a clock that has been set back since. */
  #askedWithin(service: string, ms: number, now: number): boolean {
    const agoMs = now - (this.#asked.get(service) ?? 0);
    return agoMs >= 0 && agoMs < ms;
  }

  /** Requests come to services whose Scalers sleep. */
  wakeFor(services: Iterable<string>, bundle: Bundle | undefined, now: number): void {
    for (const service of services) {
      const policy = bundle?.fleet.services.find(({ task }) => task.service === service)?.policy;
      if (policy === undefined || policy.autoscaler === "fixed" || this.#askedWithin(service, asleepMs, now)) continue;
      this.#asked.set(service, now);
      this.#options.wake(service);
    }
  }

  /** Something of the roster is another: where a rollout is under way, or one region covers for another, its Scaler looks soon. */
  changed(now: number): void {
    for (const { service, rollout, regions } of this.desires.all()) {
      const isMoving = rollout?.state === "progressing" || Object.values(regions).some((targets) => targets.some(({ staying }) => staying !== undefined));
      if (!isMoving || this.#askedWithin(service, changedMs, now)) continue;
      this.#asked.set(service, now);
      this.#options.wake(service);
    }
  }

  /** What is wanted here and has no host may have one in another region: where it is another number than before, its Scaler looks. Why there is none is people's concern. */
  lacking(bundle: Bundle, unplaced: RegionStatus["unplaced"]): void {
    const before = this.#lacks;
    this.#lacks = new Map([...Map.groupBy(unplaced, ({ service }) => service)].map(([service, rows]) => [service, JSON.stringify(rows.map(({ count, zone, spot }) => [count, zone, spot]))]));
    for (const { task: { service }, policy } of bundle.fleet.services) if (policy !== undefined && this.#lacks.has(service) && this.#lacks.get(service) !== before.get(service)) this.#options.wake(service);
  }

  /** A host was taken back: what stands in for its spot replicas is to start now, and not at a Scaler's next look. */
  reclaimed(bundle: Bundle): void {
    for (const { task, policy } of bundle.fleet.services) if (policy?.spot !== undefined) this.#options.wake(task.service);
  }

  /** A request finds no replica ready: its service's Scaler looks now. */
  wanted(service: string, bundle: Bundle | undefined): void {
    if (bundle?.fleet.services.some(({ task, policy }) => task.service === service && policy !== undefined) === true) this.#options.wake(service);
  }

  /** For isolates. */
  scales(): ServiceScale[] {
    return this.desires.scales();
  }

  /** For people. */
  status(): ScaleStatus[] {
    return this.desires.all().map(({ service, version, desired, rollout, decisions }) => ({ service, version, desired, decisions, ...(rollout === undefined ? {} : { rollout }) }));
  }
}
