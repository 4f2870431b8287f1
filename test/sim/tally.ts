import type { Desire } from "../../schema/scale.ts";

/** What became of one service's requests. */
export class Outcomes {
  asked = 0;
  /** Answered whole. */
  answered = 0;
  /** With an error that says that nobody can take it. */
  refused = 0;
  /** With any other error, before the first byte or after it. */
  failed = 0;
  /** By providers. */
  byProvider = 0;
  /** Went on elsewhere after their replica was lost with its host, or came to the end of its time to drain. */
  resumed = 0;
  /** Of the times that one was cut: by the end of its replica's time to drain. */
  drained = 0;
  /** Were cut by a replica that was told to stop, and had time left: 0 is promised. */
  cutByStop = 0;
  /** When they came (ms after the beginning), and their time to the first token; Infinity for those that got none. In the order of their ends. */
  readonly at: number[] = [];
  readonly ttftMs: number[] = [];
  /** 1: a provider gave it. */
  readonly provided: number[] = [];
  /** What replicas held, in GPU-hours. */
  gpuHours = 0;
  gpuHoursOnDemand = 0;
  costMicroUsd = 0;

  /** The first token of a request that came at a time; of one that never got one, Infinity. */
  first(at: number, ttftMs: number, provided: boolean): void {
    this.at.push(at);
    this.ttftMs.push(ttftMs);
    this.provided.push(provided ? 1 : 0);
  }

  /** Share of requests whose first token came in time. */
  attainment(ttftMs: number, fromMs = 0): number {
    let all = 0;
    let good = 0;
    for (let i = 0; i < this.at.length; i++) {
      if ((this.at[i] as number) < fromMs) continue;
      all++;
      if ((this.ttftMs[i] as number) <= ttftMs) good++;
    }
    return all === 0 ? Number.NaN : good / all;
  }
}

/** How a service stood at a time. */
export interface Moment {
  at: number;
  service: string;
  /** Wanted by its Scaler, assigned by Hubs, ready. */
  desired: number;
  assigned: number;
  ready: number;
  /** With a host's GPUs, whatever their phase. */
  alive: number;
}

/** All that is counted in a world. */
export class Tally {
  /** What Scalers wanted, and when. */
  readonly desires: { at: number; desire: Desire }[] = [];
  readonly #byService = new Map<string, Outcomes>();
  readonly moments: Moment[] = [];
  /** What happened, newest last: for a person who replays a seed. */
  readonly lines: string[] = [];

  of(service: string): Outcomes {
    let outcomes = this.#byService.get(service);
    if (outcomes === undefined) this.#byService.set(service, (outcomes = new Outcomes()));
    return outcomes;
  }

  say(now: number, line: string): void {
    this.lines.push(`${(now / 1000).toFixed(1).padStart(9)} s  ${line}`);
  }
}
