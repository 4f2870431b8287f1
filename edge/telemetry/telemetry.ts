import type { RouteService } from "../../schema/bundle.ts";
import { gaugesToldMax, type Told } from "../../schema/telemetry.ts";
import { allRemembered } from "../forward/memory.ts";
import { Journey, type Versions } from "./journey.ts";
import { endingOf, Tally } from "./tally.ts";
import { VersionCounts } from "./versions.ts";

/** Of so many streams one has the gaps between its pieces timed: a clock for every chunk would cost more than the count. */
const sampled = 8;

/** What this isolate has counted and not told. */
let tally = new Tally();
let versions = new VersionCounts();
/** This isolate among others; made when it first tells, for there is no chance at a Worker's start. */
let isolate = "";
let streams = 0;

/** A request to a service has come. @param versionOf each replica, while the service has several versions */
export function journey(service: RouteService, startedAt: number, versionOf?: ReadonlyMap<string, number>): Journey {
  return new Journey(tally, service, startedAt, countedBy(versionOf));
}

/** Where attempts on replicas of these versions are counted. */
export function countedBy(versionOf: ReadonlyMap<string, number> | undefined): Versions | undefined {
  return versionOf === undefined ? undefined : { of: versionOf, counts: versions };
}

/** A request was refused before its service was known: counted without a name, whatever it named. */
export function sawRefused(status: number): void {
  tally.of("", "").ended(endingOf(status));
}

/** Times the gaps of a stream that has begun; undefined for those that are not looked at. */
export function gapsOf({ name }: RouteService, upstream: string, now: number): ((now: number) => void) | undefined {
  if (streams++ % sampled !== 0) return undefined;
  let last = now;
  return (at) => {
    tally.of(name, upstream).took("itl", at - last);
    last = at;
  };
}

/** What is to be told, with how things stand; undefined when there is nothing to tell. */
export function drainTold(now: number): Told | undefined {
  const cells = tally.drain();
  const lacking = lackingNow(now);
  if (cells.length === 0 && lacking === undefined) return undefined;
  isolate ||= crypto.randomUUID();
  const told: Told = { isolate, cells, inFlight: [], breakers: [], ...lacking };
  const seen = versions.drain();
  if (seen.length > 0) told.versions = seen;
  for (const [service, { observed, standings }] of allRemembered()) {
    // replicas' are counted by their agents
    for (const { id, inFlight } of observed.all()) {
      if (inFlight > 0 && !id.startsWith(`${service}.`) && told.inFlight.length < gaugesToldMax) told.inFlight.push({ service, upstream: id, count: inFlight });
    }
    for (const { id, state } of standings.troubles(now)) if (told.breakers.length < gaugesToldMax) told.breakers.push({ service, id, state });
  }
  return told;
}

/** Requests that are where they are for lack of a replica; undefined when none is. */
function lackingNow(now: number): Pick<Told, "held" | "spilled"> | undefined {
  const lacking: Record<"held" | "spilled", NonNullable<Told["held"]>> = { held: [], spilled: [] };
  for (const [service, kept] of allRemembered()) {
    const [held, spilled] = [kept.room.count(now), kept.spilled.count(now)];
    if (held > 0 && lacking.held.length < gaugesToldMax) lacking.held.push({ service, count: held });
    if (spilled > 0 && lacking.spilled.length < gaugesToldMax) lacking.spilled.push({ service, count: spilled });
  }
  return lacking.held.length + lacking.spilled.length === 0 ? undefined : lacking;
}

/** Forget everything: for tests that start from a cold isolate. */
export function forgetTelemetry(): void {
  tally = new Tally();
  versions = new VersionCounts();
  streams = 0;
}
