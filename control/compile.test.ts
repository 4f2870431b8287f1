import { expect, test } from "vitest";
import { bundleSchema } from "../schema/bundle.ts";
import type { Region } from "../schema/region.ts";
import { parseService } from "../schema/service.ts";
import type { HostRow, ServiceRow } from "../schema/tables.ts";
import { compile, homeRegions, isListed, spread } from "./compile.ts";
import type { Published } from "./queries/bundle.ts";
import type { SealedService } from "./secrets.ts";

function service(yaml: string, name = "chat"): ServiceRow {
  const { service: spec, problems } = parseService(yaml, { name });
  if (spec === undefined) throw new Error(JSON.stringify(problems));
  return { name, version: 3, yaml, spec, secrets: "", signed: null, previous: null, mode: null, readySince: null, createdAt: 5, updatedAt: 6, deletedAt: null };
}

function host(id: string, region: Region, revokedAt: number | null = null): HostRow {
  return { id, name: `name-${id}`, region, publicKey: "p", sealKey: "s", rotatedAt: null, previousKey: null, previousUntil: null, releases: 0, createdAt: 1, revokedAt, drainingAt: null };
}

function compiled(published: Partial<Published>, sealed: Record<string, SealedService> = {}, regions: Region[] = ["weur", "enam"]) {
  const bundle = compile({ version: 7, services: [], keys: [], hosts: [], removed: [], ...published }, new Map(Object.entries(sealed)), regions, 1000);
  return bundleSchema.parse(bundle);
}

const sealed = { digest: "d", hosts: { h1: "sealed" }, apiKeys: { p: "locked" }, headers: { p: "locked too" } };
const run = "run: serve --port $PORT";

test("compile() resolves a service for the edge and for the hubs", () => {
  const row = service(`service:\n  model: m\n  providers: [{name: p, endpoint: 'https://a.example/v1'}, {type: self-hosted, name: g}]\n${run}`);
  const bundle = compiled({ services: [row], hosts: [host("h1", "enam")], removed: ["chat.enam.1"] }, { chat: sealed });
  expect(bundle.route).toEqual({
    version: 7,
    publishedAt: 1000,
    keys: [],
    services: [
      {
        name: "chat", version: 3, models: ["m"], listed: true, createdAt: 5, selfHosted: true, timeouts: { ttftMs: 120_000, idleMs: 15_000, totalMs: 600_000 }, bodyBytesMax: 20_971_520,
        routing: { strategy: "availability_first", fallbackChain: [], attempts: 3, onStreamLoss: "continue", contextWindowFallback: false },
        replicas: { name: "g", weight: 1, fallback: false },
        providers: [{ name: "p", endpoint: "https://a.example/v1", dialect: "openai", weight: 1, fallback: false, continuation: "none", headers: {}, sealedApiKey: "locked", sealedHeaders: "locked too" }],
      },
    ],
  });
  expect(bundle.fleet.removed).toEqual(["chat.enam.1"]);
  expect(bundle.fleet.hosts).toEqual([{ id: "h1", name: "name-h1", region: "enam", publicKey: "p", revoked: false }]);
  expect(bundle.fleet.services[0]).toMatchObject({ task: { service: "chat", version: 3, digest: "d", run: "serve --port $PORT", gpus: 0 }, replicas: { enam: 1 }, sealedSecrets: { h1: "sealed" } });
});

test("compile() brings every field of providers and routing to the edge", () => {
  const row = service(`
service:
  load_balancing_policy: round_robin
  routing:
    strategy: weighted
    fallback_chain: [gpus, b, a]
    timeouts: {ttft: 30s, idle: 5s, total: 2m}
    retries: {attempts: 4}
    on_stream_loss: error
    hedge: {after: 2s}
  providers:
    - {name: a, endpoint: 'https://a.example/v1', model: up, price: {input: 0.15, cached_input: 0.075, output: 0.6}, weight: 3, headers: {X-Title: Fairlead}, supports: {continuation: text}}
    - {name: b, endpoint: 'https://b.example/v1', fallback: true, price: {input: 1, output: 2}}
    - {name: gpus, type: self-hosted, weight: 5, fallback: true, price: {input: 0.01, output: 0.02}, supports: {continuation: tokens}}
${run}`);
  const [routed] = compiled({ services: [row] }).route.services;
  expect(routed).toMatchObject({
    timeouts: { ttftMs: 30_000, idleMs: 5_000, totalMs: 120_000 },
    routing: { strategy: "weighted", fallbackChain: ["gpus", "b", "a"], attempts: 4, onStreamLoss: "error", hedgeAfterMs: 2_000 },
    replicas: { name: "gpus", weight: 5, fallback: true, price: { inputMicroUsd: 10_000, cachedInputMicroUsd: 10_000, outputMicroUsd: 20_000 }, continuation: "tokens" },
    providers: [
      { name: "b", fallback: true, weight: 1, price: { inputMicroUsd: 1_000_000, cachedInputMicroUsd: 1_000_000, outputMicroUsd: 2_000_000 } },
      { name: "a", model: "up", fallback: false, weight: 3, price: { inputMicroUsd: 150_000, cachedInputMicroUsd: 75_000, outputMicroUsd: 600_000 }, headers: { "X-Title": "Fairlead" }, continuation: "text" },
    ],
  });
});

