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
  /** Asleep or on its way there: `settling` as a drain is, then told to sleep, asleep, told to wake. */
  sleep?: { stage: "settling" | "falling" | "asleep" | "waking"; settledAt: Now; until: Now; /** It should wake as soon as it sleeps. */ wake?: boolean } | undefined;
  /** Its present start cannot be put to sleep. */
  sleepless?: boolean | undefined;
  /** Its host is taken back: that is how it ends. */
  reclaimed?: boolean;
  /** Why it was last started again. */
  trouble?: string | undefined;
}

export type Event =
  | { type: "tick" }
  /** It cannot run yet, and what it needs is being got. */
  | { type: "preparing"; start: number; what: string }
  | { type: "running"; start: number; stage: "setup" | "run"; port: number; pid: number | undefined }
  /** The start was not possible. `wait`: for want of room, which is no failure of the replica. */
  | { type: "refused"; start: number; reason: string; wait: boolean }
  /** `setup` or `run` ended by itself; nothing of it is left. */
  | { type: "exited"; start: number; during: "setup" | "run"; code?: number | undefined; signal?: string | undefined; lastLine?: string | undefined; outOfMemory?: "certain" | "likely" | undefined }
  | { type: "probed"; start: number; ok: boolean; detail?: string; lastLine?: string | undefined }
  /** `settleMs`: how long it goes on taking requests before it may stop, though nothing is in flight. */
  | { type: "drain"; reason: string; drainMs: number; settleMs?: number; reclaimed?: boolean }
  /** Take its weights off the GPU when nothing is in flight, as `drain` waits for it. */
  | { type: "sleep"; drainMs: number; settleMs: number }
  | { type: "wake" }
  /** The answer to `sleep`. `awake`: it refused, and goes on as it was. */
  | { type: "slept"; start: number; problem?: string | undefined; awake?: boolean | undefined }
  /** The answer to `wake`: it has generated something, or there is a problem. */
  | { type: "woken"; start: number; problem?: string | undefined }
  | { type: "carrying"; inFlight: number }
  /** The answer to `stop`: nothing is left of it, or (with a problem) something would not end. */
  | { type: "ended"; problem?: string };

export type Effect = { do: "start" | "probe" | "sleep" | "wake"; start: number } | { do: "stop" };

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
    replica.port = replica.pid = replica.failingSince = replica.sleep = replica.sleepless = undefined;
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
  /** Tell a replica to sleep when nothing holds it up; else wake when nothing does. What outlives the drain time is cut. */
  const settled = (): void => {
    const { sleep, inFlight } = replica;
    if (sleep?.stage !== "settling") return;
    if (now < sleep.until && (inFlight > 0 || now < sleep.settledAt)) {
      replica.wakeAt = inFlight > 0 ? sleep.until : sleep.settledAt;
      return;
    }
    replica.sleep = { ...sleep, stage: "falling" };
    replica.wakeAt = undefined;
    become("sleeping", "its weights are being taken off the GPU");
    effects.push({ do: "sleep", start: replica.start });
  };
  const rouse = (): void => {
    if (replica.sleep === undefined) return;
    replica.sleep = { ...replica.sleep, stage: "waking" };
    become("sleeping", "it is waking");
    effects.push({ do: "wake", start: replica.start });
  };
  const beReady = (reason: string | undefined): void => {
    replica.sleep = undefined;
    become("ready", reason);
    replica.wakeAt = now + probe.intervalMs;
  };
  const ended = (): Phase => (replica.reclaimed === true ? "reclaimed" : "stopped");
  const kill = (reason: string): void => {
    replica.sleep = undefined;
    become("unhealthy", reason);
    stop();
  };

  switch (event.type) {
    case "tick":
      if (replica.wakeAt === undefined || now < replica.wakeAt) break;
      replica.wakeAt = undefined;
      if (replica.phase === "draining") {
        drained();
      } else if (replica.phase === "sleeping") {
        settled();
      } else if (replica.processes === "none") {
        replica.processes = "asked";
        effects.push({ do: "start", start: ++replica.start });
      } else if (replica.processes === "run" && !replica.probing) {
        replica.probing = true;
        effects.push({ do: "probe", start: replica.start });
      }
      break;

    case "preparing":
      if (replica.processes === "asked") become(replica.phase === "pending" ? "provisioning" : replica.phase, event.what);
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
        if (replica.phase === "pending" || replica.phase === "provisioning") become("starting", event.reason);
        startAgain(event.reason);
      }
      break;

    case "exited": {
      if (replica.processes !== "setup" && replica.processes !== "run") break;
      const what = event.during === "setup" ? "setup " : "";
      let reason = what + (event.signal === undefined ? `exited with code ${event.code ?? "unknown"}` : `was killed by ${event.signal}`);
      if (event.outOfMemory !== undefined) reason += event.outOfMemory === "certain" ? ": out of memory" : " (out of memory?)";
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
      if (replica.phase === "draining" || replica.phase === "sleeping") break;
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
      replica.sleep = undefined;
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
      else if (replica.phase === "sleeping") settled();
      break;

    case "sleep":
      if (replica.phase !== "ready" || replica.processes !== "run" || replica.sleepless === true) break;
      replica.sleep = { stage: "settling", settledAt: now + Math.min(event.settleMs, event.drainMs), until: now + event.drainMs };
      become("sleeping", "it falls asleep when nothing is in flight");
      settled();
      break;

    case "wake":
      if (replica.sleep?.stage === "settling") beReady(undefined);
      else if (replica.sleep?.stage === "falling") replica.sleep = { ...replica.sleep, wake: true };
      else if (replica.sleep?.stage === "asleep") rouse();
      break;

    case "slept":
      if (replica.phase !== "sleeping" || replica.sleep?.stage !== "falling") break;
      if (event.problem !== undefined && event.awake === true) {
        replica.sleepless = true;
        beReady(`it cannot be put to sleep: ${event.problem}`);
      } else if (event.problem !== undefined) kill(`it was told to sleep: ${event.problem}`);
      else if (replica.sleep.wake === true) rouse();
      else {
        replica.sleep = { ...replica.sleep, stage: "asleep" };
        become("sleeping", "its weights are in the host's memory");
      }
      break;

    case "woken":
      if (replica.phase !== "sleeping" || replica.sleep?.stage !== "waking") break;
      if (event.problem === undefined) beReady(undefined);
      else kill(`it was woken: ${event.problem}`);
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
