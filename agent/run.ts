import { mkdir, realpath } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { systemClock } from "../schema/clock.ts";
import type { Assign } from "../schema/protocol.ts";
import type { Config } from "./config.ts";
import { readLoads } from "./engine.ts";
import { processExecutor } from "./executors/process.ts";
import { heartbeat } from "./heartbeat.ts";
import { IdentityError, loadIdentity, loadKeys } from "./identity.ts";
import { openLink } from "./link.ts";
import { holdState } from "./lock.ts";
import type { Log } from "./log.ts";
import { probe, withSecrets } from "./probe.ts";
import { openRelays } from "./relay.ts";
import { keepReplicas } from "./replicas.ts";
import { keepKeysFresh } from "./rotate.ts";
import { systemTimers } from "./timers.ts";
import { openTrust } from "./trust.ts";

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
  }
  let last: Assign | undefined;
  let turn = Promise.resolve();
  const judge = async (assign: Assign): Promise<void> => {
    try {
      const judged = await trust.judge(assign);
      generation = assign.generation;
      replicas.apply(judged);
      link.changed();
    } catch (error) {
      log.error("an assignment could not be judged, the one before stays", { problem: error instanceof Error ? error.message : String(error) });
    }
  };
  /** One after another: judging reads files. */
  const take = (assign: Assign): void => {
    last = assign;
    turn = turn.then(() => judge(assign));
  };
  const trust = await openTrust({ config, state, openSecrets: keys.openSecrets, onChange: () => last && take(last), timers, log });
  if (config.trust !== "unsigned") log.info(trust.says, { place: config.trustPlace });

  const executor = await processExecutor({ state, environment, openSecrets: trust.openSecrets });
  const facts = await executor.capacity();
  let generation = 0;
  let draining = false;

  const loads = readLoads({
    timers,
    ready: () => replicas.states().flatMap(({ id, port, phase }) => (phase === "ready" && port !== undefined ? [{ id, port }] : [])),
  });
  const replicas = keepReplicas({
    executor, clock,
    probe: async (port, task) => probe(port, task.sealedSecrets === undefined ? task.probe : withSecrets(task.probe, await trust.openSecrets(task))),
    timers, random, log,
    loadOf: (id) => loads.of(id),
    engineOf: (id) => loads.engineOf(id),
    killAfterMs: config.killAfterMs,
    gate: trust.gate,
    onChange: () => link.changed(),
    onPhase: (replica) => link.report(replica),
  });
  const relays = openRelays({
    url, host: identity.host, count: config.relays, clock, timers, random, log,
    answererOf: (head) => replicas.answererOf(head),
    askTickets: () => link.askTickets(),
    onChange: () => link.changed(),
  });
  const link = openLink({
    url, host: identity.host, region: identity.region, agentVersion, sign: keys.prove, clock, timers, random, log,
    heartbeat: (epoch) => heartbeat({ epoch, generation, relays: relays.open, draining: draining || trust.stopped, replicas: replicas.states(), facts, trust: config.trust }),
    onTickets: (tickets) => relays.tickets(tickets),
    onAssign: take,
  });

  const freshness = keepKeysFresh({ state, clock, timers, random, log });

  return {
    async stop() {
      draining = true;
      log.info("agent drains", { atMostMs: config.drainMs });
      link.changed();
      await replicas.leave(config.drainMs);
      loads.close();
      trust.close();
      freshness.close();
      await link.close();
      relays.close();
      replicas.close();
      log.info("agent has stopped");
    },
    kill: () => executor.killAll(),
  };
}
