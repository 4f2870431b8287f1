import { describe, expect, test } from "vitest";
import { rolloutPolicySchema, type RolloutPolicy, type ScalePolicy } from "./policy.ts";
import { parseService } from "./service.ts";
import { serviceSpecSchema, type ServiceSpec } from "./serviceSpec.ts";

const spot = "resources: {use_spot: true}";
const external = "providers: [{name: vendor, endpoint: 'https://a.example'}, {name: gpus, type: self-hosted}]";

function specOf(section: string, rest = ""): ServiceSpec {
  const { service, problems } = parseService(`name: chat\nservice: {${section}}\n${rest}\nrun: serve --port $PORT\n`);
  if (service === undefined) throw new Error(JSON.stringify(problems));
  return service;
}

const policyOf = (fields: string, rest = "", more = "") => specOf(`replica_policy: {${fields}}${more}`, rest).policy;
const fixed: ScalePolicy = { autoscaler: "fixed", min: 1, max: 1, overprovision: 0, schedule: [], prestart: false };

describe("a file's policy", () => {
  test.each<[string, string, ScalePolicy]>([
    ["one replica, as SkyServe, when it says nothing", "", fixed],
    ["so many as it says", "replicas: 3", { ...fixed, min: 3, max: 3 }],
    ["none at all", "replicas: 0", { ...fixed, min: 0, max: 0 }],
    ["the least where there is no most", "replica_policy: {min_replicas: 2}", { ...fixed, min: 2, max: 2 }],
    ["the least where it is the most", "replica_policy: {min_replicas: 2, max_replicas: 2, num_overprovision: 1}", { ...fixed, min: 2, max: 2, overprovision: 1 }],
    ["its rate, decided by the default autoscaler", "replica_policy: {min_replicas: 1, max_replicas: 4, target_qps_per_replica: 2.5}", { ...fixed, autoscaler: "adaptive", max: 4, targetQps: 2.5 }],
    ["no rate", "replica_policy: {min_replicas: 0, max_replicas: 4}", { ...fixed, autoscaler: "adaptive", min: 0, max: 4 }],
    ["a rate of nothing as none", "replica_policy: {min_replicas: 1, max_replicas: 4, target_qps_per_replica: 0}", { ...fixed, autoscaler: "adaptive", max: 4 }],
    ["SkyServe's own autoscaler and delays on request", "replica_policy: {min_replicas: 1, max_replicas: 4, target_qps_per_replica: 2, autoscaler: request_rate, upscale_delay_seconds: 60, downscale_delay_seconds: 0.5}",
      { ...fixed, autoscaler: "request_rate", max: 4, targetQps: 2, upscaleDelayMs: 60_000, downscaleDelayMs: 500 }],
    ["rates by accelerator, in the names' one form", "load_balancing_policy: instance_aware_least_load, replica_policy: {min_replicas: 1, max_replicas: 4, target_qps_per_replica: {A10g: 1, 'a100-80gb:8': 9, L4: 0}}",
      { ...fixed, autoscaler: "instance_aware", max: 4, targetQps: { A10G: 1, "A100-80GB:8": 9 } }],
    ["rates by accelerator for another strategy of the author's", "routing: {strategy: prefix_affinity}, replica_policy: {min_replicas: 1, max_replicas: 2, target_qps_per_replica: {L4: 1}}", { ...fixed, autoscaler: "instance_aware", max: 2, targetQps: { L4: 1 } }],
    ["a queue, one long as SkyServe's pools have it", "replica_policy: {min_replicas: 1, max_replicas: 4, autoscaler: queue_length}", { ...fixed, autoscaler: "queue_length", max: 4, targetQueue: 1 }],
    ["a queue of another length", "replica_policy: {min_replicas: 1, max_replicas: 4, autoscaler: queue_length, target_queue_length: 8}", { ...fixed, autoscaler: "queue_length", max: 4, targetQueue: 8 }],
    ["concurrency", "replica_policy: {min_replicas: 0, max_replicas: 4, autoscaler: concurrency, target_concurrency_per_replica: 16, prestart: true}", { ...fixed, autoscaler: "concurrency", min: 0, max: 4, targetConcurrency: 16, prestart: true }],
    ["aims of latency", "replica_policy: {min_replicas: 1, max_replicas: 4, autoscaler: slo, slo: {ttft: 500ms, tpot: 50ms}}", { ...fixed, autoscaler: "slo", max: 4, slo: { ttftMs: 500, tpotMs: 50, percentile: 0.95 } }],
    ["a percentile of a hundred", "replica_policy: {min_replicas: 1, max_replicas: 4, autoscaler: slo, slo: {ttft: 2s, percentile: 99}}", { ...fixed, autoscaler: "slo", max: 4, slo: { ttftMs: 2000, percentile: 0.99 } }],
    ["a percentile of one", "replica_policy: {min_replicas: 1, max_replicas: 4, autoscaler: slo, slo: {tpot: 20ms, percentile: 0.9}}", { ...fixed, autoscaler: "slo", max: 4, slo: { tpotMs: 20, percentile: 0.9 } }],
    ["a schedule of bounds", "replica_policy: {min_replicas: 1, max_replicas: 4, schedule: [{cron: '0 8 * * mon-fri', duration: 10h, timezone: Europe/Berlin, min_replicas: 3, max_replicas: 9}, {cron: '0 0 1 1 *', duration: 24h, max_replicas: 2}]}",
      { ...fixed, autoscaler: "adaptive", max: 4, schedule: [{ cron: "0 8 * * mon-fri", durationMs: 36_000_000, timezone: "Europe/Berlin", min: 3, max: 9 }, { cron: "0 0 1 1 *", durationMs: 86_400_000, timezone: "UTC", min: 1, max: 2 }] }],
    ["a schedule of fixed numbers as fixed", "replica_policy: {min_replicas: 1, schedule: [{cron: '0 8 * * *', duration: 1h, min_replicas: 3}]}", { ...fixed, schedule: [{ cron: "0 8 * * *", durationMs: 3_600_000, timezone: "UTC", min: 3 }] }],
    ["a schedule with room as room", "replica_policy: {min_replicas: 1, schedule: [{cron: '0 8 * * *', duration: 1h, max_replicas: 3}]}", { ...fixed, autoscaler: "adaptive", schedule: [{ cron: "0 8 * * *", durationMs: 3_600_000, timezone: "UTC", min: 1, max: 3 }] }],
  ])("has %s", (_name, section, expected) => {
    expect(specOf(section).policy).toEqual(expected);
  });

  test("is no part of a service of external providers only", () => {
    const { policy, rollout, fromZero, replicas } = specOf("providers: [{name: vendor, endpoint: 'https://a.example'}]");
    expect([policy, rollout, fromZero, replicas]).toEqual([undefined, undefined, undefined, { min: 0, max: 0 }]);
  });

  test.each<[string, string, string, ScalePolicy["spot"]]>([
    ["on spot machines, ours where it says no more", "min_replicas: 1", spot, { baseOnDemand: 0, dynamicOnDemand: false, placer: "default" }],
    ["with SpotHedge by SkyServe's name", "min_replicas: 1, dynamic_ondemand_fallback: true, spot_placer: Dynamic_Fallback", spot, { baseOnDemand: 0, dynamicOnDemand: true, placer: "spothedge" }],
    ["with SpotHedge by its own name", "min_replicas: 1, spot_placer: spothedge, base_ondemand_fallback_replicas: 2", spot, { baseOnDemand: 2, dynamicOnDemand: false, placer: "spothedge" }],
    ["with ours by name", "min_replicas: 1, spot_placer: default", spot, { baseOnDemand: 0, dynamicOnDemand: false, placer: "default" }],
    ["the on-demand entries as cover where both are named", "min_replicas: 1", "resources: {any_of: [{use_spot: true}, {use_spot: false}]}", { baseOnDemand: 0, dynamicOnDemand: true, placer: "default" }],
    ["not on spot machines", "min_replicas: 1", "", undefined],
  ])("places %s", (_name, fields, rest, expected) => {
    expect(policyOf(fields, rest)?.spot).toEqual(expected);
  });

  test("tells the least and the most that there will be, for hubs without a scaler and hosts with a signed spec", () => {
    expect(specOf("replica_policy: {min_replicas: 1, max_replicas: 4, schedule: [{cron: '0 8 * * *', duration: 1h, min_replicas: 2, max_replicas: 9}]}").replicas).toEqual({ min: 1, max: 9 });
  });
});

