import { expect, test } from "vitest";
import { routeServiceSchema, type RouteService } from "../../schema/bundle.ts";
import { providerCandidate, replicaCandidate, type Candidate } from "./candidates.ts";
import type { Decision } from "./route.ts";
import { spills } from "./spill.ts";

function serviceOf(more: Record<string, unknown> = {}, replicas: Record<string, unknown> = {}): RouteService {
  return routeServiceSchema.parse({
    name: "chat", version: 1, models: ["chat"], listed: true, createdAt: 0, selfHosted: true, timeouts: { ttftMs: 1, totalMs: 1 }, bodyBytesMax: 1, replicas: { name: "gpus", weight: 30, ...replicas },
    providers: [{ name: "vendor", endpoint: "https://a.example/v1", dialect: "openai", weight: 10 }, { name: "last", endpoint: "https://b.example/v1", dialect: "openai", weight: 500, fallback: true }],
    ...more,
  });
}
const plain = serviceOf();
const vendor = providerCandidate(plain.providers[0] ?? expect.fail());
const replica = replicaCandidate(plain, { takenAt: 0, replica: { id: "chat.local.1", service: "chat", number: 1, version: 1, phase: "ready", host: "h", since: 0, inFlight: 0 }, host: { id: "h", relays: [0], heardAt: 0, linkUp: true, draining: false } });

test.each<[string, RouteService, Candidate[], boolean, boolean]>([
  ["a replica has it", plain, [replica, vendor], false, false],
  ["no replica may be used", plain, [vendor], false, true],
  ["all replicas are full", plain, [vendor, replica], true, true],
  ["another upstream was picked although a replica could take it", serviceOf({ routing: { strategy: "cost_optimized" } }), [vendor, replica], false, false],
  ["by cost, and no replica may be used", serviceOf({ routing: { strategy: "cost_optimized" } }), [vendor], false, true],
  ["the provider comes before replicas", serviceOf({ routing: { fallbackChain: ["vendor", "gpus"] } }), [vendor], false, false],
  ["replicas are the fallback", serviceOf({}, { fallback: true }), [vendor], false, false],
  ["the service has no replicas", serviceOf({ selfHosted: false }), [vendor], false, false],
  ["nothing may be used", plain, [], false, false],
])("spills(): %s", (_name, service, candidates, saturated, expected) => {
  expect(spills(service, { candidates, saturated, filtered: {}, scores: [], strategy: service.routing.strategy }, () => 0)).toBe(expected);
});

test("under `weighted` the replicas' share of what providers take is spilled", () => {
  const decision: Decision = { candidates: [vendor], saturated: false, filtered: {}, scores: [], strategy: "weighted" };
  const weighted = serviceOf({ routing: { strategy: "weighted" } });
  expect([0.74, 0.76].map((chance) => spills(weighted, decision, () => chance))).toEqual([true, false]);
});
