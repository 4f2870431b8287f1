import { expect, test } from "vitest";
import { beliefAfter, expectedOutput, priceOf } from "./score.ts";
import { weightsOf } from "./strategy.ts";

test.each([[-5, 1], [0, 1], [7_500, 0.5], [15_000, 0], [99_000, 0]])("an idle reading of %i ms is believed by %f", (ageMs, belief) => {
  expect(beliefAfter(ageMs)).toBe(belief);
});

const size = { promptTokens: 1_000, maxTokens: undefined, stream: true };

test.each<[Parameters<typeof expectedOutput>[0], number]>([
  [size, 343],
  [{ ...size, maxTokens: 10 }, 10],
  [{ ...size, maxTokens: 4_000 }, 343],
  [{ ...size, maxTokens: 4_000, stream: false }, 4_000],
])("of %j so much output is expected: %i", (request, tokens) => {
  expect(expectedOutput(request)).toBe(tokens);
});

test("a price is that of the prompt, cached or not, and of the expected output", () => {
  const price = { inputMicroUsd: 2_000_000, cachedInputMicroUsd: 500_000, outputMicroUsd: 10_000_000 };
  expect(priceOf(price, { ...size, maxTokens: 100 }, 0)).toBe(2_000 + 1_000);
  expect(priceOf(price, { ...size, maxTokens: 100 }, 0.5)).toBe(1_000 + 250 + 1_000);
});

test("batch jobs do not pay for speed, short streams do more than others", () => {
  const of = (stream: boolean, maxTokens: number, promptTokens: number) => weightsOf("cost_optimized", { stream, maxTokens, promptTokens } as Parameters<typeof weightsOf>[1]);
  expect(of(false, 4_000, 100).latency).toBeUndefined();
  expect(of(true, 100, 100).latency).toBeGreaterThan(of(true, 100, 9_000).latency ?? 0);
});
