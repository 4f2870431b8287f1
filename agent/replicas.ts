import type { Clock, Random } from "../schema/clock.ts";
import type { RequestHead } from "../schema/frames.ts";
import type { AssignedReplica, ReplicaState } from "../schema/protocol.ts";
import { isOver } from "../schema/replica.ts";
import type { Probe, Task } from "../schema/task.ts";
import { carryHttp, carryWebSocket, loopbackPorts, type Answerer, type Carried, type Wire } from "./carry.ts";
import type { Told } from "./engine.ts";
import { StartError, type Executor } from "./executor.ts";
import { differs } from "./heartbeat.ts";
import type { Log } from "./log.ts";
import type { Probed } from "./probe.ts";
import { reconcile } from "./reconcile.ts";
import type { Recent } from "./recent.ts";
import { newReplica, refusedReplica, step, type Effect, type Event, type Replica, type Rules } from "./replica.ts";
import type { Scrubber } from "./scrub.ts";
import type { Slept, Woken } from "./sleep.ts";
import { tell } from "./tell.ts";
import type { Judged, Trusted } from "./trust.ts";
import type { Cancel, Timers } from "./timers.ts";

export interface ReplicasOptions {
  executor: Executor;
  probe: (port: number, task: Task) => Promise<Probed>;
  putToSleep: (port: number) => Promise<Slept>;
  wakeUp: (port: number, task: Task) => Promise<Woken>;
  /** What its engine tells. */
  toldBy: (id: string) => Told;
  /** The answer to a request that the host's gate does not let through to this task's replica. */
  gate?: Trusted["gate"] | undefined;
  /** From SIGTERM to SIGKILL. */
  killAfterMs: number;
  /** The agent's own latest log lines. */
  recent?: Recent;
  /** Takes secrets out of what leaves this host. */
  scrubber: Scrubber;
  /** Something that a hub should hear of soon. */
  onChange: () => void;
  /** A phase changed. */
  onPhase: (replica: ReplicaState) => void;
  clock: Clock;
  random: Random;
  timers: Timers;
  log: Log;
  /** Shorter times, for tests. */
  rules?: Partial<Omit<Rules, "probe">>;
}

export interface Replicas {
  /** What should be on this host, as the host lets it be. Safe to repeat. */
  apply(judged: Judged): void;
  /** Starts nothing more, drains and stops everything; resolves when all are over. */
  leave(drainMs: number): Promise<void>;
  /** Why this host is taken back: what ends here from now on ends as `reclaimed`. Undefined: it is not, and what was left is taken up again. */
  reclaim(reason: string | undefined): void;
  states(): ReplicaState[];
  /** What was carried to replicas since the agent began: requests, and bytes of answers. */
  readonly carried: { requests: number; bytes: number };
  answererOf(head: RequestHead): Answerer;
  close(): void;
}

/** One replica with what surrounds its pure state. */
interface Kept {
  replica: Replica;
  task: Task | undefined;
  cancel: Cancel | undefined;
  /** Starts and stops of a replica follow one another. */
  turn: Promise<void>;
  /** Cuts a request that is carried to it, of each. */
  cuts: Set<() => void>;
}

/** What is over and not assigned is looked at again so often, to be forgotten. */
const tidyMs = 30_000;
/** A replica may write a gigabyte a second: its log is looked at so often that it cannot fill a disk between. */
const trimMs = 2_000;

