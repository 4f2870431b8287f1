import type { Task } from "../schema/task.ts";

/** What there is on this host to run replicas with. */
export interface Capacity {
  gpus: number;
  cpus: number;
  memoryBytes: number;
  /** Where the agent's state is; absent where it cannot be told. `full`: nothing is started until there is room. */
  disk?: { bytes: number; freeBytes: number; full?: boolean } | undefined;
}

/** How a stage ended by itself: an exit code or a signal's name. */
export interface Exit {
  during: "setup" | "run";
  code: number | undefined;
  signal: string | undefined;
  /** The last line of its log, without secrets. */
  lastLine: string | undefined;
  /** It was ended for want of memory: as the kernel or the engine say, or as it seems. */
  outOfMemory?: "certain" | "likely" | undefined;
}

export interface StartOrder {
  id: string;
  number: number;
  task: Task;
  /** It is not running yet, for this reason: an image is pulled, a machine is launched. Told again as that goes on. */
  onPreparing: (what: string) => void;
  /**
   * A stage has begun.
   *
   * @param port a loopback port of the agent's own machine that leads to the replica, wherever it runs
   * @param pid where it is a process of this machine
   */
  onStage: (stage: "setup" | "run", port: number, pid: number | undefined) => void;
  /** The order was taken and cannot be carried out after all; nothing of the replica is left. */
  onRefused: (error: StartError) => void;
  /** The replica ended without being stopped; nothing of it is left. */
  onExit: (exit: Exit) => void;
}

/** A start that is not possible; the message says why to a person. */
export class StartError extends Error {
  override name = "StartError";
  /** There is no room at present (a port or a GPU is in use, the disk is full): trying again later may help. */
  readonly wait: boolean;

  constructor(message: string, { wait = false } = {}) {
    super(message);
    this.wait = wait;
  }
}

export interface ReplicaLogs {
  /** The last lines, as text. */
  tail(id: string, lines: number): Promise<string>;
  /** The same and then what comes, until `isOver` and all is read, or the signal. */
  follow(id: string, lines: number, isOver: () => boolean, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** The last line that says something, without secrets. */
  lastLine(id: string): Promise<string | undefined>;
  /** Keeps the log within its bound. */
  trim(id: string): Promise<void>;
}

/**
 * A way to run replicas. One start of a replica at a time; the caller waits for `stop` before the next. How Kubernetes and
 * SkyPilot fit: docs/adr/0006-executors.md.
 */
export interface Executor {
  /** Why it can never run this task, in words; undefined when it can, be it not now. */
  refusal(task: Task): string | undefined;
  /**
   * Takes an order. Resolves when room is held for it; what comes of it is told by the order's callbacks.
   *
   * @throws StartError when it cannot be started
   */
  start(order: StartOrder): Promise<void>;
  /**
   * Ends everything of a replica, a start under way included: asks, waits `graceMs`, then kills. Resolves when nothing is left.
   *
   * @throws Error when something would not end
   */
  stop(id: string, graceMs: number): Promise<void>;
  status(id: string): "absent" | "preparing" | "setup" | "run" | "ending";
  logs: ReplicaLogs;
  /** Kills everything at once; resolves when nothing is left. */
  killAll(): Promise<void>;
  /** Removes what is left of a replica that will not come back, its log excepted. */
  forget(id: string): Promise<void>;
  capacity(): Promise<Capacity>;
}
