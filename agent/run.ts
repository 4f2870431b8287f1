import { mkdir, realpath } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { systemClock } from "../schema/clock.ts";
import type { Config } from "./config.ts";
import { readLoads } from "./engine.ts";
import { processExecutor } from "./executors/process.ts";
import { heartbeat } from "./heartbeat.ts";
import { IdentityError, loadIdentity, loadKeys } from "./identity.ts";
import { openLink } from "./link.ts";
import { holdState } from "./lock.ts";
import type { Log } from "./log.ts";
import { probe, withSecrets } from "./probe.ts";
import { openGate } from "./gate.ts";
import { openRelays } from "./relay.ts";
import { keepReplicas } from "./replicas.ts";
import { systemTimers } from "./timers.ts";

/** A running agent. */
export interface Agent {
  /** Drains and stops everything, says goodbye. */
  stop(): Promise<void>;
  /** Ends everything at once. */
  kill(): Promise<void>;
}

/** Puts the parts together and starts them. @throws IdentityError when this host has not joined or is in use */
export async function runAgent(config: Config, log: Log, environment: Readonly<Record<string, string | undefined>>): Promise<Agent> {
  const [clock, timers, random] = [systemClock, systemTimers, Math.random];
  await mkdir(config.state, { recursive: true, mode: 0o700 });
  const state = await realpath(config.state);
  const identity = await loadIdentity(state);
  const keys = await loadKeys(state);
  if (!(await holdState(state))) throw new IdentityError(`Cannot start: another agent runs with the state folder ${state}`);
  const url = (config.fleetUrl ?? identity.fleetUrl).replace(/^http/, "ws").replace(/\/+$/, "");
  const agentVersion = (JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string }).version;

  log.info("agent starts", { host: identity.host, name: config.name ?? identity.name, region: identity.region, fleet: url, version: agentVersion });
  if (config.trust === "unsigned") {
    log.warn(`trust is unsigned (${config.trustPlace}): whoever can change services, or the fleet's hubs, can run any command on this host as this user`);
  } else log.info("trust is templates: this host runs only what its owner allows; it has no templates, so it runs nothing", { place: config.trustPlace });

  const executor = await processExecutor({ state, environment, openSecrets: keys.openSecrets });
  const facts = await executor.capacity();
  let generation = 0;
  let draining = false;

  const loads = readLoads({
    timers,
    ready: () => replicas.states().flatMap(({ id, port, phase }) => (phase === "ready" && port !== undefined ? [{ id, port }] : [])),
  });
  const replicas = keepReplicas({
    executor, clock,
    probe: async (port, task) => probe(port, task.sealedSecrets === undefined ? task.probe : withSecrets(task.probe, await keys.openSecrets(task))),
    timers, random, log,
    loadOf: (id) => loads.of(id),
    engineOf: (id) => loads.engineOf(id),
    killAfterMs: config.killAfterMs,
    refusal: config.trust === "unsigned" ? undefined : `this host runs no unsigned service: write "trust: unsigned" in ${config.trustPlace} to allow it`,
    onChange: () => link.changed(),
    onPhase: (replica) => link.report(replica),
  });
  const relays = openRelays({
    url, host: identity.host, count: config.relays, clock, timers, random, log,
    answererOf: (head) => replicas.answererOf(head),
    askTickets: () => link.askTickets(),
    onChange: () => link.changed(),
  });
  const gate = config.direct === undefined ? undefined : await openGate({ ...config.direct, hostId: identity.host, answererOf: (head) => relays.answererOf(head), timers, log, monotonic: () => performance.now() });
  const link = openLink({
    url, host: identity.host, region: identity.region, agentVersion, sign: keys.sign, clock, timers, random, log,
    heartbeat: (epoch) => heartbeat({ epoch, generation, relays: relays.open, draining, replicas: replicas.states(), facts, ...(gate === undefined ? {} : { direct: { url: gate.url } }) }),
    relays: config.relays,
    onTickets: (tickets) => relays.tickets(tickets),
    onGate: (given) => gate?.admit(given),
    onAssign(assign) {
      generation = assign.generation;
      replicas.apply(assign);
      link.changed();
    },
  });

  return {
    async stop() {
      draining = true;
      log.info("agent drains", { atMostMs: config.drainMs });
      link.changed();
      await replicas.leave(config.drainMs);
      loads.close();
      await link.close();
      gate?.close();
      relays.close();
      replicas.close();
      log.info("agent has stopped");
    },
    kill: () => executor.killAll(),
  };
}
