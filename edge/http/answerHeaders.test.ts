import { expect, test } from "vitest";
import { answerHeaders, type AnswerFacts } from "./answerHeaders.ts";

const facts: AnswerFacts = { requestId: "req_1", type: "application/json", streamed: false, upstream: "openai", model: "gpt-5", attempts: 1, fallback: false };
const told = { "x-request-id": "req_1", "content-type": "application/json", "x-fairlead-upstream": "openai", "x-fairlead-model": "gpt-5", "x-fairlead-attempts": "1", "x-fairlead-fallback": "false" };
const { "content-type": _type, ...untyped } = told;

test.each<[string, Partial<AnswerFacts>, Record<string, string>]>([
  ["says who answered", {}, told],
  ["says how often was tried, and that it was meant for another", { upstream: "replica", attempts: 2, fallback: true }, { ...told, "x-fairlead-upstream": "replica", "x-fairlead-attempts": "2", "x-fairlead-fallback": "true" }],
  ["a stream is not to be cached", { type: "text/event-stream", streamed: true }, { ...told, "content-type": "text/event-stream", "cache-control": "no-cache" }],
  ["what has no type is given none", { type: null }, untyped],
])("answerHeaders() %s", (_name, given, expected) => {
  expect(answerHeaders({ ...facts, ...given })).toEqual(expected);
});
