import { expect, test } from "vitest";
import type { Phase } from "../schema/replica.ts";
import type { RolloutStatus } from "../schema/scale.ts";
import type { RegionStatus, ScaleStatus, StatusReplica } from "../schema/snapshot.ts";
import { parseService } from "../schema/service.ts";
import type { HostRow, ServiceRow } from "../schema/tables.ts";
import { compileStatus, foldFailed, serviceStatus, type ServiceStatus } from "./status.ts";

test.each<[string, Phase[], ServiceStatus]>([
  ["any replica ready", ["starting", "ready", "failed"], "READY"],
  ["none yet, some coming", ["pending", "failed"], "STARTING"],
  ["one asleep", ["sleeping"], "STARTING"],
  ["one restarting beside one starting", ["unhealthy", "starting"], "STARTING"],
  ["all unhealthy", ["unhealthy", "unhealthy"], "UNHEALTHY"],
  ["all failed", ["failed", "failed"], "FAILED"],
  ["failed, the others leaving", ["failed", "draining"], "FAILED"],
  ["none", [], "NO_REPLICA"],
  ["only the reclaimed", ["reclaimed"], "NO_REPLICA"],
  ["only one leaving", ["stopping"], "NO_REPLICA"],
])("serviceStatus() with %s", (_name, phases, expected) => {
  expect(serviceStatus(1, true, phases.map((phase) => ({ phase })))).toBe(expected);
});

test("serviceStatus() without replicas of its own, without an edge to ask, and when taken down", () => {
  expect(serviceStatus(0, false, [])).toBe("READY");
  expect(serviceStatus(1, true, [], { reachable: false })).toBe("UNKNOWN");
  expect(serviceStatus(0, true, [{ phase: "ready" }], { removed: true })).toBe("SHUTTING_DOWN");
});

function replica(number: number, phase: Phase, more: Partial<StatusReplica> = {}): StatusReplica {
  return { id: `chat.local.${number}`, service: "chat", number, version: 2, phase, host: "h", hostName: "box", since: 1000 + number, inFlight: 0, region: "local", restarts: 0, ...more };
}

const region: RegionStatus = { region: "local", takenAt: 0, bundleVersion: 1, hosts: [], replicas: [], unplaced: [] };
const spec = parseService("service: {replicas: 2, model: m}\nrun: a $PORT", { name: "chat" }).service;
const row = { name: "chat", version: 2, yaml: "", spec, secrets: "", createdAt: 1, updatedAt: 1, deletedAt: null } as ServiceRow;
const facts = { services: [row], hosts: [], publicUrl: "https://ai.example", now: 9000 };

test("compileStatus() counts what is ready, since when and in which versions", () => {
  const replicas = [replica(3, "ready"), replica(1, "ready", { version: 1 }), replica(4, "failed", { reason: "out of memory" })];
  const { services } = compileStatus({ ...facts, edge: { reachable: true, regions: [{ ...region, replicas }] } });
  expect(services[0]).toMatchObject({ status: "READY", ready: 2, desired: 2, activeVersions: [1, 2], readySince: 1001, endpoint: "https://ai.example/v1" });
});

test("compileStatus() gives the reason why a service does not answer", () => {
  const unplaced = [{ service: "chat", count: 2, reason: "no host is enrolled" }];
  const of = (regions: RegionStatus[]) => compileStatus({ ...facts, edge: { reachable: true, regions } }).services[0];
  expect(of([{ ...region, unplaced }])).toMatchObject({ status: "NO_REPLICA", reason: "no host is enrolled" });
  expect(of([{ ...region, replicas: [replica(1, "failed", { reason: "run exited with 1" })] }])).toMatchObject({ status: "FAILED", reason: "run exited with 1" });
});

test("compileStatus() says how many hosts would not run what, and when they are asked again, though another version answers", () => {
  const refusals = (version: number, hosts: number, againAt: number) => ({ ...region, replicas: [replica(1, "ready", { version: 1 }), replica(2, "failed", { reason: "no template is named x" })], refusals: [{ service: "chat", version, hosts, againAt }, { service: "other", version: 1, hosts: 1, againAt: 0 }] });
  const of = (...regions: RegionStatus[]) => compileStatus({ ...facts, edge: { reachable: true, regions } }).services[0];
  expect(of(refusals(2, 1, 9000 + 552_000))).toMatchObject({ status: "READY", refused: "1 host would not run version 2: asked again in 9m 12s", reason: "1 host would not run version 2: asked again in 9m 12s" });
  expect(of(refusals(2, 1, 99_000), refusals(2, 3, 69_000), refusals(3, 1, 0))?.refused).toBe("4 hosts would not run version 2: asked again in 1m 0s; 1 host would not run version 3: asked again now");
  expect(of({ ...region, replicas: [replica(1, "ready")] })).not.toHaveProperty("refused");
});

const scale: ScaleStatus = { service: "chat", version: 2, desired: 5, decisions: [{ at: 1, action: "up", desired: 5, reason: "5 are needed" }] };

test("compileStatus() takes the number of replicas from the Scaler, once that has seen the version", () => {
  const of = (...scales: ScaleStatus[]) => compileStatus({ ...facts, edge: { reachable: true, regions: [{ ...region, replicas: [replica(1, "ready")] }, ...scales.map((one) => ({ ...region, scales: [one] }))] } }).services[0];
  expect(of(scale)).toMatchObject({ desired: 5, status: "READY", decidedFor: 2, decisions: [{ reason: "5 are needed" }] });
  expect(of(scale)).not.toHaveProperty("reason");
  expect(of({ ...scale, version: 1 })).toMatchObject({ desired: 2 });
  expect(of({ ...scale, version: 1, desired: 9 }, scale)).toMatchObject({ desired: 5 });
  expect(of({ ...scale, service: "other" })).not.toHaveProperty("decisions");
});