/** The replicas of this host: feeds events to their state machines and carries out what these decide. */
export function keepReplicas(options: ReplicasOptions): Replicas {
  const { executor, probe, putToSleep, wakeUp, toldBy, gate, killAfterMs, recent, scrubber, onChange, onPhase, clock, random, timers, log } = options;
  const kept = new Map<string, Kept>();
  const ports = loopbackPorts();
  const carriedInAll = { requests: 0, bytes: 0 };
  /** By replica, for as long as it is kept. */
  const requests = new Map<string, number>();
  let assigned: Judged | undefined;
  let leaving: { drainMs: number; done: () => void } | undefined;
  let reclaimed: string | undefined;
  let closed = false;

  function tellEvent(one: Kept, event: Event): void {
    if (kept.get(one.replica.id) !== one) return;
    const before = one.replica;
    const { replica, effects } = step(before, event, clock.now(), random, { ...options.rules, probe: one.task?.probe ?? neverProbed });
    one.replica = replica;
    if (before.port !== undefined && replica.port !== before.port) ports.close(before.port);
    one.cancel?.();
    one.cancel = replica.wakeAt === undefined ? undefined : timers.after(Math.max(0, replica.wakeAt - clock.now()), () => tellEvent(one, { type: "tick" }));
    for (const effect of effects) act(one, effect);
    const state = stateOf(replica);
    if (replica.phase !== before.phase) {
      log[replica.phase === "unhealthy" || replica.phase === "failed" ? "warn" : "info"](`replica is ${replica.phase}`, { replica: replica.id, reason: replica.reason });
      onPhase(state);
    }
    if (differs(state, before)) onChange();
    if (isOver(replica.phase)) over();
    // it may be wanted asleep
    else if (replica.phase === "ready" && before.phase !== "ready" && !leaving) queueMicrotask(settle);
  }

  function act(one: Kept, effect: Effect): void {
    const { id, number, port } = one.replica;
    const { task } = one;
    switch (effect.do) {
      case "start":
        inTurn(one, async () => {
          if (!task) return;
          const { start } = effect;
          try {
            await executor.start({
              id, number, task,
              onPreparing: (what) => tellEvent(one, { type: "preparing", start, what }),
              onRefused: (error) => tellEvent(one, { type: "refused", start, reason: error.message, wait: error.wait }),
              onStage: (stage, at, pid) => tellEvent(one, { type: "running", start, stage, port: at, pid }),
              onExit: (exit) => tellEvent(one, { type: "exited", start, ...exit }),
            });
          } catch (error) {
            if (!(error instanceof StartError)) log.error("a replica could not be started", { replica: id, problem: describe(error) });
            tellEvent(one, { type: "refused", start, reason: describe(error), wait: error instanceof StartError && error.wait });
          }
        });
        break;
      case "probe":
        if (port === undefined || !task) break;
        void (async () => {
          const result = await probe(port, task);
          const lastLine = result.ok || one.replica.readyAt !== undefined ? undefined : await executor.logs.lastLine(id).catch(() => undefined);
          tellEvent(one, { type: "probed", start: effect.start, lastLine, ...result });
        })();
        break;
      case "sleep":
        if (port !== undefined) void putToSleep(port).then((slept) => tellEvent(one, { type: "slept", start: effect.start, ...slept }));
        break;
      case "wake":
        if (port !== undefined && task) void wakeUp(port, task).catch((error: unknown) => ({ problem: describe(error) })).then((woken) => tellEvent(one, { type: "woken", start: effect.start, ...woken }));
        break;
      case "stop":
        inTurn(one, async () => {
          // an engine may keep its streams open and say nothing on them until it is killed: they go on elsewhere now
          if (one.replica.phase === "stopping") for (const cut of one.cuts) cut();
          try {
            await executor.stop(id, killAfterMs);
            tellEvent(one, { type: "ended" });
          } catch (error) {
            tellEvent(one, { type: "ended", problem: describe(error) });
          }
        });
        break;
    }
  }

  function inTurn(one: Kept, task: () => Promise<void>): void {
    one.turn = one.turn.then(task).catch((error: unknown) => log.error("a replica's step failed", { replica: one.replica.id, problem: describe(error) }));
  }

  function keep(replica: Replica, task: Task | undefined): void {
    const one: Kept = { replica, task, cancel: undefined, turn: kept.get(replica.id)?.turn ?? Promise.resolve(), cuts: new Set() };
    kept.set(replica.id, one);
    if (isOver(replica.phase)) {
      log.warn(`replica is ${replica.phase}`, { replica: replica.id, reason: replica.reason });
      onPhase(stateOf(replica));
    } else tellEvent(one, { type: "tick" });
    onChange();
  }

  function begin(assignedReplica: AssignedReplica, task: Task): void {
    log.info("replica is assigned", { replica: assignedReplica.id, version: assignedReplica.version });
    keep(newReplica(assignedReplica, clock.now()), task);
  }

  /** What was refused and never begun is let in when the reason is gone: a signature, a template, an override has come. */
  function reconsider({ assign, refuses }: Judged): void {
    const staying = new Set(assign.replicas.map(({ id }) => id));
    const alive = [...kept.values()].map(({ replica }) => replica).filter(({ id, phase }) => staying.has(id) && !isOver(phase) && phase !== "draining" && phase !== "stopping");
    for (const { replica } of kept.values()) {
      const { id, service, digest, phase, start } = replica;
      if (phase !== "failed" || start > 0 || !staying.has(id) || refuses(replica, alive) !== undefined) continue;
      if (assign.tasks.some((task) => task.service === service && task.digest === digest)) kept.delete(id);
    }
  }

  /** Takes the next steps from what is to what should be. */
  function settle(): void {
    if (!assigned) return;
    reconsider(assigned);
    const now = clock.now();
    for (const next of reconcile(assigned.assign, [...kept.values()].map((one) => one.replica), now, { leaving: leaving !== undefined, refuses: assigned.refuses, unwanted: assigned.unwanted })) {
      switch (next.do) {
        case "start": {
          const never = executor.refusal(next.task);
          if (never === undefined) begin(next.replica, next.task);
          else keep(refusedReplica(next.replica, never, now), undefined);
          break;
        }
        case "refuse":
          keep(refusedReplica(next.replica, next.reason, now), undefined);
          break;
        case "relabel": {
          const one = kept.get(next.id);
          if (!one) break;
          one.replica = { ...one.replica, version: next.version };
          one.task = assigned.assign.tasks.find(({ service, digest }) => service === one.replica.service && digest === one.replica.digest) ?? one.task;
          onChange();
          break;
        }
        case "sleep":
        case "wake": {
          const one = kept.get(next.id);
          if (one) tellEvent(one, next.do === "wake" ? { type: "wake" } : { type: "sleep", drainMs: one.task?.drainMs ?? 0, settleMs });
          break;
        }
        case "drain": {
          const one = kept.get(next.id);
          if (one && one.replica.phase !== "draining" && one.replica.phase !== "stopping") tellEvent(one, { type: "drain", ...why(next.reason), drainMs: one.task?.drainMs ?? 0, settleMs });
          break;
        }
        case "forget":
          kept.get(next.id)?.cancel?.();
          kept.delete(next.id);
          requests.delete(next.id);
          void executor.forget(next.id).catch((error: unknown) => log.warn("a replica's folder could not be removed", { replica: next.id, problem: describe(error) }));
          onChange();
          break;
      }
    }
  }

  function why(reason: string): { reason: string; reclaimed?: boolean } {
    return reclaimed === undefined ? { reason } : { reason: reclaimed, reclaimed: true };
  }

  /** A replica has ended: its id may be wanted with another digest, or all may be done. */
  function over(): void {
    if (leaving) {
      if ([...kept.values()].every(({ replica }) => isOver(replica.phase))) leaving.done();
    } else queueMicrotask(settle);
  }

  function stateOf(replica: Replica): ReplicaState {
    const { id, service, number, version, digest, phase, reason, since, restarts, wasReady, port, pid, inFlight } = replica;
    const told = phase === "ready" ? toldBy(id) : {};
    return {
      id, service, number, version, digest, phase, since, restarts, wasReady, inFlight, requests: requests.get(id) ?? 0,
      ...(reason === undefined ? {} : { reason: scrubber.scrub(reason) }), ...(phase === "failed" && !replica.begun ? { refused: true } : {}), ...(port === undefined ? {} : { port }), ...(pid === undefined ? {} : { pid }), ...told,
    };
  }

  /** Counts a request for as long as it is carried. */
  function counted(one: Kept, head: RequestHead, wire: Wire, port: number) {
    let open = true;
    const count = (by: number): void => tellEvent(one, { type: "carrying", inFlight: one.replica.inFlight + by });
    const done = (): void => {
      if (open) count(-1);
      open = false;
      one.cuts.delete(cut);
    };
    const cut = (): void => {
      carried.cancel();
      wire.reset("cancelled", "the replica is being stopped");
      done();
    };
    one.cuts.add(cut);
    count(1);
    carriedInAll.requests++;
    requests.set(one.replica.id, (requests.get(one.replica.id) ?? 0) + 1);
    const counting: Wire = {
      ...wire,
      body(payload, kind) {
        carriedInAll.bytes += payload.byteLength;
        return wire.body(payload, kind);
      },
      end(close) {
        wire.end(close);
        done();
      },
      reset(code, message) {
        // what is cut because the replica is stopped is nobody's fault: a request must not be blamed for it
        if (code === "upstream_lost" && (one.replica.phase === "stopping" || isOver(one.replica.phase))) wire.reset("cancelled", "the replica is being stopped");
        else wire.reset(code, message);
        done();
      },
    };
    const carried = head.upgrade === true ? carryWebSocket(head, port, counting) : carryHttp(head, port, ports.to(port), counting);
    return {
      ...carried,
      cancel() {
        carried.cancel();
        done();
      },
    };
  }

  const tidy = (): void => {
    settle();
    cancelTidy = timers.after(tidyMs, tidy);
  };
  let cancelTidy = timers.after(tidyMs, tidy);
  const trim = (): void => {
    for (const { replica } of kept.values()) {
      if (!isOver(replica.phase)) executor.logs.trim(replica.id).catch((error: unknown) => log.warn("a log could not be cut", { replica: replica.id, problem: describe(error) }));
    }
    cancelTrim = timers.after(trimMs, trim);
  };
  let cancelTrim = timers.after(trimMs, trim);

  return {
    apply(judged) {
      assigned = judged;
      if (!closed) settle();
    },
    leave(drainMs) {
      return new Promise((resolve) => {
        leaving = { drainMs, done: resolve };
        for (const one of kept.values()) {
          if (!isOver(one.replica.phase)) tellEvent(one, { type: "drain", ...why("the agent is stopping"), drainMs: Math.min(drainMs, one.task?.drainMs ?? drainMs), settleMs: 0 });
        }
        if ([...kept.values()].every(({ replica }) => isOver(replica.phase))) resolve();
      });
    },
    carried: carriedInAll,
    reclaim(reason) {
      reclaimed = reason;
      if (reason !== undefined || leaving === undefined) return;
      leaving = undefined;
      settle();
    },
    states: () => [...kept.values()].map(({ replica }) => stateOf(replica)),
    answererOf(head) {
      if (head.target === "agent") {
        return { carry: (given, wire) => tell(given, wire, { logs: executor.logs, knows: (id) => kept.has(id), isOver: (id) => isOver(kept.get(id)?.replica.phase ?? "stopped"), recent, scrubber }) };
      }
      const one = kept.get(head.target);
      const phase = one?.replica.phase;
      if (!one || phase === undefined) return { refuse: { code: "no_target", message: "this host has no such replica" } };
      const settling = (phase === "draining" || one.replica.sleep?.stage === "settling") && clock.now() - one.replica.since < settleMs;
      if ((phase === "draining" && !settling) || phase === "stopping" || leaving) return { refuse: { code: "draining", message: "the replica is draining" } };
      const { port } = one.replica;
      // an engine that sleeps may fail at a request, or die of it (facts/engines.md §4)
      if ((phase !== "ready" && !settling) || port === undefined) return { refuse: { code: "no_target", message: `the replica is ${phase}` } };
      if (toldBy(head.target).load?.sleeping === true) return { refuse: { code: "no_target", message: "the replica's engine was put to sleep by somebody else" } };
      const refused = one.task === undefined ? undefined : gate?.(one.task, head);
      if (refused !== undefined) return { carry: (_given, wire) => refuseAtGate(refused, wire) };
      return { carry: (given, wire) => counted(one, given, wire, port) };
    },
    close() {
      closed = true;
      cancelTidy();
      cancelTrim();
      for (const { cancel } of kept.values()) cancel?.();
      kept.clear();
      ports.closeAll();
    },
  };
}

/** Says no by itself; the replica hears nothing of it. */
function refuseAtGate({ status, headers, body }: NonNullable<ReturnType<Trusted["gate"]>>, wire: Wire): Carried {
  wire.head({ status, headers });
  wire.body(Buffer.from(body));
  wire.end();
  return { body() {}, end() {}, resume() {}, cancel() {} };
}

/**
 * A replica that drains or falls asleep still takes requests for so long: isolates route by views that are up to a second old, and a request whose
 * body is a stream cannot be sent twice.
 */
const settleMs = 2_000;

/** For replicas that are over from the beginning. */
const neverProbed: Probe = { path: "/", initialDelayMs: 0, timeoutMs: 1, intervalMs: 1, failureThresholdMs: 0, headers: {} };

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
