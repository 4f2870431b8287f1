import { durationMs } from "./duration.ts";

/** What goes wrong after some output tokens. */
export type BreakKind = "die" | "rst" | "eof" | "stall" | "garbage" | "error";

/** What goes wrong with one request. The empty object is a request that goes well. */
export interface Failure {
  /** Answer with this status at once. `retryAfter` is the header's value. */
  status?: { code: number; retryAfter: string | undefined };
  /** What breaks, and after how many delivered output tokens; 0 is before the first. `die@0` and `rst@0` come before the headers. */
  break?: { kind: BreakKind; afterTokens: number };
  /** The process dies of a request whose body contains this text, and of no other. */
  deadlyText?: string;
  /** The time between tokens, instead of the engine's. */
  itlMs?: number;
  /** Send the stream in pieces cut anywhere, inside characters too. */
  split?: boolean;
  /** Status 200 with an error as body. */
  errorBody?: boolean;
  /** Never answer. */
  hang?: boolean;
  /** Leave out `data: [DONE]`. */
  noDone?: boolean;
  /** A `content-length` that is too small or too large, when not streaming. */
  wrongLength?: "short" | "long";
}

/** The text that a bare `die` waits for. */
export const DEADLY_TEXT = "<<die>>";

const BREAKS: readonly string[] = ["die", "rst", "eof", "stall", "garbage", "error"] satisfies BreakKind[];

function readOne(part: string, failure: Failure): void {
  const broken = /^([a-z]+)@(\d+)$/.exec(part);
  if (broken !== null && BREAKS.includes(broken[1] ?? "")) {
    if (failure.break !== undefined) throw new Error(`Cannot read failure "${part}": a request breaks once, and ${failure.break.kind}@${failure.break.afterTokens} is given`);
    failure.break = { kind: broken[1] as BreakKind, afterTokens: Number(broken[2]) };
    return;
  }
  const status = /^status=([1-5]\d\d)(?::retry-after=([^:]+))?$/.exec(part);
  if (status !== null) {
    failure.status = { code: Number(status[1]), retryAfter: status[2] };
    return;
  }
  const [name, value] = part.split("=", 2);
  if (name === "die") failure.deadlyText = value ?? DEADLY_TEXT;
  else if (name === "slow" && value !== undefined) failure.itlMs = durationMs(value);
  else if (part === "split") failure.split = true;
  else if (part === "error-body") failure.errorBody = true;
  else if (part === "hang") failure.hang = true;
  else if (part === "nodone") failure.noDone = true;
  else if (part === "short-length") failure.wrongLength = "short";
  else if (part === "long-length") failure.wrongLength = "long";
  else throw new Error(`Cannot read failure "${part}": it is none of status=N[:retry-after=S], die[=TEXT], die@K, rst@K, eof@K, stall@K, garbage@K, error@K, slow=DURATION, split, error-body, hang, nodone, short-length, long-length`);
}

/** Reads a failure specification: parts separated by commas, for example `slow=50ms,die@7`. The empty text is no failure. Throws on a part it does not know. */
export function parseFailure(spec: string): Failure {
  const failure: Failure = {};
  for (const part of spec.split(",").map((text) => text.trim())) if (part !== "") readOne(part, failure);
  return failure;
}

interface Ordered {
  failure: Failure;
  left: number;
  path: string | undefined;
}

/** Which failure meets which request: the request's own, else one ordered for the next requests, else the engine's standing one. */
export class FailurePlan {
  #standing: Failure;
  #ordered: Ordered[] = [];

  constructor(standing: Failure = {}) {
    this.#standing = standing;
  }

  /** Orders a failure for the next `count` requests: those that ask for inference, or those to `path` when given. */
  order(failure: Failure, count: number, path?: string): void {
    this.#ordered.push({ failure, left: count, path });
  }

  /** Forgets what was ordered and what stands. */
  clear(): void {
    this.#ordered = [];
    this.#standing = {};
  }

  /** @param own the request's `x-sim-fail` header */
  take(path: string, inference: boolean, own: string | undefined): Failure {
    if (own !== undefined) return parseFailure(own);
    const next = this.#ordered.find((entry) => (entry.path === undefined ? inference : entry.path === path));
    if (next === undefined) return inference ? this.#standing : {};
    next.left--;
    if (next.left <= 0) this.#ordered.splice(this.#ordered.indexOf(next), 1);
    return next.failure;
  }
}
