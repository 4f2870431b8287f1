import { expect, test } from "vitest";
import type { ReplicaState } from "../../schema/protocol.ts";
import { overdueByHost, refusalsAfter, refusalsByHost, refusalsForMs, refusalsForMsMax, refusalsMax, refusalStatus, type Refused } from "./refusals.ts";
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
  expect(refusalsByHost(after(known, [], now + refusalsForMs), now + refusalsForMs)).toEqual(new Map());
  expect(refusalsByHost(known, now + refusalsForMs)).toEqual(new Map());
  // and for as long again it is known that the next one follows it
  expect(after(known, [], now + 2 * refusalsForMs)).toEqual([]);
});

test("a replica that is left with its host is asked for again when the time is over, and each refusal in a row is believed twice as long, up to an hour", () => {
  let known = after([], [state("a", { id: "chat.local.1" })]);
  let at = now;
  const waits: number[] = [];
  for (let number = 2; number <= 6; number++) {
    const since = at;
    while (overdueByHost(known, at).size === 0) known = after(known, [state("a", { id: `chat.local.${number - 1}` })], (at += 60_000));
    waits.push(at - since);
    expect(overdueByHost(known, at)).toEqual(new Map([["h", new Set([`chat.local.${number - 1}`])]]));
    // another in its place, which is pending for a while and then refused as well
    known = after(known, [state("a", { id: `chat.local.${number}`, phase: "starting", refused: false })], at);
    known = after(known, [state("a", { id: `chat.local.${number}` })], at);
    expect(refusalsByHost(known, at)).toEqual(new Map([["h", new Set(["a"])]]));
    expect(overdueByHost(known, at)).toEqual(new Map());
  }
  expect(waits).toEqual([refusalsForMs, 2 * refusalsForMs, 4 * refusalsForMs, refusalsForMsMax, refusalsForMsMax]);
});

test("two replicas that a host refuses together are one refusal", () => {
  const both = [state("a", { id: "chat.local.1" }), state("a", { id: "chat.local.2" })];
  const known = after(after([], both.slice(0, 1)), both, now + 1_000);
  expect(known).toMatchObject([{ at: now, times: 1, said: ["chat.local.1", "chat.local.2"] }]);
  expect(overdueByHost(known, now + refusalsForMs).get("h")?.size).toBe(2);
});

test("refusalStatus() says of what is left with a refusing host how many refuse it, and when the first is asked again", () => {
  const known: Refused[] = [
    { host: "h", digest: "a", epoch: 1, at: now, said: ["chat.local.2"] },
    { host: "i", digest: "a", epoch: 1, at: now - 60_000, said: ["chat.local.1"] },
    { host: "h", digest: "b", epoch: 1, at: now, said: ["code.local.1"] },
  ];
  const assigned = (host: string) => (host === "h" ? [{ id: "chat.local.2", service: "chat", number: 2, version: 3, digest: "a" }] : []);
  expect(refusalStatus(known, assigned, now)).toEqual([{ service: "chat", version: 3, hosts: 2, againAt: now - 60_000 + refusalsForMs }]);
});

test("it is forgotten sooner when the host runs that version after all, is another agent's, or is enrolled no more", () => {
  const known = after([], [state("a")]);
  expect(after(known, [state("a", { phase: "starting", refused: false, port: 8000 })])).toEqual([]);
  expect(after(known, [state("a", { refused: false })])).toEqual([]);
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
