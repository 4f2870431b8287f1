import type { Now } from "../../schema/clock.ts";

/** The cloud takes this host back. */
export interface Notice {
  source: string;
  /** When, by the cloud's clock (ms since the epoch); absent: it may be soon, and nobody says when. */
  at?: number;
  /** In words a person reads. */
  reason: string;
}

/** One question to a metadata service. */
export interface Question {
  method: "GET" | "PUT";
  path: string;
  headers: Record<string, string>;
  /** How long the answer may take: long for one that is held until there is news. */
  timeoutMs: number;
  /** What an earlier answer told, for the questions that follow. */
  known?: string;
}

export interface Answer {
  status: number;
  body: string;
  /** A header's value, by its name in lower case. */
  header(name: string): string | undefined;
}

/** What an answer means, and what is asked next: the next question follows from this one and its answer. */
export interface Reading {
  next: Question;
  afterMs: number;
  /** Null: there is none (any more). Absent: nothing was learned, what was known stands. */
  notice?: Notice | null;
  /** What was wrong with the answer. */
  problem?: string;
}

/** One thing that a metadata service is asked about, again and again. */
export interface Watch {
  name: string;
  first: Question;
  /** Pure. @param answer undefined: none came in time */
  read(answer: Answer | undefined, asked: Question, now: Now): Reading;
}

/** A cloud's metadata service. */
export interface Cloud {
  name: string;
  /** Where it is, on every machine of that cloud; link-local, so that nobody else can be there. */
  base: string;
  /** A question that only this cloud answers as `is` says. */
  probe: Question;
  is(answer: Answer): boolean;
  watches: readonly Watch[];
}

/** After an answer that could not be used: a metadata service asks those that are refused to come more slowly (AWS: 429, GCP: 503 for some seconds). */
export const troubleMs = 10_000;

/** What an unusable answer means: nothing was learned. */
export function trouble(next: Question, answer: Answer | undefined): Reading {
  return { next, afterMs: troubleMs, problem: answer === undefined ? "no answer" : answer.status === 200 ? "the answer cannot be read" : `status ${answer.status}` };
}

/** A date in an answer; undefined where it is none. */
export function timeOf(text: unknown): number | undefined {
  const at = typeof text === "string" ? Date.parse(text) : Number.NaN;
  return Number.isFinite(at) ? at : undefined;
}

/** A JSON object's fields; none where it is no object. */
export function fieldsOf(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** The notice that counts where several watches have one: the earliest that says when, else any. */
export function soonest(notices: Iterable<Notice | undefined>): Notice | undefined {
  let best: Notice | undefined;
  for (const notice of notices) if (notice !== undefined && (best === undefined || (notice.at ?? Infinity) < (best.at ?? Infinity))) best = notice;
  return best;
}

/** When a noticed host stops taking work, and when it cuts what is left. */
export interface Plan {
  drainAt: number;
  drainMs: number;
}

/** For the last words: a replica's end, a cut stream's reset, a heartbeat. */
const lastWordsMs = 2_000;

/**
 * How a host uses the time it has left. It serves until its replacements are ready, which its hub sees to, and takes no new work
 * from `drainAt` on, so that what is in flight has its usual time; what is left then is cut and goes on elsewhere while the host
 * can still say so. Without a date only the hub moves anything.
 *
 * @param drainMs the longest that requests in flight are waited for
 * @param killAfterMs from SIGTERM to SIGKILL of a replica
 */
export function planOf({ at }: Notice, now: Now, { drainMs, killAfterMs }: { drainMs: number; killAfterMs: number }): Plan | undefined {
  if (at === undefined) return undefined;
  const cutAt = Math.max(now, at - killAfterMs - lastWordsMs);
  const drainAt = Math.max(now, cutAt - drainMs);
  return { drainAt, drainMs: cutAt - drainAt };
}
