import { expect, test } from "vitest";
import { add, countVitest, nothing, skippedIn, summary } from "./counts.ts";

const report = (fields: object): string => JSON.stringify({ numPassedTests: 0, numFailedTests: 0, numPendingTests: 0, numTodoTests: 0, testResults: [], ...fields });

test.each<[string, string | undefined, number, string]>([
  ["all is well", report({ numPassedTests: 5 }), 0, "5 passed, 0 failed"],
  ["some are skipped", report({ numPassedTests: 5, numPendingTests: 1, numTodoTests: 2 }), 0, "5 passed, 0 failed, 3 skipped"],
  ["a test fails", report({ numPassedTests: 5, numFailedTests: 2, testResults: [{ status: "failed", assertionResults: [{ status: "failed" }, { status: "passed" }] }] }), 1, "5 passed, 2 failed"],
  ["a file cannot be loaded", report({ numPassedTests: 5, testResults: [{ status: "failed", assertionResults: [] }, { status: "passed", assertionResults: [] }] }), 1, "5 passed, 1 failed"],
  ["an error is caught by nobody", report({ numPassedTests: 5 }), 1, "5 passed, 1 failed"],
  ["there is no test", report({}), 0, "0 passed, 0 failed"],
  ["no report was written", undefined, 1, "0 passed, 1 failed"],
  ["no report was written by a run that says it is well", undefined, 0, "0 passed, 1 failed"],
])("countVitest() when %s", (_, text, exitCode, line) => {
  expect(summary(countVitest(text, exitCode))).toBe(line);
});

test("add() adds each count", () => {
  expect(add({ passed: 1, failed: 2, skipped: 3 }, { passed: 10, failed: 20, skipped: 30 })).toEqual({ passed: 11, failed: 22, skipped: 33 });
  expect(summary(nothing)).toBe("0 passed, 0 failed");
});

test("skippedIn() names what was skipped, and nothing where there is no report", () => {
  const assertionResults = [{ status: "passed", fullName: "a" }, { status: "skipped", fullName: "Ollama is skipped: ollama is not in PATH" }, { status: "pending", fullName: "b" }, { status: "failed", fullName: "c" }];
  expect(skippedIn(report({ testResults: [{ status: "passed", assertionResults }] }))).toEqual(["Ollama is skipped: ollama is not in PATH", "b"]);
  expect(skippedIn(undefined)).toEqual([]);
});
