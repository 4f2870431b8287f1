import type { RouteService } from "../../schema/bundle.ts";
import { Observed } from "../route/observed.ts";
import type { Remembered } from "./attempts.ts";
import { RetryBudget } from "./budget.ts";
import { Flights } from "./flights.ts";
import { Room, waitingBytesMax } from "./room.ts";
import { Standings } from "./standing.ts";
import { Stays } from "./stays.ts";

/** Services that an isolate remembers at most; the oldest goes. */
const servicesMax = 1_000;

/** With what it is told of by its gauges. */
export interface Kept extends Remembered {
  version: number;
  /** Requests that are at a provider because no replica could take them. */
  spilled: Stays;
  /** Requests that wait for a first replica. */
  room: Room;
}

const forWaiting = { bytesLeft: waitingBytesMax };

/** What this isolate knows of upstreams by itself. Each isolate learns on its own; nothing of it is written anywhere. */
const services = new Map<string, Kept>();

/** What is remembered of a service. A new version of it begins anew: its upstreams and their keys may be others. */
export function remembered({ name, version }: RouteService): Kept {
  const known = services.get(name);
  if (known !== undefined && known.version === version) return known;
  const observed = known?.observed ?? new Observed();
  const fresh = { version, budget: known?.budget ?? new RetryBudget(), standings: new Standings(), observed, flights: known?.flights ?? new Flights(observed), spilled: known?.spilled ?? new Stays(), room: known?.room ?? new Room(forWaiting) };
  services.delete(name);
  services.set(name, fresh);
  if (services.size > servicesMax) {
    const oldest = services.keys().next();
    if (!oldest.done) services.delete(oldest.value);
  }
  return fresh;
}

/** All services that are remembered, by name. */
export function allRemembered(): Iterable<[string, Kept]> {
  return services;
}

/** Forget everything: for tests that start from a cold isolate. */
export function forgetUpstreams(): void {
  services.clear();
  forWaiting.bytesLeft = waitingBytesMax;
}
