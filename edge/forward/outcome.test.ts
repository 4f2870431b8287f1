import { describe, expect, test } from "vitest";
import { FairleadError } from "../../schema/errors.ts";
import { resetCodes } from "../../schema/frames.ts";
import { carriageOutcome, finalCode, isPassing, isUnable, mayGoElsewhere, statusOf, type CarriageFailure, type Failure } from "./outcome.ts";

const error = new FairleadError("provider_error", "Cannot");

describe("carriageOutcome()", () => {
  test.each<[CarriageFailure, Failure["kind"]]>([
    ["no_agent", "unsent"], ["no_ack", "unsent"], ["no_target", "unsent"], ["draining", "unsent"], ["connect_failed", "unsent"],
    ["upstream_lost", "lost"], ["too_large", "lost"], ["cancelled", "lost"], ["protocol", "lost"], ["request_broken", "abandoned"],
  ])("%s: the request counts as %s", (failure, kind) => {
    expect(carriageOutcome(failure, "why")).toEqual({ kind, why: `${failure}: why`, ...(failure === "no_ack" ? { silent: "host" } : {}) });
  });

  test("knows every reason that an agent may cut a stream for", () => {
    for (const code of resetCodes) expect(["unsent", "lost"]).toContain(carriageOutcome(code, "").kind);
  });
});

describe("isUnable()", () => {
  test.each([408, 409, 429, 500, 501, 502, 503, 504, 529, 599])("%d: another upstream may do better", (status) => {
    expect(isUnable(status)).toBe(true);
  });

  test.each([101, 200, 204, 301, 304, 400, 401, 403, 404, 413, 415, 422, 499])("%d is the answer", (status) => {
    expect(isUnable(status)).toBe(false);
  });
});

test.each<[Failure, boolean, boolean]>([
  [{ kind: "unsent", why: "" }, true, true],
  [{ kind: "lost", why: "" }, true, false],
  [{ kind: "timeout", why: "" }, true, false],
  [{ kind: "throttled", retryAfterMs: 1, error }, true, false],
  [{ kind: "unable", status: 500, error }, true, false],
  [{ kind: "credential", status: 401, error }, true, false],
  [{ kind: "caller", error }, false, false],
  [{ kind: "context_length", error }, false, false],
  [{ kind: "content_filter", error }, false, false],
  [{ kind: "abandoned" }, false, false],
])("mayGoElsewhere() of %j: when it can be repeated %j, else %j", (failure, repeatable, other) => {
  expect([mayGoElsewhere(failure, true), mayGoElsewhere(failure, false)]).toEqual([repeatable, other]);
});

test.each([[500, true], [408, true], [409, true], [501, false], [502, false], [503, false], [504, false], [529, false]])("isPassing() of a status %d: %j", (status, passing) => {
  expect(isPassing({ kind: "unable", status, error })).toBe(passing);
});

test.each<[Parameters<typeof finalCode>[0], string]>([
  [{ kind: "unsent", why: "" }, "provider_unreachable"],
  [{ kind: "lost", why: "" }, "provider_unreachable"],
  [{ kind: "timeout", why: "" }, "provider_timeout"],
  [{ kind: "abandoned" }, "provider_unreachable"],
])("finalCode() of %j is %s", (failure, code) => {
  expect(finalCode(failure)).toBe(code);
});

test.each<[string, unknown, number]>([
  ["vLLM's numeric code", { message: "x", type: "Internal", param: null, code: 500 }, 500],
  ["a code that is a status in digits", { code: "429" }, 429],
  ["a code that is no status", { code: 7 }, 500],
  ["OpenAI's rate limit", { type: "requests", code: "rate_limit_exceeded" }, 429],
  ["an exhausted quota", { type: "insufficient_quota", code: "insufficient_quota" }, 429],
  ["an invalid request", { type: "invalid_request_error", code: "context_length_exceeded" }, 400],
  ["a server error", { type: "server_error", code: null }, 500],
  ["a text", "broken", 500],
])("statusOf() an error object with %s", (_, value, status) => {
  expect(statusOf(value)).toBe(status);
});
