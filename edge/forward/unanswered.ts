import { FairleadError } from "../../schema/errors.ts";
import { finalCode, type Failure } from "./outcome.ts";
import { parkMsMax } from "./retryAfter.ts";

/**
 * What the caller of a request that nothing answered is told, and when to come back.
 *
 * @param failure of its last attempt; undefined when there was none
 * @param gone nobody is there to be told
 */
export function unanswered(service: string, failure: Failure | undefined, gone: boolean): FairleadError {
  if (failure === undefined) return new FairleadError("provider_unreachable", `Cannot serve "${service}": nothing can take the request`, { retryAfterMs: 1_000 });
  // the outcome of an abandoned attempt says nothing of its upstream
  if (gone) return new FairleadError("provider_unreachable", "Cannot go on: the client has gone");
  switch (failure.kind) {
    case "caller":
    case "context_length":
    case "content_filter":
      return failure.error;
    case "throttled":
      return withRetryAfter(failure.error, failure.retryAfterMs ?? failure.error.retryAfterMs ?? 1_000);
    case "unable":
    case "credential":
      return withRetryAfter(failure.error, failure.error.retryAfterMs ?? 1_000);
    case "unsent":
    case "lost":
    case "timeout":
      return new FairleadError(finalCode(failure), failure.kind === "timeout" ? `Cannot serve "${service}": no upstream answered in time` : `Cannot serve "${service}": the upstream was lost before it answered`, { retryAfterMs: 1_000 });
    case "abandoned":
      if (failure.why !== undefined) return new FairleadError("invalid_request", `Cannot serve "${service}": the request broke off before it was whole`);
      return new FairleadError(finalCode(failure), `Cannot serve "${service}": the attempt was given up`, { retryAfterMs: 1_000 });
  }
}

/** The same error with when to come back: at least a second, so that nobody comes back at once. */
function withRetryAfter({ code, message, param, cause }: FairleadError, ms: number): FairleadError {
  return new FairleadError(code, message, { param, retryAfterMs: Math.min(parkMsMax, Math.max(1_000, ms)), cause });
}
