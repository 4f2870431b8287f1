import { expect, test } from "vitest";
import { FailurePlan, parseFailure } from "./failures.ts";
import type { Failure } from "./failures.ts";

const READS: [string, Failure][] = [
  ["", {}],
  ["status=503", { status: { code: 503, retryAfter: undefined } }],
  ["status=429:retry-after=2", { status: { code: 429, retryAfter: "2" } }],
  ["die@7", { break: { kind: "die", afterTokens: 7 } }],
  ["die@0", { break: { kind: "die", afterTokens: 0 } }],
  ["die", { deadlyText: "<<die>>" }],
  ["die=poison", { deadlyText: "poison" }],
  ["rst@3", { break: { kind: "rst", afterTokens: 3 } }],
  ["eof@3", { break: { kind: "eof", afterTokens: 3 } }],
  ["stall@3", { break: { kind: "stall", afterTokens: 3 } }],
  ["garbage@3", { break: { kind: "garbage", afterTokens: 3 } }],
  ["error@3", { break: { kind: "error", afterTokens: 3 } }],
  ["slow=1000ms", { itlMs: 1000 }],
  ["slow=1s, split", { itlMs: 1000, split: true }],
  ["error-body", { errorBody: true }],
  ["hang", { hang: true }],
  ["nodone", { noDone: true }],
  ["short-length", { wrongLength: "short" }],
  ["long-length", { wrongLength: "long" }],
  ["split,nodone,eof@2", { split: true, noDone: true, break: { kind: "eof", afterTokens: 2 } }],
];
test.each(READS)("parseFailure() reads %j", (spec, failure) => {
  expect(parseFailure(spec)).toEqual(failure);
});

test.each(["explode", "die@", "die@-1", "status=abc", "status=99", "slow", "slow=fast", "splitting", "die@1,rst@2"])("parseFailure() refuses %j", (spec) => {
  expect(() => parseFailure(spec)).toThrow(/Cannot read/);
});

test("FailurePlan gives the request's own, else the ordered as often as ordered, else the standing", () => {
  const plan = new FailurePlan(parseFailure("split"));
  plan.order(parseFailure("hang"), 2);
  plan.order(parseFailure("status=503"), 1, "/health");
  const path = "/v1/completions";
  expect(plan.take(path, true, "nodone")).toEqual({ noDone: true });
  expect(plan.take(path, true, undefined)).toEqual({ hang: true });
  expect(plan.take("/health", false, undefined)).toEqual({ status: { code: 503, retryAfter: undefined } });
  expect(plan.take("/health", false, undefined)).toEqual({});
  expect(plan.take(path, true, undefined)).toEqual({ hang: true });
  expect(plan.take(path, true, undefined)).toEqual({ split: true });
  plan.clear();
  expect(plan.take(path, true, undefined)).toEqual({});
});
