import { describe, expect, test } from "vitest";
import { answerHeaders, type AnswerFacts } from "./answerHeaders.ts";

const facts: AnswerFacts = { type: "application/json", streamed: false, upstream: "openai", model: "gpt-5", attempts: 1, fallback: false };

describe("answerHeaders()", () => {
  test("says who answered, and how often was tried", () => {
    expect(Object.fromEntries(answerHeaders({ ...facts, attempts: 2, fallback: true }))).toEqual({ "content-type": "application/json", "x-fairlead-upstream": "openai", "x-fairlead-model": "gpt-5", "x-fairlead-attempts": "2", "x-fairlead-fallback": "true" });
  });

  test("a stream is not to be cached, and what has no type is given none", () => {
    expect(answerHeaders({ ...facts, type: "text/event-stream", streamed: true }).get("cache-control")).toBe("no-cache");
    expect(answerHeaders({ ...facts, type: null }).has("content-type")).toBe(false);
  });

  test.each<[string, Partial<AnswerFacts>]>([
    ["type", { type: "text/plain" }],
    ["no type", { type: null }],
    ["a type that is empty", { type: "" }],
    ["streamed", { streamed: true }],
    ["upstream", { upstream: "replica" }],
    ["model", { model: "gpt-5-mini" }],
    ["attempts", { attempts: 11 }],
    ["fallback", { fallback: true }],
  ])("answers that differ in one thing are not given each other's: %s", (_name, other) => {
    expect(answerHeaders(facts)).toBe(answerHeaders({ ...facts }));
    expect(Object.fromEntries(answerHeaders({ ...facts, ...other }))).not.toEqual(Object.fromEntries(answerHeaders(facts)));
  });

  test("what is set on one answer is not on the next", () => {
    const one = new Response("", { headers: answerHeaders(facts) });
    one.headers.set("x-request-id", "req_1");
    expect(new Response("", { headers: answerHeaders(facts) }).headers.has("x-request-id")).toBe(false);
  });
});