describe("a file's scale_from_zero", () => {
  test.each<[string, string, ServiceSpec["fromZero"]]>([
    ["nothing where there is always a replica", "replicas: 1", undefined],
    ["waiting where there may be none", "replicas: 0", { holdMs: 120_000, fallback: false }],
    ["waiting where a schedule leaves none", "replica_policy: {min_replicas: 1, max_replicas: 2, schedule: [{cron: '0 0 * * *', duration: 6h, min_replicas: 0}]}", { holdMs: 120_000, fallback: false }],
    ["providers first where there are some", `replicas: 0, ${external}`, { holdMs: 120_000, fallback: true }],
    ["waiting where it says how long", `replicas: 0, ${external}, scale_from_zero: {hold: 30s}`, { holdMs: 30_000, fallback: false }],
    ["providers where it says so, at one replica or more too", `${external}, scale_from_zero: {fallback: true}`, { holdMs: 120_000, fallback: true }],
    ["providers and no waiting", `${external}, scale_from_zero: {fallback: true, hold: 0s}`, { holdMs: 0, fallback: true }],
    ["waiting in spite of providers", `${external}, scale_from_zero: {fallback: false}`, { holdMs: 120_000, fallback: false }],
  ])("means %s", (_name, section, expected) => {
    expect(specOf(section).fromZero).toEqual(expected);
  });
});

