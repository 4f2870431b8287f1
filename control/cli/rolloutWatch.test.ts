import { expect, test } from "vitest";
import type { Phase } from "../../schema/replica.ts";
import type { RolloutStatus } from "../../schema/scale.ts";
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
  ["an old one failed, where nothing restarts", { anyVersion: true }, status([replica(1, "ready"), replica(2, "failed", 1)]), undefined],
  ["one unhealthy, which is started again", {}, status([replica(1, "ready"), replica(2, "unhealthy")]), undefined],
  ["no replica wanted", { desired: 0 }, status([]), "ready"],
  ["an edge that cannot be asked", {}, status([replica(1, "ready"), replica(2, "ready")], { edge: { reachable: false, reason: "away" } }), undefined],
  ["a service that control does not show", {}, status([], { services: [] }), undefined],
])("watchRollout() with %s", (_name, more, seen, outcome) => {
  expect(watchRollout({ ...goal, ...more })(seen).outcome?.kind).toBe(outcome);
});

/** What the Scaler says, of replicas that are all ready. */
function decided(rollout: Partial<RolloutStatus> | undefined, { version = 2, desired = 2, phases = ["ready", "ready"] as Phase[], of = 2 } = {}): StatusAnswer {
  const answer = status(phases.map((phase, i) => replica(i + 1, phase, of)));
  const said = { decidedFor: version, decisions: [], ...(rollout === undefined ? {} : { rollout: { mode: "rolling" as const, state: "progressing" as const, version, reason: "so", ...rollout } }) };
  return { ...answer, services: answer.services.map((service) => ({ ...service, desired, ...said })) };
}

test.each<[string, Partial<typeof goal>, StatusAnswer, string | undefined]>([
  ["a Scaler that has not seen the version", {}, decided(undefined, { version: 1 }), undefined],
  ["a first version, whose replicas are ready", {}, decided(undefined), "ready"],
  ["a rollout that is on its way, though all replicas are ready", {}, decided({ mode: "canary", step: 1, steps: 3 }), undefined],
  ["a rollout that is over", {}, decided({ state: "done" }, { phases: ["ready"] }), "ready"],
  ["an A/B test that stands", {}, decided({ mode: "ab", state: "done", shares: { 1: 0.5, 2: 0.5 } }, { phases: ["ready"] }), "ready"],
  ["a rollout of the version before", { anyVersion: true }, decided({ state: "rolled_back", version: 1 }), "ready"],
  ["one that was rolled back", {}, decided({ state: "rolled_back", reason: "version 2 was rolled back: it never got ready" }), "failed"],
  ["one that is stuck", {}, decided({ state: "stuck" }), "failed"],
  ["one that is stuck by a failure of the version before, of which its host has not heard yet", { anyVersion: true }, decided({ state: "stuck" }, { phases: ["failed"], of: 1 }), undefined],
  ["one that is stuck by its own failure", { anyVersion: true }, decided({ state: "stuck" }, { phases: ["failed"] }), "failed"],
  ["one that failed, and may be taken back", {}, decided({}, { phases: ["failed", "failed"] }), undefined],
  ["more replicas by configuration, not yet ready", { anyVersion: true, desired: 3 }, decided({ state: "done" }, { desired: 3 }), undefined],
  ["more replicas than the file's least, by demand", {}, decided(undefined, { desired: 5 }), undefined],
  ["none wanted now", { desired: 0 }, decided({}, { desired: 0, phases: [] }), "ready"],
  ["one wanted now of a service that may have none", { desired: 0 }, decided({}, { desired: 1, phases: ["starting"] }), undefined],
])("watchRollout() with %s", (_name, more, seen, outcome) => {
  expect(watchRollout({ ...goal, ...more })(seen).outcome?.kind).toBe(outcome);
});

test("watchRollout() tells a canary's steps, and why it was taken back", () => {
  const look = watchRollout(goal);
  const step = (number: number): StatusAnswer => decided({ mode: "canary", step: number, steps: 3, reason: `step ${number} of 3` }, { phases: ["failed"] });
  expect(look(step(1))).toMatchObject({ lines: ["chat.local.1 on box: failed", "step 1 of 3"], waiting: "Waiting for chat: step 1 of 3" });
  expect(look(step(1)).lines).toEqual([]);
  expect(look(step(2)).lines).toEqual(["step 2 of 3"]);
  // its replica is gone by then
  expect(look(decided({ mode: "canary", state: "rolled_back", reason: "version 2 was rolled back" }, { phases: [] })).outcome).toEqual({ kind: "failed", replica: expect.objectContaining({ id: "chat.local.1" }), reason: "version 2 was rolled back" });
});

test("watchRollout() tells each change once, with its reason", () => {
  const look = watchRollout(goal);
  expect(look(status([replica(1, "starting")])).lines).toEqual(["chat.local.1 on box: starting"]);
  expect(look(status([replica(1, "starting")])).lines).toEqual([]);
  expect(look(status([replica(1, "unhealthy", 2, "exited with 1")])).lines).toEqual(["chat.local.1 on box: unhealthy (exited with 1)"]);
  const unplaced = [{ service: "chat", region: "local", count: 1, reason: "no host has 8 free GPUs" }];
  expect(look(status([], { unplaced })).lines).toEqual(["1 replica without a place in local: no host has 8 free GPUs"]);
});

test.each<[string, StatusAnswer[], string]>([
  ["that was taken down meanwhile", [status([replica(1, "starting")]), status([], { services: [] }), status([], { services: [] })], "chat was taken down meanwhile"],
  ["whose replicas are still ending", [{ ...status([replica(1, "stopping")]), services: status([replica(1, "stopping")]).services.map((service) => ({ ...service, status: "SHUTTING_DOWN" as const })) }], "chat was taken down meanwhile"],
  ["that has a newer version", [{ ...status([replica(1, "ready")]), services: status([replica(1, "ready")]).services.map((service) => ({ ...service, version: 3 })) }], "version 3 has taken its place"],
])("watchRollout() waits no longer for a service %s", (_name, seen, reason) => {
  const look = watchRollout(goal);
  expect(seen.map(look).at(-1)?.outcome).toEqual({ kind: "failed", replica: undefined, reason });
});
