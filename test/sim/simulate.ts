import { routeServiceSchema, type Bundle, type FleetService, type RouteService } from "../../schema/bundle.ts";
import { seeded, type Random } from "../../schema/clock.ts";
import { rolloutPolicySchema, scalePolicySchema } from "../../schema/policy.ts";
import type { Region } from "../../schema/region.ts";
import type { z } from "zod";
import { Agenda } from "./agenda.ts";
import { SimAgent } from "./agent.ts";
import { Channel, good, type Network } from "./channel.ts";
import { Checks, Violation } from "./checks.ts";
import type { Demand } from "./demand.ts";
import { small, type EngineModel } from "./engine.ts";
import { SimHub } from "./hub.ts";
import { Isolate } from "./isolate.ts";
import { SimScaler, type Alarms } from "./scaler.ts";
import { Tally, type Moment, type Outcomes } from "./tally.ts";
import type { SimHost, SimService, SimVersion, World } from "./world.ts";

/** A service as a world is told of it. */
export interface ServiceFacts {
  name: string;
  policy: z.input<typeof scalePolicySchema>;
  rollout?: z.input<typeof rolloutPolicySchema>;
  engine?: EngineModel;
  coldStartMs?: { p50: number; p95: number };
  route?: Partial<z.input<typeof routeServiceSchema>>;
  provider?: SimService["provider"];
  drainMs?: number;
  versions?: Record<number, SimVersion>;
  /** New versions, by when they are configured, in ms after the beginning. */
  updates?: readonly { atMs: number; sameDigest?: boolean }[];
  /** When its bounds change. */
  changes?: readonly { atMs: number; policy: z.input<typeof scalePolicySchema> }[];
}

/** What goes wrong, in ms after the beginning. */
export type Fault =
  | { atMs: number; forMs: number; network: Partial<Network>; alarms?: Partial<Alarms> }
  /** Links of these hosts break, and nothing gets through for so long; what runs there goes on. */
  | { atMs: number; forMs: number; cut: readonly string[] }
  | { atMs: number; hub: Region; downMs: number }
  /** A machine is gone, and comes back empty; never where it does not say when. */
  | { atMs: number; crash: string; backMs?: number }
  | { atMs: number; reclaim: string; noticeMs: number; backMs?: number };

export interface WorldFacts {
  /** Everything comes of it: the same seed, the same world to the last message. */
  seed: number;
  services: readonly ServiceFacts[];
  hosts: readonly SimHost[];
  /** By service; `random` is of the seed, and of the service alone. */
  demand: Readonly<Record<string, (random: Random) => Demand>>;
  faults?: readonly Fault[];
  untilMs: number;
  /** From here on nothing goes wrong and nothing changes: what should come to rest has. Absent: nothing is held against it. */
  restMs?: number;
  /** Isolates in each region. */
  isolates?: number;
  /** Where the requests enter: in equal parts. */
  entries?: readonly Region[];
}

export interface Report {
  seed: number;
  outcomes: Record<string, Outcomes>;
  moments: readonly Moment[];
  desires: Tally["desires"];
  lines: readonly string[];
}

/** What routing needs of a service, with what a world leaves out. */
function routeOf({ name, route, provider }: ServiceFacts): RouteService {
  return routeServiceSchema.parse({
    name, version: 1, models: [name], listed: true, createdAt: 0, selfHosted: true, timeouts: { ttftMs: 120_000, totalMs: 600_000 }, bodyBytesMax: 1_000_000,
    providers: provider === undefined ? [] : [{ name: "cover", endpoint: "https://cover.example/v1", dialect: "openai", fallback: true }],
    fromZero: provider === undefined ? { holdMs: 120_000, fallback: false } : { holdMs: 0, fallback: true },
    ...route,
  });
}

function taskOf({ name, drainMs = 120_000 }: ServiceFacts, version: number, digest: string): FleetService["task"] {
  return {
    service: name, version, digest, run: "serve", envs: {}, gpus: 1, drainMs,
    probe: { path: "/health", initialDelayMs: 1_200_000, timeoutMs: 5_000, intervalMs: 10_000, failureThresholdMs: 60_000, headers: {} },
  };
}

