import { expect, test } from "vitest";
import type { Phase } from "../../schema/replica.ts";
import type { StatusReplica } from "../../schema/snapshot.ts";
import type { StatusAnswer } from "../routes/status.ts";
import { watchRollout } from "./rolloutWatch.ts";

function replica(number: number, phase: Phase, version = 2, reason?: string): StatusReplica {
  return { id: `chat.local.${number}`, service: "chat", number, version, phase, host: "h", hostName: "box", since: number, inFlight: 0, region: "local", restarts: 0, ...(reason === undefined ? {} : { reason }) };
}

function status(replicas: StatusReplica[], more: Partial<StatusAnswer> = {}): StatusAnswer {
  const service = { name: "chat", version: 2, activeVersions: [], status: "STARTING" as const, models: [], selfHosted: true, desired: 2, ready: 0, endpoint: "", replicas };
  return { takenAt: 0, endpoint: "", bundleVersion: 1, edge: { reachable: true, bundleVersions: {} }, services: [service], hosts: [], unplaced: [], ...more };
}

const goal = { service: "chat", version: 2, desired: 2, anyVersion: false };

test.each<[string, Partial<typeof goal>, StatusAnswer, string | undefined]>([
  ["all of the new version ready", {}, status([replica(1, "ready"), replica(2, "ready")]), "ready"],
  ["one still starting", {}, status([replica(1, "ready"), replica(2, "starting")]), undefined],
  ["old ones ready", {}, status([replica(1, "ready", 1), replica(2, "ready", 1)]), undefined],
  ["old ones ready, where nothing restarts", { anyVersion: true }, status([replica(1, "ready", 1), replica(2, "ready", 1)]), "ready"],
  ["one failed, its place kept", {}, status([replica(1, "ready"), replica(2, "failed")]), "failed"],
  ["one failed, another in its place", {}, status([replica(1, "ready"), replica(2, "failed"), replica(3, "starting")]), undefined],
  ["an old one failed", {}, status([replica(1, "ready"), replica(2, "failed", 1)]), undefined],
  ["one unhealthy, which is started again", {}, status([replica(1, "ready"), replica(2, "unhealthy")]), undefined],
  ["no replica wanted", { desired: 0 }, status([]), "ready"],
  ["an edge that cannot be asked", {}, status([replica(1, "ready"), replica(2, "ready")], { edge: { reachable: false, reason: "away" } }), undefined],
  ["a service that control does not show", {}, status([], { services: [] }), undefined],
])("watchRollout() with %s", (_name, more, seen, outcome) => {
  expect(watchRollout({ ...goal, ...more })(seen).outcome?.kind).toBe(outcome);
});

test("watchRollout() tells each change once, with its reason", () => {
  const look = watchRollout(goal);
  expect(look(status([replica(1, "starting")])).lines).toEqual(["chat.local.1 on box: starting"]);
  expect(look(status([replica(1, "starting")])).lines).toEqual([]);
  expect(look(status([replica(1, "unhealthy", 2, "exited with 1")])).lines).toEqual(["chat.local.1 on box: unhealthy (exited with 1)"]);
  const unplaced = [{ service: "chat", region: "local", count: 1, reason: "no host has 8 free GPUs" }];
  expect(look(status([], { unplaced })).lines).toEqual(["1 replica without a place in local: no host has 8 free GPUs"]);
});
