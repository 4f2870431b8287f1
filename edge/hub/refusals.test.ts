import { expect, test } from "vitest";
import type { ReplicaState } from "../../schema/protocol.ts";
import { refusalsAfter, refusalsByHost, refusalsForMs, refusalsMax, type Refused } from "./refusals.ts";
import { newRow, type HostRow } from "./roster.ts";

const now = 1_000_000_000;
const state = (digest: string, fields: Partial<ReplicaState> = {}): ReplicaState => ({ id: `chat.local.${digest}`, service: "chat", number: 1, version: 1, digest, phase: "failed", since: now, restarts: 0, wasReady: false, inFlight: 0, refused: true, ...fields });
const after = (known: readonly Refused[], replicas: ReplicaState[], at = now, fields: Partial<HostRow> = {}) => refusalsAfter(known, new Map([["h", { ...newRow("h", 1, now), saidIn: 1, replicas, ...fields }]]), at);

test.each<[string, Partial<ReplicaState>, number]>([
  ["a host that will not run it", {}, 1],
  ["one that does not say so", { refused: false }, 0],
  ["one that runs it", { phase: "starting" }, 0],
])("refusalsAfter() with %s", (_, fields, count) => {
  expect(after([], [state("a", fields)])).toHaveLength(count);
});

test("a refusal is remembered once, though its replica is gone, until its time is over", () => {
  const known = after([], [state("a")]);
  expect(after(known, [state("a")], now + 5_000)).toBe(known);
  expect(after(known, [], now + refusalsForMs - 1)).toBe(known);
  expect(refusalsByHost(known, now + refusalsForMs - 1)).toEqual(new Map([["h", new Set(["a"])]]));
  expect(after(known, [], now + refusalsForMs)).toEqual([]);
  expect(refusalsByHost(known, now + refusalsForMs)).toEqual(new Map());
});

test("it is forgotten sooner when the host runs that version after all, is another agent's, or is enrolled no more", () => {
  const known = after([], [state("a")]);
  expect(after(known, [state("a", { phase: "starting", refused: false })])).toEqual([]);
  expect(after(known, [], now, { epoch: 2, saidIn: 2 })).toEqual([]);
  expect(refusalsAfter(known, new Map(), now)).toEqual([]);
});

test("a clock that was set back makes nothing last longer than its time", () => {
  expect(after(after([], [state("a")]), [], now - 3_600_000)).toEqual([]);
});

test("no more are remembered than fit: the oldest go first", () => {
  const known = Array.from({ length: refusalsMax }, (_, i): Refused => ({ host: "h", digest: `d${i}`, epoch: 1, at: now }));
  const next = after(known, [state("a")]);
  expect(next.length).toBe(refusalsMax);
  expect(next.at(-1)).toMatchObject({ digest: "a" });
  expect(next[0]).toMatchObject({ digest: "d1" });
});
