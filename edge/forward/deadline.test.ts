import { expect, test } from "vitest";
import { attemptMs, endOf, type AttemptLimit } from "./deadline.ts";

const limit: AttemptLimit = { now: 1_000, endsAt: 601_000, ttftMs: 120_000, others: false, stream: true, observedMs: undefined };

test("the end is counted from the request's start, whatever was tried in between", () => {
  expect(endOf(1_000, { ttftMs: 1, idleMs: 1, totalMs: 600_000 })).toBe(601_000);
});

test.each<[string, Partial<AttemptLimit>, number]>([
  ["the only upstream gets all of the time to the first byte", {}, 120_000],
  ["with another to ask, a stream is waited for ten seconds", { others: true }, 10_000],
  ["an upstream that is known to be slow is given three times what it takes", { others: true, observedMs: 8_000 }, 24_000],
  ["one that is known to be fast is given ten seconds all the same", { others: true, observedMs: 50 }, 10_000],
  ["what people set is never exceeded", { others: true, observedMs: 100_000 }, 120_000],
  ["a shorter time that people set holds", { others: true, ttftMs: 500 }, 500],
  ["an answer that is not streamed is not taken for silence", { others: true, stream: false }, 120_000],
  ["what is left of the request's time bounds every attempt", { now: 600_500 }, 500],
  ["a request whose time is over tries nothing more", { now: 700_000 }, 0],
])("attemptMs(): %s", (_, change, ms) => {
  expect(attemptMs({ ...limit, ...change })).toBe(ms);
});
