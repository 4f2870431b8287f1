import { expect, test } from "vitest";
import type { StatusReplica } from "../../schema/snapshot.ts";
import type { ServiceStatus } from "../status.ts";
import { watchDown } from "./downWatch.ts";

const edge = { reachable: true as const, bundleVersions: {} };
const away = { reachable: false as const, reason: "away" };

function service(name: string, status: ServiceStatus, count: number) {
  const replicas = Array.from({ length: count }, (_, i): StatusReplica => ({ id: `${name}.local.${i}`, service: name, number: i, version: 1, phase: "stopping", host: "h", hostName: "box", since: 0, inFlight: 0, region: "local", restarts: 0 }));
  return { name, version: 1, activeVersions: [], status, models: [], selfHosted: true, desired: 0, ready: 0, endpoint: "", replicas };
}

test.each([
  ["replicas that are ending", { services: [service("a", "SHUTTING_DOWN", 2)], edge }, { left: 2, again: [], waiting: "Waiting for 2 replicas to end" }],
  ["nothing left", { services: [], edge }, { left: 0, again: [] }],
  ["other services", { services: [service("c", "READY", 3)], edge }, { left: 0, again: [] }],
  ["an edge that cannot be asked", { services: [], edge: away }, { left: undefined, waiting: "Waiting for the edge: away" }],
  ["one that was created again, whose replicas are not waited for", { services: [service("a", "READY", 2), service("b", "SHUTTING_DOWN", 1)], edge }, { left: 1, again: ["a"] }],
])("watchDown() with %s", (_name, status, look) => {
  expect(watchDown(["a", "b"])(status)).toMatchObject(look);
});

test("watchDown() tells once that a service was created again", () => {
  const look = watchDown(["a"]);
  expect(look({ services: [service("a", "STARTING", 1)], edge }).again).toEqual(["a"]);
  expect(look({ services: [service("a", "READY", 1)], edge })).toEqual({ again: [], left: 0, waiting: "Waiting for 0 replicas to end" });
});
