import type { ErrorCode } from "../../schema/errors.ts";
import type { ResetReason } from "../../schema/frames.ts";

/** How a Relay tells the router that it has no answer from a replica: a header that never leaves the edge. */
export const carriageHeader = "x-fairlead-carriage";

/** What can go wrong on the way to a replica and back: the agent's resets, and what the Relay sees by itself. */
export type CarriageFailure = ResetReason["code"] | "no_agent" | "no_ack";

/** What became of an attempt, as a closed union: the compiler checks every switch over it. */
export type Outcome =
  | { kind: "answer"; response: Response }
  /** The carrier failed before the replica can have begun: any request may go elsewhere. */
  | { kind: "unsent"; why: string }
  /** The upstream failed before its headers, and may have begun: only what can be repeated goes elsewhere. */
  | { kind: "lost"; why: string }
  /** The upstream said that it cannot serve now (429, 5xx). */
  | { kind: "unable"; response: Response }
  | { kind: "timeout"; why: string };

/** Whether the attempt may have had an effect, by how the carriage failed. */
export function carriageOutcome(failure: CarriageFailure, message: string): Outcome {
  switch (failure) {
    case "no_agent":
    case "no_ack":
    case "no_target":
    case "draining":
    case "connect_failed":
      return { kind: "unsent", why: `${failure}: ${message}` };
    case "upstream_lost":
    case "cancelled":
    case "too_large":
    case "protocol":
      return { kind: "lost", why: `${failure}: ${message}` };
  }
}

/** Statuses that another upstream may do better with (facts/openai-wire.md §12). What is the caller's fault is not among them. */
export function isUnable(status: number): boolean {
  return status === 408 || status === 409 || status === 429 || status >= 500;
}

/** What the caller is told when nothing is left to try. */
export function finalCode(outcome: Exclude<Outcome, { kind: "answer" }>): ErrorCode {
  switch (outcome.kind) {
    case "unsent":
    case "lost":
      return "provider_unreachable";
    case "timeout":
      return "provider_timeout";
    case "unable":
      return outcome.response.status === 429 ? "saturated" : "provider_error";
  }
}
