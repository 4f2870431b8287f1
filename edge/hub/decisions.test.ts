import { expect, test } from "vitest";
import type { DecisionRecord } from "../../schema/decision.ts";
import { Decisions } from "./decisions.ts";

function record(requestId: string, more: Partial<DecisionRecord> = {}): DecisionRecord {
  return { requestId, at: 1, service: "chat", model: "chat", account: "default", strategy: "availability_first", saturated: false, candidates: [], filtered: {}, attempts: [], status: 200, ms: 1, ...more };
}
const ids = (from: number, to: number): DecisionRecord[] => Array.from({ length: to - from + 1 }, (_, i) => record(`r${from + i}`));

test("Decisions finds what it was told by the request's id", () => {
  const decisions = new Decisions();
  decisions.add([record("a", { status: 200 }), record("b", { status: 429 })]);
  expect(decisions.find("b")?.status).toBe(429);
  expect(decisions.find("c")).toBeUndefined();
  expect(decisions.size).toBe(2);
});

test.each<[string, DecisionRecord[][]]>([
  ["one by one", ids(1, 7).map((one) => [one])],
  ["in batches", [ids(1, 4), ids(5, 7)]],
  ["in one batch of more than fit", [ids(1, 7)]],
])("Decisions forgets the oldest, told %s", (_name, batches) => {
  const decisions = new Decisions(3);
  for (const batch of batches) decisions.add(batch);
  expect(decisions.size).toBe(3);
  expect(["r3", "r4", "r5", "r6", "r7"].map((id) => decisions.find(id) !== undefined)).toEqual([false, false, true, true, true]);
});

test("Decisions keeps the later record of an id until that one goes", () => {
  const decisions = new Decisions(2);
  decisions.add([record("a", { status: 500 }), record("a", { status: 200 })]);
  decisions.add([record("b")]);
  expect(decisions.find("a")?.status).toBe(200);
  decisions.add([record("c")]);
  expect(decisions.find("a")).toBeUndefined();
});

test("Decisions gives what came after a place, of one service", () => {
  const decisions = new Decisions(3);
  decisions.add([record("a"), record("b", { service: "other" })]);
  expect(decisions.after(0, "chat", 10)).toMatchObject({ next: 2, entries: [{ requestId: "a" }] });
  decisions.add([record("c"), record("d"), record("e")]);
  expect(decisions.after(2, "chat", 10).entries.map(({ requestId }) => requestId)).toEqual(["c", "d", "e"]);
  expect(decisions.after(4, "chat", 10).entries.map(({ requestId }) => requestId)).toEqual(["e"]);
  expect(decisions.after(0, "chat", 2)).toMatchObject({ next: 5, entries: [{ requestId: "d" }, { requestId: "e" }] });
  expect(decisions.after(5, "chat", 2).entries).toEqual([]);
  decisions.add(ids(1, 5));
  expect(decisions.after(9, "chat", 10)).toMatchObject({ next: 10, entries: [{ requestId: "r5" }] });
});
