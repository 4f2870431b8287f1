import type { ErrorCode, FairleadError } from "../../schema/errors.ts";
import type { ResetReason } from "../../schema/frames.ts";

/** How a Relay tells the router that it has no answer from a replica: a header that never leaves the edge. */
export const carriageHeader = "x-fairlead-carriage";

/** How the router names the attempt that a Relay carries: `AttemptWay` as JSON. Its answer is kept by the agent, and comes byte for byte. */
export const attemptHeader = "x-fairlead-attempt";
/** What stands before the path of a request that a Relay is to carry. */
export const carryOrigin = "http://carry";

/** What can go wrong on the way to a replica and back: the agent's resets, what the Relay sees by itself, that the request did not come whole, and that it takes nothing more. */
export type CarriageFailure = ResetReason["code"] | "no_agent" | "no_ack" | "carrier_lost" | "request_broken" | "overloaded";

/** Goes on with an answer of which so many bytes were received, where its carrier was lost and the upstream was not; undefined when that cannot be. */
export type Reattach = (receivedBytes: number) => Promise<ReadableStream<Uint8Array> | undefined>;

/**
 * Looks after what carries an answer, while nothing comes of it.
 *
 * @param receivedBytes of the answer's body; undefined while it has none
 * @returns when to look again, in ms; "silent" when its carrier does not answer and another one of its host does, by which the answer is to be had
 */
export type Look = (receivedBytes: number | undefined) => number | "silent";

/** What waits for an answer. */
export interface Waiting {
  /** Set by what carries the request, where that is to be looked after. */
  look?: Look;
  /** A relay by which it went did not answer, and it went by another one. */
  detour?: boolean;
}

/** An upstream's answer in HTTP's own terms: what it says is not looked at here. */
export type Reply =
  | { kind: "answer"; response: Response; reattach?: Reattach }
  /** The carrier failed before the replica can have begun: any request may go elsewhere. */
  | { kind: "unsent"; why: string; /** What is connected said nothing in time, and may have stalled for a moment: one way to the host, or all of them. */ silent?: "relay" | "host" }
  /** The upstream failed before its first byte, and may have begun: only what can be repeated goes elsewhere. */
  | { kind: "lost"; why: string }
  /** The request itself broke off on its way to the upstream, which says nothing of that. */
  | { kind: "abandoned"; why: string }
  /** The carrier took nothing in and asked to be left alone. */
  | { kind: "throttled"; retryAfterMs: number | undefined; error: FairleadError };

/** An attempt that gave no answer. */
export type Failure =
  /** Throttled: the upstream asked to be left alone for a while; says nothing against it. */
  | Exclude<Reply, { kind: "answer" }>
  /** No first byte within the time the attempt had. */
  | { kind: "timeout"; why: string }
  /** The upstream said that it cannot serve this now (408, 409, 5xx, an error where an answer should begin). */
  | { kind: "unable"; status: number; error: FairleadError }
  /** The upstream refused us, not our caller (401, 402, 403, 404). */
  | { kind: "credential"; status: number; error: FairleadError }
  /** The caller's fault: neither repeated nor sent elsewhere. */
  | { kind: "caller" | "context_length" | "content_filter"; error: FairleadError }
  /** The attempt was given up: its client left, or another attempt was faster. Says nothing of the upstream. */
  | { kind: "abandoned"; why?: undefined };

/** What became of an attempt, as a closed union: the compiler checks every switch over it. */
export type Outcome<Answer> = { kind: "answer"; answer: Answer } | Failure;

/** Whether the attempt may have had an effect, by how the carriage failed. */
export function carriageOutcome(failure: CarriageFailure, message: string): Extract<Reply, { why: string }> {
  switch (failure) {
    case "no_ack":
      return { kind: "unsent", why: `${failure}: ${message}`, silent: "host" };
    case "overloaded":
    case "no_agent":
    case "no_target":
    case "draining":
    case "connect_failed":
      return { kind: "unsent", why: `${failure}: ${message}` };
    case "request_broken":
      return { kind: "abandoned", why: `${failure}: ${message}` };
    case "upstream_lost":
    case "cancelled":
    case "too_large":
    case "protocol":
    case "gone":
    case "carrier_lost":
      return { kind: "lost", why: `${failure}: ${message}` };
  }
}

/** Statuses that another upstream may do better with (facts/openai-wire.md §12). What is the caller's fault is not among them. */
export function isUnable(status: number): boolean {
  return status === 408 || status === 409 || status === 429 || status >= 500;
}

/** Whether another attempt could help, and the request may be sent again. `repeatable`: what may have begun may be repeated. */
export function mayGoElsewhere(failure: Failure, repeatable: boolean): boolean {
  switch (failure.kind) {
    case "unsent":
      return true;
    case "lost":
    case "timeout":
    case "throttled":
    case "unable":
    case "credential":
      return repeatable;
    case "caller":
    case "context_length":
    case "content_filter":
    case "abandoned":
      return false;
  }
}

/**
 * Whether the same upstream may do better a moment later: 500, and the two statuses of a conflict in time. 502, 503 and 504 speak
 * for something behind it that is gone.
 */
export function isPassing(failure: Failure): boolean {
  return failure.kind === "unable" && (failure.status === 500 || failure.status === 408 || failure.status === 409);
}

/** What the caller is told when nothing is left to try and the upstream's words do not say it. */
export function finalCode(failure: Extract<Failure, { kind: "unsent" | "lost" | "timeout" | "abandoned" }>): ErrorCode {
  return failure.kind === "timeout" ? "provider_timeout" : "provider_unreachable";
}

/**
 * The status that an error object in a 200 stands for: its numeric code where it has one (vLLM), else a server's failure.
 *
 * @param error the value of the `error` key, or the object itself
 */
export function statusOf(error: unknown): number {
  if (typeof error !== "object" || error === null) return 500;
  const { code, type } = error as Record<string, unknown>;
  const status = Number(code);
  if (Number.isInteger(status) && status >= 400 && status <= 599) return status;
  if (code === "rate_limit_exceeded" || code === "insufficient_quota" || type === "rate_limit_error") return 429;
  return typeof type === "string" && (type === "invalid_request_error" || type === "BadRequestError") ? 400 : 500;
}
