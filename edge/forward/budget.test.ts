import { describe, expect, test } from "vitest";
import { budgetTokens, RetryBudget, retryCost } from "./budget.ts";

describe("RetryBudget", () => {
  test.each([["transient", 35], ["throttling", 100]] as const)("pays for so many repetitions of %s failures in a row: %d", (kind, count) => {
    const budget = new RetryBudget();
    let taken = 0;
    while (budget.take(retryCost[kind])) taken++;
    expect(taken).toBe(count);
  });

  test("fourteen answers pay for one more attempt after a transient failure", () => {
    const budget = new RetryBudget();
    while (budget.take(retryCost.transient));
    while (budget.left > 0) budget.take(1);
    for (let i = 0; i < 13; i++) budget.succeeded();
    expect(budget.take(retryCost.transient)).toBe(false);
    budget.succeeded();
    expect(budget.take(retryCost.transient)).toBe(true);
  });

  test("never holds more than it began with", () => {
    const budget = new RetryBudget();
    for (let i = 0; i < 10; i++) budget.succeeded();
    expect(budget.left).toBe(budgetTokens);
  });
});
