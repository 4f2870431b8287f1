import { expect, test } from "vitest";
import type { Phase } from "../../schema/replica.ts";
import type { StatusReplica } from "../../schema/snapshot.ts";
import type { StatusAnswer } from "../routes/status.ts";
import { watchDrain } from "./drainWatch.ts";

function replica(number: number, host: string, phase: Phase, reason?: string): StatusReplica {
  return { id: `chat.local.${number}`, service: "chat", number, version: 1, phase, host, hostName: `name of ${host}`, since: number, inFlight: 0, region: "local", restarts: 0, ...(reason === undefined ? {} : { reason }) };
}

function status(replicas: StatusReplica[], more: Partial<StatusAnswer> = {}, linkUp = true): StatusAnswer {
  const service = { name: "chat", version: 1, activeVersions: [], status: "READY" as const, models: [], selfHosted: true, desired: 1, ready: 1, endpoint: "", replicas };
  const host = { id: "a", name: "rack-7", region: "local", state: "draining" as const, linkUp, relays: [0] };
  return { takenAt: 0, endpoint: "", bundleVersion: 4, edge: { reachable: true, bundleVersions: { local: 4 } }, services: [service], hosts: [host], unplaced: [], ...more };
}

test("watchDrain() tells what takes over and what ends, each step once, until the host is empty", () => {
  const look = watchDrain("a");
  expect(look(status([replica(1, "a", "ready"), replica(9, "b", "ready")], { bundleVersion: 5 }))).toEqual({ lines: [], waiting: "Waiting for local to hear of it" });
  expect(look(status([replica(1, "a", "ready")]))).toEqual({ lines: [], waiting: "Waiting for rack-7: 1 replica still there" });
  const starting = status([replica(1, "a", "ready"), replica(2, "b", "starting", "run has begun")]);
  expect(look(starting).lines).toEqual(["chat.local.2 on name of b: starting (run has begun)"]);
  expect(look(starting).lines).toEqual([]);
  expect(look(status([replica(1, "a", "draining"), replica(2, "b", "ready")])).lines).toEqual(["chat.local.1 on name of a: draining", "chat.local.2 on name of b: ready"]);
  expect(look(status([replica(2, "b", "ready")]))).toMatchObject({ lines: [], outcome: { kind: "empty" } });
});

test("watchDrain() says what finds no other place", () => {
  const look = watchDrain("a");
  const told = look(status([replica(1, "a", "ready")], { unplaced: [{ service: "chat", region: "local", count: 1, reason: "no host has 1 free GPU" }, { service: "other", region: "local", count: 2, reason: "x" }] }));
  expect(told.lines).toEqual(["1 replica of chat without another place: no host has 1 free GPU"]);
  expect(told.outcome).toBeUndefined();
});

test.each<[string, StatusAnswer, string | undefined]>([
  ["a host without replicas is empty", status([replica(1, "b", "ready")]), "empty"],
  ["what has ended there does not hold it up", status([replica(1, "a", "failed")]), "empty"],
  ["one that is not connected cannot be emptied", status([replica(1, "a", "unhealthy")], {}, false), "lost"],
  ["without the edge nothing is known", status([], { edge: { reachable: false, reason: "no answer" } }), undefined],
])("watchDrain(): %s", (_, given, outcome) => {
  expect(watchDrain("a")(given).outcome?.kind).toBe(outcome);
});