describe("a file's rollout", () => {
  const defaults = rolloutPolicySchema.parse({});

  test.each<[string, string, Partial<RolloutPolicy>]>([
    ["rolling when it says nothing", "", { mode: "rolling", rollback: true }],
    ["blue-green", "rollout: {mode: blue_green, keep: 5m}", { mode: "blue_green", keepMs: 300_000 }],
    ["blue-green without keeping", "rollout: {mode: blue_green, keep: 0s}", { mode: "blue_green", keepMs: 0 }],
    ["a canary, shares as percents or parts", "rollout: {mode: canary, steps: [{share: 2.5%, for: 90s}, {share: 0.5, for: 10m}]}", { mode: "canary", steps: [{ share: 0.025, forMs: 90_000 }, { share: 0.5, forMs: 600_000 }] }],
    ["a canary's bounds", "rollout: {mode: canary, rollback: false, error_rate_max: 1%, latency_ratio_max: 1.5, requests_min: 100}", { mode: "canary", rollback: false, errorRateMax: 0.01, latencyRatioMax: 1.5, requestsMin: 100 }],
    ["two versions side by side", "rollout: {mode: ab, share: 20%}", { mode: "ab", share: 0.2 }],
  ])("is %s", (_name, section, expected) => {
    expect(specOf(section).rollout).toEqual({ ...defaults, ...expected });
  });
});

describe("a pool's policy", () => {
  const queue = { ...fixed, autoscaler: "queue_length", targetQueue: 1 };

  test.each<[string, string, object]>([
    ["so many workers", "pool: {workers: 3}", { ...fixed, min: 3, max: 3 }],
    ["so many workers within service", "service: {pool: 3}", { ...fixed, min: 3, max: 3 }],
    ["workers beside pool", "service: {pool: true, workers: 2}", { ...fixed, min: 2, max: 2 }],
    ["up to so many by what waits, one at least", "pool: {max_workers: 5}", { ...queue, max: 5 }],
    ["workers as the least", "pool: {workers: 2, max_workers: 5}", { ...queue, min: 2, max: 5 }],
    ["its own least first", "pool: {workers: 2, min_workers: 0, max_workers: 5}", { ...queue, min: 0, max: 5 }],
    ["its queue and delays", "pool: {max_workers: 5, queue_length_threshold: 10, upscale_delay_seconds: 30, downscale_delay_seconds: 60}", { ...queue, max: 5, targetQueue: 10, upscaleDelayMs: 30_000, downscaleDelayMs: 60_000 }],
  ])("is %s", (_name, yaml, expected) => {
    const { pool, service, problems } = parseService(`name: batch\n${yaml}\nsetup: pip install x\n`);
    expect(problems.filter(({ level }) => level === "error")).toEqual([]);
    expect([pool, service]).toEqual([{ name: "batch", policy: expected }, undefined]);
  });
});

test("a spec that an earlier version stored, without policies, is read as it is", () => {
  const { policy: _policy, rollout: _rollout, fromZero: _fromZero, ...stored } = specOf("replicas: 0");
  expect(serviceSpecSchema.parse(stored)).toEqual(stored);
});
