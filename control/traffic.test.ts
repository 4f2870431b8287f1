import { expect, test } from "vitest";
import type { RegionStatus } from "../schema/snapshot.ts";
import { digestBoundsMs, type TrafficRow } from "../schema/telemetry.ts";
import { trafficOf } from "./traffic.ts";

const row = (more: Partial<TrafficRow>): TrafficRow => ({ service: "chat", upstream: "replicas", windowMs: 60_000, requests: 0, errors: 0, ttft: [], ...more });
const region = (...traffic: TrafficRow[]): RegionStatus => ({ region: "local", takenAt: 0, bundleVersion: 1, hosts: [], replicas: [], unplaced: [], traffic });
const at = (ms: number, count: number): number[] => digestBoundsMs.ttft.map((bound) => (bound === ms ? count : 0));

test("trafficOf() adds up regions by upstream, whatever the age of each hub", () => {
  const regions = [region(row({ requests: 60, errors: 3, ttft: at(100, 2) }), row({ service: "other", requests: 9 })), region(row({ windowMs: 5_000, requests: 15, errors: 0, ttft: at(250, 2) }), row({ upstream: "vendor", requests: 600, errors: 600 }))];
  expect(trafficOf("chat", regions)).toEqual([
    { upstream: "vendor", requestsPerSecond: 10, errorRate: 1 },
    { upstream: "replicas", requestsPerSecond: 4, errorRate: 0.04, ttftP50Ms: 100, ttftP95Ms: expect.closeTo(235, 5) },
  ]);
});

test("trafficOf() says nothing of what it does not know", () => {
  expect(trafficOf("chat", [{ ...region() }, region(row({ upstream: "" }))])).toEqual([{ requestsPerSecond: 0 }]);
  const { traffic: _, ...older } = region();
  expect(trafficOf("chat", [older])).toEqual([]);
});
