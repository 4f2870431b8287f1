import { backoffMs, type Now, type Random } from "../schema/clock.ts";
import type { AssignedReplica } from "../schema/protocol.ts";
import { canBecome, isOver, type Phase } from "../schema/replica.ts";
import type { Probe } from "../schema/task.ts";
import { formatDuration } from "../schema/units.ts";

/** The life of one replica: its phase, and what its next step is decided from. */
export interface Replica {
  id: string;
  service: string;
  number: number;
  version: number;
  digest: string;
  phase: Phase;
  reason?: string | undefined;
  /** When the phase began. */
  since: Now;
  restarts: number;
  wasReady: boolean;
  port?: number | undefined;
  pid?: number | undefined;
  inFlight: number;
  /** What the executor has of it: nothing, a start under way, `setup`, `run`, or processes being ended. */
  processes: "none" | "asked" | "setup" | "run" | "ending";
  /** Counts starts, so that news of an earlier one is not taken for news of this one. */
  start: number;
  /** Whether any start has got as far as running something. */
  begun: boolean;
  /** Failed starts in a row. */
  failedStarts: number;
  /** Restarts in a row, for the backoff. */
  attempt: number;
  /** Since this start. */
  readyAt?: Now | undefined;
  /** The first failed probe of the present streak. */
  failingSince?: Now | undefined;
  probing: boolean;
  /** When a `tick` has something to do. */
  wakeAt?: Now | undefined;
  /** Draining: not over before the first, at the latest at the second. */
  drain?: { settledAt: Now; until: Now } | undefined;
  /** Its host is taken back: that is how it ends. */
  reclaimed?: boolean;
  /** Why it was last started again. */
  trouble?: string | undefined;
}

export type Event =
  | { type: "tick" }
  | { type: "running"; start: number; stage: "setup" | "run"; port: number; pid: number }
  /** The start was not possible. `wait`: for want of room, which is no failure of the replica. */
  | { type: "refused"; start: number; reason: string; wait: boolean }
  /** `setup` or `run` ended by itself; nothing of it is left. */
  | { type: "exited"; start: number; during: "setup" | "run"; code?: number | undefined; signal?: string | undefined; lastLine?: string | undefined }
  | { type: "probed"; start: number; ok: boolean; detail?: string; lastLine?: string | undefined }
  /** `settleMs`: how long it goes on taking requests before it may stop, though nothing is in flight. */
  | { type: "drain"; reason: string; drainMs: number; settleMs?: number; reclaimed?: boolean }
  | { type: "carrying"; inFlight: number }
  /** The answer to `stop`: nothing is left of it, or (with a problem) something would not end. */
  | { type: "ended"; problem?: string };

export type Effect = { do: "start"; start: number } | { do: "probe"; start: number } | { do: "stop" };

export interface Rules {
  probe: Probe;
  /** Between probes of a replica that is starting. */
  startProbeMs?: number;
  /** Between probes of one that was ready and is not: found again sooner than by `probe.intervalMs`. */
  unhealthyProbeMs?: number;
  /** Failed starts in a row after which a replica that was never ready has failed. */
  startsMax?: number;
  /** Ready for so long, a replica's next restart is a first one. */
  stableMs?: number;
  /** Delays between restarts. */
  backoff?: { baseMs: number; capMs: number };
  /** The longest wait for room (a port): it may become free at any time. */
  roomMs?: number;
}

/** A replica that was started again says why for so long. */
const troubleMs = 600_000;

/** What a person reads in one line. */
const reasonMax = 300;

export function newReplica({ id, service, number, version, digest }: AssignedReplica, now: Now): Replica {
  return {
    id, service, number, version, digest, phase: "pending", since: now, restarts: 0, wasReady: false, inFlight: 0,
    processes: "none", start: 0, begun: false, failedStarts: 0, attempt: 0, probing: false, wakeAt: now,
  };
}

/** A replica that this host will not run. */
export function refusedReplica(assigned: AssignedReplica, reason: string, now: Now): Replica {
  return { ...newReplica(assigned, now), phase: "failed", reason: sentence(reason), wakeAt: undefined };
}