test("compileStatus() says that nothing is wanted, and why", () => {
  const none = { ...scale, desired: 0, decisions: [{ at: 1, action: "zero" as const, desired: 0, reason: "no request for 10m 0s" }] };
  expect(compileStatus({ ...facts, edge: { reachable: true, regions: [{ ...region, scales: [none] }] } }).services[0]).toMatchObject({ status: "NO_REPLICA", desired: 0, reason: "no request for 10m 0s" });
});

test.each<[RolloutStatus["state"], Record<string, number> | undefined, string | undefined]>([
  ["progressing", undefined, "so it is"],
  ["rolled_back", undefined, "so it is"],
  ["stuck", undefined, "so it is"],
  ["done", { 1: 0.5, 2: 0.5 }, "so it is"],
  ["done", undefined, undefined],
])("compileStatus() of a rollout that is %s with shares %j says why, though the service answers", (state, shares, reason) => {
  const rollout: RolloutStatus = { mode: "canary", state, version: 2, from: 1, reason: "so it is", ...(shares === undefined ? {} : { shares }) };
  const { services } = compileStatus({ ...facts, edge: { reachable: true, regions: [{ ...region, replicas: [replica(1, "ready")], scales: [{ ...scale, rollout }] }] } });
  expect([services[0]?.status, services[0]?.reason]).toEqual(["READY", reason]);
});

test("compileStatus() gives one reason once, where a rollout's ends with a replica's", () => {
  const rollout: RolloutStatus = { mode: "rolling", state: "stuck", version: 2, reason: "version 2 never got ready: chat.local.1 failed: exited with code 3; it is not tried again" };
  const failed = { ...replica(1, "failed"), reason: "exited with code 3" };
  const { services } = compileStatus({ ...facts, edge: { reachable: true, regions: [{ ...region, replicas: [failed], scales: [{ ...scale, rollout }] }] } });
  expect(services[0]?.reason).toBe(rollout.reason);
});

test("compileStatus() says what control knows when the edge is silent", () => {
  const { services } = compileStatus({ ...facts, edge: { reachable: false, reason: "no answer" } });
  expect(services[0]).toMatchObject({ status: "UNKNOWN", reason: "no answer", version: 2, replicas: [] });
});

test("compileStatus() keeps showing a service that was taken down until its replicas are gone", () => {
  const of = (phase: Phase) => compileStatus({ ...facts, services: [], edge: { reachable: true, regions: [{ ...region, replicas: [replica(1, phase)] }] } }).services;
  expect(of("draining")).toMatchObject([{ name: "chat", status: "SHUTTING_DOWN", replicas: [{ number: 1 }] }]);
  expect(of("stopped")).toEqual([]);
});

test("compileStatus() tells the states of hosts apart", () => {
  const host = (id: string, revokedAt: number | null = null): HostRow => ({ id, name: id, region: "local", publicKey: "", sealKey: "", rotatedAt: null, previousKey: null, previousUntil: null, releases: 0, createdAt: 0, revokedAt, drainingAt: id === "drained" ? 5 : null });
  const seen = (id: string, linkUp: boolean, draining = false) => ({ id, name: id, region: "local" as const, relays: [], heardAt: 5000, linkUp, draining, generation: 1, appliedGeneration: 1 });
  const hosts = [host("up"), host("leaving"), host("lost"), host("left"), host("new"), host("gone", 5), host("drained")];
  const edge = { reachable: true as const, regions: [{ ...region, hosts: [seen("up", true), seen("leaving", true, true), seen("lost", false), { ...seen("left", false), heardAt: 0 }, seen("drained", true)] }] };
  expect(compileStatus({ ...facts, hosts, edge }).hosts.map(({ state }) => state)).toEqual(["up", "draining", "lost", "left", "never seen", "revoked", "draining"]);
});

test("compileStatus() passes on what a host read of itself, and what runs on it", () => {
  const hosts: HostRow[] = [{ id: "box", name: "box", region: "local", publicKey: "", sealKey: "", rotatedAt: null, previousKey: null, previousUntil: null, releases: 0, createdAt: 0, revokedAt: null, drainingAt: null }];
  const readings = { ageMs: 10, gpus: [{ index: 0, utilisation: 0.5 }] };
  const seen = { id: "box", name: "box", region: "local" as const, relays: [0], heardAt: 5000, linkUp: true, draining: false, generation: 3, appliedGeneration: 2, agentVersion: "1.2.3", protocol: 3, readings };
  expect(compileStatus({ ...facts, hosts, edge: { reachable: true, regions: [{ ...region, hosts: [seen] }] } }).hosts).toEqual([{ id: "box", name: "box", region: "local", state: "up", linkUp: true, relays: [0], heardAt: 5000, generation: 3, appliedGeneration: 2, agentVersion: "1.2.3", protocol: 3, readings }]);
});

test("foldFailed() shows the living and the last three that ended", () => {
  const replicas = [replica(1, "failed"), replica(2, "failed"), replica(3, "failed"), replica(4, "ready"), replica(5, "failed")];
  const { replicas: shown, folded } = foldFailed(replicas);
  expect(shown.map(({ number }) => number)).toEqual([2, 3, 4, 5]);
  expect(folded).toBe(1);
});
