import type { Task } from "../schema/task.ts";

/** What there is on this host to run replicas with. */
export interface Capacity {
  gpus: number;
  cpus: number;
  memoryBytes: number;
}

/** How a stage ended by itself: an exit code or a signal's name. */
export interface Exit {
  during: "setup" | "run";
  code: number | undefined;
  signal: string | undefined;
  /** The last line of its log, without secrets. */
  lastLine: string | undefined;
}

export interface StartOrder {
  id: string;
  number: number;
  task: Task;
  /** A stage has begun. */
  onStage: (stage: "setup" | "run", port: number, pid: number) => void;
  /** The replica ended without being stopped; nothing of it is left. */
  onExit: (exit: Exit) => void;
}

/** A start that is not possible; the message says why to a person. */
export class StartError extends Error {
  override name = "StartError";
  /** There is no room at present (a port is in use): trying again later may help. */
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

/** A way to run replicas. One start of a replica at a time; the caller waits for `stop` before the next. */
export interface Executor {
  /** @throws StartError when it cannot be started */
  start(order: StartOrder): Promise<void>;
  /**
   * Ends everything of a replica: asks, waits `graceMs`, then kills. Resolves when nothing is left.
   *
   * @throws Error when something would not end
   */
  stop(id: string, graceMs: number): Promise<void>;
  status(id: string): "absent" | "setup" | "run" | "ending";
  logs: ReplicaLogs;
  /** Kills everything at once; resolves when nothing is left. */
  killAll(): Promise<void>;
  /** Removes what is left of a replica that will not come back, its log excepted. */
  forget(id: string): Promise<void>;
  capacity(): Promise<Capacity>;
}
