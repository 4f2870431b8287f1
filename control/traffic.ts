import { digestBoundsMs, quantileMs, type TrafficRow } from "../schema/telemetry.ts";
import type { RegionStatus } from "../schema/snapshot.ts";

/** What a service did through one upstream in the last minute. What is not known is absent. */
export interface TrafficView {
  /** Absent: requests that nobody answered. */
  upstream?: string;
  requestsPerSecond: number;
  /** 0..1; absent where nothing has ended. */
  errorRate?: number;
  ttftP50Ms?: number;
  ttftP95Ms?: number;
}

/** One service's traffic over all regions, the busiest upstream first. */
export function trafficOf(service: string, regions: readonly RegionStatus[]): TrafficView[] {
  const byUpstream = Map.groupBy(regions.flatMap(({ traffic = [] }) => traffic.filter((row) => row.service === service)), ({ upstream }) => upstream);
  return [...byUpstream].map(([upstream, rows]) => viewOf(upstream, rows)).sort((a, b) => b.requestsPerSecond - a.requestsPerSecond);
}

function viewOf(upstream: string, rows: readonly TrafficRow[]): TrafficView {
  const requests = rows.reduce((sum, row) => sum + row.requests, 0);
  const ttft = Array.from({ length: digestBoundsMs.ttft.length + 1 }, (_, i) => rows.reduce((sum, row) => sum + (row.ttft[i] ?? 0), 0));
  const [p50, p95] = [0.5, 0.95].map((q) => quantileMs(digestBoundsMs.ttft, ttft, q));
  return {
    ...(upstream === "" ? {} : { upstream }),
    requestsPerSecond: rows.reduce((sum, row) => sum + (row.requests * 1000) / row.windowMs, 0),
    ...(requests === 0 ? {} : { errorRate: rows.reduce((sum, row) => sum + row.errors, 0) / requests }),
    ...(p50 === undefined ? {} : { ttftP50Ms: p50 }),
    ...(p95 === undefined ? {} : { ttftP95Ms: p95 }),
  };
}
