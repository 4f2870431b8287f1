import { FairleadError } from "../../schema/errors.ts";
import type { Run } from "./hedge.ts";
import type { Failure } from "./outcome.ts";
import type { Watch } from "./watch.ts";

/** A begun stream that did not end well, and what the client has got of it. */
export interface Broken {
  failure: Failure;
  /** What the client is told when nothing goes on with the stream. */
  error: FairleadError;
  /** Of what has passed: whether it began, whether it was finished. */
  watch: Watch;
}

/** Decides how a begun stream goes on: with another stream's events, or not at all. It is given up when the client leaves. */
export type GoOn<Next> = (broken: Broken) => Run<Next | undefined>;

/** A stream's loss in the words of the caller. */
export function lossError(failure: Failure, idleMs: number): FairleadError {
  switch (failure.kind) {
    case "throttled":
    case "unable":
    case "credential":
    case "caller":
    case "context_length":
    case "content_filter":
      return failure.error;
    case "timeout":
      return new FairleadError("provider_timeout", `Cannot go on with the answer: ${failure.why === "idle" ? `the upstream said nothing for ${idleMs} ms` : "its time is over"}`);
    case "unsent":
    case "lost":
    case "abandoned":
      return new FairleadError("provider_unreachable", "Cannot go on with the answer: the upstream was lost");
  }
}