/** A source of chance for one part of a world: what one part draws changes nothing for the others. */
function sourceOf(seed: number, part: string): Random {
  let hash = seed | 0;
  for (let i = 0; i < part.length; i++) hash = Math.imul(hash ^ part.charCodeAt(i), 0x01000193);
  return seeded(hash);
}

/** How often a world's standing is looked at. */
const lookMs = 1_000;

/**
 * Runs a world on virtual time: requests by the real `route`, Hubs by the real roster and `assign`, a Scaler by the real `look`, agents by
 * the real `reconcile` and the real life of a replica.
 *
 * @throws Violation when something does not hold that must; it names the seed
 */
export function simulate(facts: WorldFacts): Report {
  const { seed, untilMs, faults = [], isolates: isolatesPerRegion = 1 } = facts;
  const agenda = new Agenda();
  const tally = new Tally();
  const channel = new Channel(agenda, sourceOf(seed, "network"), { ...good });
  const services: SimService[] = facts.services.map((service) => ({
    name: service.name,
    engine: service.engine ?? small,
    coldStartMs: service.coldStartMs ?? { p50: 90_000, p95: 90_000 },
    route: routeOf(service),
    ...(service.provider === undefined ? {} : { provider: service.provider }),
    ...(service.versions === undefined ? {} : { versions: service.versions }),
  }));
  const home = facts.hosts[0]?.region ?? "local";
  let bundle: Bundle = {
    route: { version: 1, publishedAt: 0, services: services.map(({ route }) => route), keys: [] },
    fleet: {
      hosts: facts.hosts.map(({ id, region }) => ({ id, name: id, region, publicKey: "", revoked: false })),
      services: facts.services.map((service) => {
        const policy = scalePolicySchema.parse(service.policy);
        return { task: taskOf(service, 1, `${service.name}-1`), replicas: { [home]: policy.min }, sealedSecrets: {}, policy, ...(service.rollout === undefined ? {} : { rollout: rolloutPolicySchema.parse(service.rollout) }) };
      }),
      removed: [],
    },
  };
  const byName = new Map(services.map((service) => [service.name, service]));
  const agents = new Map<string, SimAgent>();
  const hubs: SimHub[] = [];
  const scalers = new Map<string, SimScaler>();
  const cuts = new Map<string, number>();
  const checks = new Checks(facts.restMs);

  const known = <T>(of: ReadonlyMap<string, T>, name: string): T => {
    const one = of.get(name);
    if (one === undefined) throw new Error(`Cannot find "${name}" in this world`);
    return one;
  };
  const world: World = {
    agenda, channel, services, tally, hubs,
    random: sourceOf(seed, "world"),
    get bundle() {
      return bundle;
    },
    scaler: (service) => known(scalers, service),
    service: (name) => known(byName, name),
    agent: (id) => known(agents, id),
    isCut: (host) => (cuts.get(host) ?? 0) > agenda.now,
    phase: ({ id, phase, reason }, _host, now) => tally.say(now, `${id} is ${phase}${reason === undefined ? "" : `: ${reason}`}`),
    held: (service, { spot = false, priceMicroUsd = 0 }, ms) => {
      const outcomes = tally.of(service);
      outcomes.gpuHours += ms / 3_600_000;
      if (!spot) outcomes.gpuHoursOnDemand += ms / 3_600_000;
      outcomes.costMicroUsd += (ms / 3_600_000) * priceMicroUsd;
    },
    placed: (hub, reassigned, now) => checks.placed(hub, reassigned, now, world),
    desired: (desire, before, now) => {
      const last = desire.decisions.at(-1);
      tally.desires.push({ at: now, desire });
      tally.say(now, `generation ${desire.generation} of ${desire.service}: ${before?.desired ?? 0} -> ${desire.desired}${last === undefined ? "" : `: ${last.reason}`}`);
      checks.desired(desire, before, now, world);
    },
  };

  for (const host of facts.hosts) if (!hubs.some(({ region }) => region === host.region)) hubs.push(new SimHub(world, host.region));
  for (const host of facts.hosts) agents.set(host.id, new SimAgent(world, hubs.find(({ region }) => region === host.region) as SimHub, host));
  for (const { name } of services) scalers.set(name, new SimScaler(world, name, sourceOf(seed, `scaler ${name}`), { asText: faults.length > 0 }));
  const entries = facts.entries ?? hubs.map(({ region }) => region);
  const isolates = entries.flatMap((region) => Array.from({ length: isolatesPerRegion }, (_, i) => new Isolate(world, region, hubs.find((hub) => hub.region === region) ?? (hubs[0] as SimHub), `${region}-${i}`)));

  for (const agent of agents.values()) agent.boot();
  for (const scaler of scalers.values()) scaler.wake();
  for (const fault of faults) agenda.add(fault.atMs, () => strike(fault));
  for (const { name, updates = [], changes = [] } of facts.services) {
    const service = known(byName, name);
    for (const { atMs, sameDigest = false } of updates) {
      agenda.add(atMs, () => change(name, (before) => {
        const version = before.task.version + 1;
        return { ...before, task: { ...before.task, version, digest: sameDigest ? before.task.digest : `${name}-${version}` }, previous: { task: before.task, sealedSecrets: {} } };
      }));
    }
    for (const { atMs, policy } of changes) agenda.add(atMs, () => change(name, (before) => ({ ...before, task: { ...before.task, version: before.task.version + 1 }, policy: scalePolicySchema.parse(policy) })));
    const demand = facts.demand[name]?.(sourceOf(seed, `demand ${name}`))[Symbol.iterator]();
    let turn = 0;
    const next = (): void => {
      const asked = demand?.next();
      if (asked === undefined || asked.done === true) return;
      const { value } = asked;
      agenda.add(value.at, (now) => {
        isolates[turn++ % isolates.length]?.take(service, value, now);
        next();
      });
    };
    next();
  }

  /** Control publishes a service anew. */
  function change(name: string, to: (before: FleetService) => FleetService): void {
    const { route, fleet } = bundle;
    bundle = { route: { ...route, version: route.version + 1 }, fleet: { ...fleet, services: fleet.services.map((one) => (one.task.service === name ? to(one) : one)) } };
    for (const hub of hubs) hub.published();
  }

  function strike(fault: Fault): void {
    const { now } = agenda;
    tally.say(now, `fault: ${JSON.stringify(fault)}`);
    if ("network" in fault) {
      const before = channel.network;
      channel.network = { ...before, ...fault.network };
      for (const scaler of scalers.values()) scaler.alarms = { ...scaler.alarms, ...fault.alarms };
      agenda.after(fault.forMs, () => {
        channel.network = { ...good };
        for (const scaler of scalers.values()) scaler.alarms = { doubled: 0, late: 0 };
      });
    } else if ("cut" in fault) {
      for (const id of fault.cut) {
        cuts.set(id, Math.max(cuts.get(id) ?? 0, now + fault.forMs));
        known(agents, id).drop();
      }
    } else if ("hub" in fault) hubs.find(({ region }) => region === fault.hub)?.restart(fault.downMs);
    else {
      const agent = known(agents, "crash" in fault ? fault.crash : fault.reclaim);
      if ("crash" in fault) agent.crash();
      else agent.reclaim(fault.noticeMs);
      if (fault.backMs !== undefined) agenda.after(fault.backMs, () => agent.boot());
    }
  }

  agenda.every(lookMs, (now) => {
    for (const service of services) {
      const { name } = service;
      const alive = [...agents.values()].flatMap((agent) => agent.alive()).filter((replica) => replica.service === name);
      tally.moments.push({ at: now, service: name, desired: scalers.get(name)?.desire?.desired ?? 0, assigned: hubs.reduce((sum, hub) => sum + hub.assigned(name).length, 0), ready: alive.filter(({ phase }) => phase === "ready").length, alive: alive.length });
    }
  });

  try {
    agenda.run(untilMs);
    for (const agent of agents.values()) agent.close(agenda.now);
    checks.end(world, scalers, agenda.now);
  } catch (error) {
    throw error instanceof Violation ? error.of(seed, tally.lines) : error;
  }
  return { seed, outcomes: Object.fromEntries(services.map(({ name }) => [name, tally.of(name)])), moments: tally.moments, desires: tally.desires, lines: tally.lines };
}