/** The next state of a replica and what is to be done. Pure: time and chance are arguments, the state given is not changed. */
export function step(before: Replica, event: Event, now: Now, random: Random, rules: Rules): { replica: Replica; effects: Effect[] } {
  const { probe, startProbeMs = 500, unhealthyProbeMs = 2_000, startsMax = 3, stableMs = 60_000, backoff = { baseMs: 1_000, capMs: 60_000 }, roomMs = 5_000 } = rules;
  const replica = { ...before };
  const effects: Effect[] = [];
  if (isOver(replica.phase) || ("start" in event && event.start !== replica.start)) return { replica, effects };

  const become = (phase: Phase, reason: string | undefined): void => {
    if (phase !== replica.phase) {
      if (!canBecome(replica.phase, phase)) throw new Error(`Cannot make replica ${replica.id} ${phase}: it is ${replica.phase}`);
      replica.phase = phase;
      replica.since = now;
    }
    replica.reason = reason === undefined ? undefined : sentence(reason);
  };
  const gone = (): void => {
    replica.processes = "none";
    replica.port = replica.pid = replica.failingSince = undefined;
    replica.probing = false;
    replica.wakeAt = undefined;
  };
  const stop = (): void => {
    if (replica.processes !== "ending") effects.push({ do: "stop" });
    replica.processes = "ending";
    replica.wakeAt = undefined;
  };
  /** Nothing runs any more: try again later, or give up. */
  const startAgain = (reason: string): void => {
    const readyAt = replica.readyAt;
    gone();
    replica.readyAt = undefined;
    replica.failedStarts = readyAt === undefined ? replica.failedStarts + 1 : 0;
    if (!replica.wasReady && replica.failedStarts >= startsMax) {
      become("failed", `it failed to start ${replica.failedStarts} times: ${reason}`);
      return;
    }
    if (readyAt !== undefined && now - readyAt >= stableMs) replica.attempt = 0;
    become("unhealthy", reason);
    replica.trouble = reason;
    replica.wakeAt = now + backoffMs(replica.attempt++, random, backoff);
  };
  /** Stop a draining replica when it may be stopped; else wake when it may. */
  const drained = (): void => {
    const { settledAt, until } = replica.drain ?? { settledAt: now, until: now };
    if (now >= until && replica.inFlight > 0) become("stopping", `${replica.inFlight} requests were still in flight when its drain time was over`);
    else if (now >= settledAt && replica.inFlight === 0) become("stopping", replica.reason);
    else {
      replica.wakeAt = replica.inFlight > 0 ? until : settledAt;
      return;
    }
    stop();
  };
  const ended = (): Phase => (replica.reclaimed === true ? "reclaimed" : "stopped");
  const kill = (reason: string): void => {
    become("unhealthy", reason);
    stop();
  };

  switch (event.type) {
    case "tick":
      if (replica.wakeAt === undefined || now < replica.wakeAt) break;
      replica.wakeAt = undefined;
      if (replica.phase === "draining") {
        drained();
      } else if (replica.processes === "none") {
        replica.processes = "asked";
        effects.push({ do: "start", start: ++replica.start });
      } else if (replica.processes === "run" && !replica.probing) {
        replica.probing = true;
        effects.push({ do: "probe", start: replica.start });
      }
      break;

    case "running":
      if (replica.processes !== "asked" && replica.processes !== "setup") break;
      if (replica.processes === "asked" && replica.begun) replica.restarts++;
      replica.begun = true;
      replica.processes = event.stage;
      replica.port = event.port;
      replica.pid = event.pid;
      become("starting", event.stage === "setup" ? "setup is running" : "run has begun");
      if (event.stage === "run") replica.wakeAt = now + startProbeMs;
      break;

    case "refused":
      if (replica.processes !== "asked") break;
      if (event.wait) {
        gone();
        become(replica.phase, event.reason);
        replica.wakeAt = now + backoffMs(replica.attempt++, random, { baseMs: backoff.baseMs, capMs: roomMs });
      } else {
        if (replica.phase === "pending") become("starting", event.reason);
        startAgain(event.reason);
      }
      break;

    case "exited": {
      if (replica.processes !== "setup" && replica.processes !== "run") break;
      const what = event.during === "setup" ? "setup " : "";
      let reason = what + (event.signal === undefined ? `exited with code ${event.code ?? "unknown"}` : `was killed by ${event.signal}`);
      if (replica.phase === "draining") {
        gone();
        become("stopping", reason);
        become(ended(), reason);
        break;
      }
      if (replica.readyAt === undefined && event.lastLine) reason += `: ${event.lastLine}`;
      startAgain(reason);
      break;
    }

    case "probed":
      if (!replica.probing || replica.processes !== "run") break;
      replica.probing = false;
      if (replica.phase === "draining") break;
      if (event.ok) {
        replica.readyAt ??= now;
        become("ready", replica.trouble !== undefined && now - replica.readyAt < troubleMs ? `started again: ${replica.trouble}` : undefined);
        replica.wasReady = true;
        replica.failingSince = undefined;
        replica.failedStarts = 0;
        replica.wakeAt = now + probe.intervalMs;
        break;
      }
      replica.failingSince ??= now;
      if (replica.phase === "starting") {
        replica.wakeAt = now + startProbeMs;
        if (now - replica.failingSince > probe.initialDelayMs) {
          const last = event.lastLine ? `: ${event.lastLine}` : "";
          kill(`it was not ready within ${formatDuration(probe.initialDelayMs)}, ${event.detail ?? "its probe failed"}${last}`);
        } else become("starting", `waiting for its readiness probe: ${event.detail ?? "it failed"}`);
        break;
      }
      replica.wakeAt = now + Math.min(probe.intervalMs, unhealthyProbeMs);
      if (now - replica.failingSince >= probe.failureThresholdMs) kill(`its readiness probe failed for ${formatDuration(now - replica.failingSince)}, ${event.detail ?? "without an answer"}`);
      else become("unhealthy", `its readiness probe fails: ${event.detail ?? "it has no answer"}`);
      break;

    case "drain":
      if (event.reclaimed === true) replica.reclaimed = true;
      if (replica.phase === "stopping") break;
      if (replica.phase === "draining") {
        // a second order can only make it sooner
        replica.drain = { settledAt: Math.min(replica.drain?.settledAt ?? now, now + (event.settleMs ?? 0)), until: Math.min(replica.drain?.until ?? now, now + event.drainMs) };
        drained();
        break;
      }
      if (replica.processes === "run" && (replica.inFlight > 0 || (replica.phase === "ready" && (event.settleMs ?? 0) > 0))) {
        become("draining", event.reason);
        replica.drain = { settledAt: now + Math.min(event.settleMs ?? 0, event.drainMs), until: now + event.drainMs };
        drained();
      } else {
        become("stopping", event.reason);
        stop();
      }
      break;

    case "carrying":
      replica.inFlight = event.inFlight;
      if (replica.phase === "draining") drained();
      break;

    case "ended":
      if (replica.processes !== "ending") break;
      if (event.problem !== undefined) {
        gone();
        become("failed", event.problem);
      } else if (replica.phase === "stopping") {
        gone();
        become(ended(), replica.reason);
      } else startAgain(replica.reason ?? "it was ended");
      break;
  }
  return { replica, effects };
}

function sentence(text: string): string {
  return text.length <= reasonMax ? text : `${text.slice(0, reasonMax - 1)}…`;
}
