import type { Random } from "../../schema/clock.ts";
import type { Capacity } from "./spot-traces.ts";

// The reference method (README of the traces): a day in ticks of 30 s, three replicas, a cold start of 120 s, on demand at three times the
// price. A day begins with a service that is up: what is had in its first tick is ready, as the table's 100.0 of on demand only says.
export const dayTicks = 2_880;
export const replicasWanted = 3;
const coldTicks = 4;
const onDemandPrice = 3;

/** One instance: for how many ticks it has been there. */
export interface Instance {
  id: number;
  ticks: number;
}

/** What a policy sees before a tick. */
export interface Seen {
  tick: number;
  /** By zone. */
  spot: readonly (readonly Instance[])[];
  onDemand: readonly Instance[];
  /** By zone: wanted last time, and not to be had. */
  lacking: readonly number[];
}

/** How many instances by zone, and on demand. */
export type Step = (seen: Seen) => { spot: readonly number[]; onDemand: number };
/** A policy for one day. */
export type SpotPolicy = (zones: number, random: Random) => Step;

export interface DayResult {
  /** Share of ticks with as many ready as are wanted, 0..1. */
  availability: number;
  /** Of what as many on demand cost, 0..1. */
  cost: number;
  /** Share of ticks with none ready, 0..1. */
  none: number;
}

export const isReady = ({ ticks }: Instance): boolean => ticks >= coldTicks;

/** One day under a policy, from a place in the traces; they go round. */
export function day(capacity: Capacity, from: number, step: Step): DayResult {
  const length = capacity[0]?.length ?? 1;
  let spot: Instance[][] = capacity.map(() => []);
  let onDemand: Instance[] = [];
  let lacking = capacity.map(() => 0);
  let next = 0;
  let [available, cost, none] = [0, 0, 0];
  let fresh = coldTicks;
  /** Those that were there longest stay. */
  const resized = (instances: readonly Instance[], count: number): Instance[] => {
    const kept = instances.toSorted((a, b) => b.ticks - a.ticks).slice(0, count);
    while (kept.length < count) kept.push({ id: next++, ticks: fresh });
    return kept;
  };
  const aged = (instances: readonly Instance[]): Instance[] => instances.map(({ id, ticks }) => ({ id, ticks: ticks + 1 }));
  for (let tick = 0; tick < dayTicks; tick++) {
    const plan = step({ tick, spot, onDemand, lacking });
    const wanted = spot.map((instances, zone) => resized(instances, plan.spot[zone] ?? 0));
    const had = wanted.map((instances, zone) => instances.slice(0, capacity[zone]?.[(from + tick) % length] ?? 0));
    lacking = wanted.map((instances, zone) => instances.slice(had[zone]?.length).filter(({ ticks }) => ticks === fresh).length);
    spot = had.map(aged);
    onDemand = aged(resized(onDemand, plan.onDemand));
    fresh = -1;
    const all = [...spot.flat(), ...onDemand];
    const ready = all.filter(isReady).length;
    if (ready >= replicasWanted) available++;
    if (ready === 0) none++;
    cost += (all.length - onDemand.length + onDemandPrice * onDemand.length) / (onDemandPrice * replicasWanted);
  }
  return { availability: available / dayTicks, cost: cost / dayTicks, none: none / dayTicks };
}
