/** What a step has found. */
export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** Vitest's JSON report, as far as it is read here. */
interface VitestReport {
  numPassedTests: number;
  numFailedTests: number;
  numPendingTests: number;
  numTodoTests: number;
  testResults: { status: string; assertionResults: { status: string; fullName?: string }[] }[];
}

export const nothing: Counts = { passed: 0, failed: 0, skipped: 0 };

export function add(a: Counts, b: Counts): Counts {
  return { passed: a.passed + b.passed, failed: a.failed + b.failed, skipped: a.skipped + b.skipped };
}

/**
 * What a Vitest run has found. A file that fails outside its tests counts as one failure, as does a run that fails without a test
 * that did: an error nobody caught, or a report that was never written.
 *
 * @param report the text of the JSON report, or undefined when there is none
 */
export function countVitest(report: string | undefined, exitCode: number): Counts {
  if (report === undefined) return { ...nothing, failed: 1 };
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, testResults } = JSON.parse(report) as VitestReport;
  const files = testResults.filter(({ status, assertionResults }) => status === "failed" && assertionResults.every((one) => one.status !== "failed")).length;
  const failed = numFailedTests + files;
  return { passed: numPassedTests, failed: failed === 0 && exitCode !== 0 ? 1 : failed, skipped: numPendingTests + numTodoTests };
}

/** The names of the tests that a Vitest run has skipped: a test that does so on purpose says why in its name. */
export function skippedIn(report: string | undefined): string[] {
  if (report === undefined) return [];
  const { testResults } = JSON.parse(report) as VitestReport;
  return testResults.flatMap(({ assertionResults }) => assertionResults.flatMap(({ status, fullName }) => ((status === "skipped" || status === "pending") && fullName !== undefined ? [fullName] : [])));
}

/** @example summary({passed: 3, failed: 0, skipped: 1}) // "3 passed, 0 failed, 1 skipped" */
export function summary({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}
