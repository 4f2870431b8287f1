import { realpath } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { gpusOn } from "../schema/accelerator.ts";
import { systemClock } from "../schema/clock.ts";
import type { Readings } from "../schema/readings.ts";
import type { Assign } from "../schema/protocol.ts";
import type { Config } from "./config.ts";
import { readLoads } from "./engine.ts";
import { hostExecutor } from "./executors/executors.ts";
import { keepFacts } from "./facts.ts";
import { heartbeat } from "./heartbeat.ts";
import { keepKind } from "./kind.ts";
import { IdentityError, loadIdentity, loadKeys, makeState } from "./identity.ts";
import { openLink } from "./link.ts";
import { serveMetrics } from "./metrics.ts";
import { readHost } from "./readings/readings.ts";
import { steady } from "./readings/steady.ts";
import type { Recent } from "./recent.ts";
import type { Scrubber } from "./scrub.ts";
import { holdState } from "./lock.ts";
import type { Log } from "./log.ts";
import { probe, withSecrets } from "./probe.ts";
import { openGate } from "./gate.ts";
import { heedReclaim } from "./reclaim.ts";
import { openRelays } from "./relay.ts";
import { keepReplicas } from "./replicas.ts";
import { keepKeysFresh } from "./rotate.ts";
import { putToSleep, wakeUp } from "./sleep.ts";
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
export async function runAgent(config: Config, log: Log, environment: Readonly<Record<string, string | undefined>>, { recent, scrubber }: { recent: Recent; scrubber: Scrubber }): Promise<Agent> {
  const [clock, timers, random] = [systemClock, systemTimers, Math.random];
  await makeState(config.state);
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
  /** What is opened on this host is known from then on: it does not leave with a log line. */
  const openSecrets: typeof keys.openSecrets = async (task) => {
    const opened = await keys.openSecrets(task);
    scrubber.learn(Object.values(opened));
    return opened;
  };
  let last: Assign | undefined;
  let turn = Promise.resolve();
  const judge = async (assign: Assign): Promise<void> => {
    try {
      // a log of an earlier run may hold them before a replica has been started again
      for (const task of assign.tasks) if (task.sealedSecrets !== undefined) openSecrets(task).catch(() => undefined);
      const judged = await trust.judge(assign);
      generation = assign.generation;
      // how many GPUs a replica takes may depend on what they are; a template's owner has said how many
      const tasks = judged.assign.tasks.map((task) => (task.template === undefined ? { ...task, gpus: gpusOn(task, kind.now.accelerator) } : task));
      replicas.apply({ ...judged, assign: { ...judged.assign, tasks } });
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
  const trust = await openTrust({ config, state, openSecrets, onChange: () => last && take(last), timers, log });
  if (config.trust !== "unsigned") log.info(trust.says, { place: config.trustPlace });

  const executor = await hostExecutor({ state, owner: `${identity.host}:${state}`, config: config.executors, environment, openSecrets: trust.openSecrets, log });
  const facts = keepFacts({ executor, first: await executor.capacity(), freeBytesMin: config.executors.disk_free, timers, log });
  let generation = 0;
  let draining = false;

  const loads = readLoads({
    timers, log,
    onKnown: () => link.changed(),
    ready: () => replicas.states().flatMap(({ id, port, pid, phase }) => (phase === "ready" && port !== undefined ? [{ id, port, pid }] : [])),
  });
  const replicas = keepReplicas({
    executor, clock,
    probe: async (port, task) => probe(port, task.sealedSecrets === undefined ? task.probe : withSecrets(task.probe, await trust.openSecrets(task))),
    putToSleep,
    wakeUp: async (port, task) => wakeUp(port, task.sealedSecrets === undefined ? task.probe : withSecrets(task.probe, await trust.openSecrets(task))),
    timers, random, log, recent, scrubber,
    toldBy: (id) => loads.of(id),
    killAfterMs: config.killAfterMs,
    gate: trust.gate,
    onChange: () => link.changed(),
    onPhase(replica) {
      link.report(replica);
      if (replica.phase === "ready") {
        kind.ready(replica.digest);
        loads.look();
      }
    },
  });
  const host = readHost({ state, dcgmUrl: config.dcgmUrl, clock, timers });
  const kind = await keepKind({ state, config, gpus: () => host.latest()?.gpus ?? [], onChange: () => link.changed(), log });
  const steadyReadings = (): Readings | undefined => {
    const read = host.latest();
    return read && steady(read);
  };
  const relays = openRelays({
    url, host: identity.host, count: config.relays, clock, timers, random, log,
    answererOf: (head) => replicas.answererOf(head),
    askTickets: () => link.askTickets(),
    onChange: () => link.changed(),
  });
  const gate = config.direct === undefined ? undefined : await openGate({ ...config.direct, hostId: identity.host, answererOf: (head) => relays.answererOf(head), timers, log, monotonic: () => performance.now() });
  const link = openLink({
    url, host: identity.host, region: identity.region, agentVersion, sign: keys.prove, clock, timers, random, log,
    heartbeat: (epoch) => heartbeat({
      epoch, generation, relays: relays.open, draining: draining || trust.stopped || reclaim.draining, reclaim: reclaim.notice, replicas: replicas.states(), facts: { ...facts.now, ...kind.now }, trust: config.trust,
      readings: steadyReadings(), ...(gate === undefined ? {} : { direct: { url: gate.url } }),
    }),
    relays: config.relays,
    onTickets: (tickets) => relays.tickets(tickets),
    onGate: (given) => gate?.admit(given),
    onAssign: take,
  });

  const metrics = config.metricsPort === undefined ? undefined : await serveMetrics({
    port: config.metricsPort, agentVersion, log,
    linkUp: () => link.up, sessions: () => link.sessions, relays: () => relays.open.length,
    replicas: () => replicas.states(), carried: () => replicas.carried, readings: () => host.latest(), linesDropped: () => recent.dropped,
  }).catch((error: Error) => {
    // a port that is taken is no reason to serve nobody
    log.error("the agent's metrics are not served", { problem: error.message });
    return undefined;
  });
  const reclaim = heedReclaim({ ...config.reclaim, drainMs: config.drainMs, killAfterMs: config.killAfterMs, replicas, onKind: (said) => kind.told(said), onChange: () => link.changed(), clock, timers, log });
  const freshness = keepKeysFresh({ state, clock, timers, random, log });

  return {
    async stop() {
      draining = true;
      log.info("agent drains", { atMostMs: config.drainMs });
      link.changed();
      await replicas.leave(config.drainMs);
      await executor.killAll();
      reclaim.close();
      loads.close();
      host.close();
      await metrics?.close();
      facts.close();
      trust.close();
      freshness.close();
      await link.close();
      gate?.close();
      relays.close();
      replicas.close();
      log.info("agent has stopped");
    },
    kill: () => executor.killAll(),
  };
}
