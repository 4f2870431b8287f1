import { describe, expect, test } from "vitest";
import { FairleadError } from "../../schema/errors.ts";
import type { Failure } from "./outcome.ts";
import { unanswered } from "./unanswered.ts";

const saturated = new FairleadError("saturated", "Cannot serve it: busy", { param: "model" });
const invalid = new FairleadError("invalid_request", "Cannot take it: no", { param: "messages" });

describe("unanswered()", () => {
  test.each<[string, Failure | undefined, { code: string; status: number; retryAfterMs?: number | undefined }]>([
    ["nothing was tried", undefined, { code: "provider_unreachable", status: 502, retryAfterMs: 1_000 }],
    ["the carrier failed", { kind: "unsent", why: "no_agent: 10.0.0.7" }, { code: "provider_unreachable", status: 502, retryAfterMs: 1_000 }],
    ["it was lost", { kind: "lost", why: "upstream_lost: 10.0.0.7" }, { code: "provider_unreachable", status: 502, retryAfterMs: 1_000 }],
    ["it was silent", { kind: "timeout", why: "no answer from 10.0.0.7" }, { code: "provider_timeout", status: 504, retryAfterMs: 1_000 }],
    ["it was given up", { kind: "abandoned" }, { code: "provider_unreachable", status: 502, retryAfterMs: 1_000 }],
    ["it is at its limit, and says until when", { kind: "throttled", retryAfterMs: 7_000, error: saturated }, { code: "saturated", status: 429, retryAfterMs: 7_000 }],
    ["it is at its limit for an instant", { kind: "throttled", retryAfterMs: 5, error: saturated }, { code: "saturated", status: 429, retryAfterMs: 1_000 }],
    ["it is at its limit for years", { kind: "throttled", retryAfterMs: 1e12, error: saturated }, { code: "saturated", status: 429, retryAfterMs: 60_000 }],
    ["it cannot, and does not say for how long", { kind: "unable", status: 503, error: new FairleadError("provider_error", "Cannot serve it") }, { code: "provider_error", status: 502, retryAfterMs: 1_000 }],
    ["it refuses us for a minute", { kind: "credential", status: 401, error: new FairleadError("provider_error", "Cannot serve it", { retryAfterMs: 60_000 }) }, { code: "provider_error", status: 502, retryAfterMs: 60_000 }],
    ["the caller is at fault", { kind: "caller", error: invalid }, { code: "invalid_request", status: 400, retryAfterMs: undefined }],
  ])("when %s, says what and when to come back, and nothing of the inside", (_, failure, told) => {
    const error = unanswered("chat", failure, false);
    expect({ code: error.code, status: error.status, retryAfterMs: error.retryAfterMs }).toEqual({ retryAfterMs: undefined, ...told });
    expect(error.message).toMatch(/^Cannot /);
    expect(error.message).not.toContain("10.0.0.7");
  });

  test("keeps what the error is about", () => {
    expect(unanswered("chat", { kind: "throttled", retryAfterMs: undefined, error: saturated }, false)).toMatchObject({ message: saturated.message, param: "model" });
  });

  test("a client that has gone is not told when to come back", () => {
    expect(unanswered("chat", { kind: "lost", why: "x" }, true).retryAfterMs).toBeUndefined();
  });
});
