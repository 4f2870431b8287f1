import { describe, expect, test } from "vitest";
import { resetCodes } from "../../schema/frames.ts";
import { carriageOutcome, finalCode, isUnable, type CarriageFailure, type Outcome } from "./outcome.ts";

describe("carriageOutcome()", () => {
  test.each<[CarriageFailure, Outcome["kind"]]>([
    ["no_agent", "unsent"], ["no_ack", "unsent"], ["no_target", "unsent"], ["draining", "unsent"], ["connect_failed", "unsent"],
    ["upstream_lost", "lost"], ["cancelled", "lost"], ["too_large", "lost"], ["protocol", "lost"],
  ])("%s: the request counts as %s", (failure, kind) => {
    expect(carriageOutcome(failure, "why")).toEqual({ kind, why: `${failure}: why` });
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

describe("finalCode()", () => {
  test.each<[Exclude<Outcome, { kind: "answer" }>, string]>([
    [{ kind: "unsent", why: "" }, "provider_unreachable"],
    [{ kind: "lost", why: "" }, "provider_unreachable"],
    [{ kind: "timeout", why: "" }, "provider_timeout"],
    [{ kind: "unable", response: new Response(null, { status: 429 }) }, "saturated"],
    [{ kind: "unable", response: new Response(null, { status: 408 }) }, "provider_error"],
    [{ kind: "unable", response: new Response(null, { status: 503 }) }, "provider_error"],
  ])("of %j is %s", (outcome, code) => {
    expect(finalCode(outcome)).toBe(code);
  });
});