test.each([
  ["load_balancing_policy when it stands alone", "{load_balancing_policy: Round_Robin}", "round_robin"],
  ["routing.strategy before load_balancing_policy", "{load_balancing_policy: round_robin, routing: {strategy: least_load}}", "least_load"],
  ["availability_first else", "{}", "availability_first"],
])("compile() takes as strategy %s", (_name, section, strategy) => {
  expect(compiled({ services: [service(`service: ${section}\n${run}`)] }).route.services[0]?.routing.strategy).toBe(strategy);
});

test("compile() tells hubs how a service scales and rolls out, and the edge what becomes of requests while it has no replica", () => {
  const row = service(`service: {replica_policy: {min_replicas: 0, max_replicas: 3}, rollout: {mode: canary}}\n${run}`);
  const { route, fleet } = compiled({ services: [row] }, { chat: sealed });
  expect(route.services[0]?.fromZero).toEqual({ holdMs: 120_000, fallback: false });
  expect(fleet.services[0]).toMatchObject({ replicas: { weur: 0 }, policy: { autoscaler: "adaptive", min: 0, max: 3 }, rollout: { mode: "canary", rollback: true } });
});

test("compile() says no policy for a service that an earlier version stored", () => {
  const row = service(`service: {replicas: 2}\n${run}`);
  const { policy: _policy, rollout: _rollout, ...spec } = row.spec;
  const [stored] = compiled({ services: [{ ...row, spec }] }, { chat: sealed }).fleet.services;
  expect(stored).toMatchObject({ replicas: { weur: 2 } });
  expect(stored).not.toHaveProperty("policy");
  expect(stored).not.toHaveProperty("rollout");
});

test("compile() asks for no replica of a service of providers only", () => {
  const bundle = compiled({ services: [service("service: {providers: [{name: p, endpoint: 'https://a.example/v1'}]}")] }, { chat: { hosts: {}, apiKeys: {}, headers: {} } });
  expect(bundle.route.services[0]?.selfHosted).toBe(false);
  expect(bundle.fleet.services).toEqual([]);
});

test("compile() publishes keys with what limits them", () => {
  const key = { id: "k", name: "n", digest: "0".repeat(64), account: "a", rights: ["inference" as const], services: ["chat"], createdAt: 1, expiresAt: 9, revokedAt: null };
  expect(compiled({ keys: [key, { ...key, id: "l", services: null, expiresAt: null }] }).route.keys).toEqual([
    { id: "k", digest: "0".repeat(64), account: "a", rights: ["inference"], services: ["chat"], expiresAt: 9 },
    { id: "l", digest: "0".repeat(64), account: "a", rights: ["inference"] },
  ]);
});

test.each<[string, HostRow[], Region[]]>([
  ["the operator's first when there is no host", [], ["weur"]],
  ["in the order in which they had a host", [host("a", "enam"), host("b", "weur"), host("c", "enam")], ["enam", "weur"]],
  ["not those whose hosts are revoked", [host("a", "enam", 5), host("b", "weur")], ["weur"]],
  ["not those that the operator dropped", [host("a", "apac"), host("b", "enam")], ["enam"]],
])("homeRegions(): %s", (_name, hosts, expected) => {
  expect(homeRegions(hosts, ["weur", "enam"])).toEqual(expected);
});

test.each<[number, Region[], object]>([
  [0, ["weur"], { weur: 0 }],
  [1, ["weur", "enam"], { weur: 1, enam: 0 }],
  [5, ["weur", "enam"], { weur: 3, enam: 2 }],
  [2, [], {}],
])("spread(%i, %j)", (count, regions, expected) => {
  expect(spread(count, regions)).toEqual(expected);
});

test.each([
  [`service: {}\n${run}`, false],
  [`service: {readiness_probe: /v1/models}\n${run}`, true],
  [`service: {readiness_probe: {path: /v1/x}}\n${run}`, true],
  [`service: {model: m}\n${run}`, true],
  ["service: {providers: [{name: p, endpoint: 'https://a.example'}]}", true],
])("isListed(%j) is %s", (yaml, expected) => {
  expect(isListed(service(yaml).spec)).toBe(expected);
});
