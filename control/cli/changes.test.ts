import { expect, test } from "vitest";
import { parseService } from "../../schema/service.ts";
import { describeChanges } from "./changes.ts";

function spec(yaml: string) {
  const { service, problems } = parseService(yaml, { name: "chat" });
  if (service === undefined) throw new Error(JSON.stringify(problems));
  return service;
}

const base = "service: {model: m}\nrun: a $PORT";

test.each<[string, string | undefined, string, string]>([
  ["a new service", undefined, base, "Service chat will be created: 1 replica; model m."],
  ["a new service with GPUs", undefined, `${base}\nresources: {accelerators: L4:2}`, "1 replica with 2 GPUs each"],
  ["a new service of providers", undefined, "service: {providers: [{name: p, endpoint: 'https://a.example'}]}", "created: providers p; model chat."],
  ["nothing", base, base, "stays as it is, unless a secret has changed."],
  ["a new service that grows", undefined, "service: {replica_policy: {min_replicas: 0, max_replicas: 4}}\nrun: a $PORT", "created: 0 to 4 replicas; model chat."],
  ["room to grow", base, "service: {model: m, replica_policy: {min_replicas: 1, max_replicas: 4, target_qps_per_replica: 2.5}}\nrun: a $PORT", "  replicas: 1 → 1 to 4, adaptive at 2.5 requests/s each"],
  ["every word of a policy", base, "service: {model: m, replica_policy: {min_replicas: 1, max_replicas: 4, autoscaler: slo, slo: {ttft: 500ms, tpot: 50ms, percentile: 99}, num_overprovision: 1, upscale_delay_seconds: 30, downscale_delay_seconds: 600, prestart: true}}\nrun: a $PORT",
    "  replicas: 1 → 1 to 4, slo at p99 of TTFT 500ms and TPOT 50ms, 1 beyond what is needed, up after 30s, down after 10m 0s, started before requests come"],
  ["rates by accelerator", base, "service: {model: m, load_balancing_policy: instance_aware_least_load, replica_policy: {min_replicas: 1, max_replicas: 4, target_qps_per_replica: {L4: 1, A100: 4}}}\nrun: a $PORT", "1 to 4, instance aware at 1 requests/s on L4, 4 requests/s on A100"],
  ["concurrency", base, "service: {model: m, replica_policy: {min_replicas: 1, max_replicas: 4, autoscaler: concurrency, target_concurrency_per_replica: 8}}\nrun: a $PORT", "1 to 4, concurrency at 8 requests at once each"],
  ["a queue", base, "service: {model: m, replica_policy: {min_replicas: 1, max_replicas: 4, autoscaler: queue_length}}\nrun: a $PORT", "1 to 4, queue length at 1 waiting each"],
  ["a schedule", base, "service: {model: m, replica_policy: {min_replicas: 1, schedule: [{cron: '0 8 * * *', duration: 8h, min_replicas: 2, max_replicas: 6}, {cron: '0 0 * * sun', duration: 1h, timezone: Europe/Berlin, min_replicas: 3}]}}\nrun: a $PORT",
    '  schedule: none → 2 to 6 for 8h 0m from "0 8 * * *" UTC; 3 for 1h 0m from "0 0 * * sun" Europe/Berlin'],
  ["spot", base, "service: {model: m, replica_policy: {min_replicas: 1, base_ondemand_fallback_replicas: 1, dynamic_ondemand_fallback: true, spot_placer: dynamic_fallback}}\nresources: {use_spot: true}\nrun: a $PORT", "  spot: none → placed by SpotHedge, 1 always on demand, on demand while spot is not ready"],
  ["what becomes of requests at zero", base, "service: {model: m, scale_from_zero: {hold: 30s}}\nrun: a $PORT", "  without a replica, requests: none → wait 30s"],
  ["providers at zero", base, "service: {model: m, scale_from_zero: {fallback: true, hold: 0s}, providers: [{name: p, endpoint: 'https://a.example'}, {name: g, type: self-hosted}]}\nrun: a $PORT", "  without a replica, requests: none → go to providers"],
  ["another rollout", base, "service: {model: m, rollout: {mode: canary, steps: [{share: 5%, for: 2m}, {share: 50%, for: 10m}], rollback: false}}\nrun: a $PORT",
    "  rollout: rolling, undone beyond 5% more errors or 2 times the latency, from 20 requests on → canary, 5% for 2m 0s, 50% for 10m 0s, never undone by itself"],
  ["a blue-green one", base, "service: {model: m, rollout: {mode: blue_green, keep: 5m}}\nrun: a $PORT", "→ blue-green, the old version kept 5m 0s, undone beyond"],
  ["two versions side by side", base, "service: {model: m, rollout: {mode: ab, share: 20%, rollback: false}}\nrun: a $PORT", "→ ab, 20% for the new version, never undone by itself"],
  ["two versions that are not judged by each other", base, "service: {model: m, rollout: {mode: ab}}\nrun: a $PORT", "→ ab, 50% for the new version, undone when it never gets ready"],
  ["a rollout that one request decides", base, "service: {model: m, rollout: {mode: canary, requests_min: 1}}\nrun: a $PORT", "from 1 request on"],
  ["other accelerators", `${base}\nresources: {accelerators: L4}`, `${base}\nresources: {accelerators: A100}`, "  accelerators changed: replicas are replaced one after another"],
  ["more replicas", base, "service: {model: m, replicas: 3}\nrun: a $PORT", "  replicas: 1 → 3"],
  ["another model", base, "service: {model: [m, n]}\nrun: a $PORT", "  models: m → m, n"],
  ["another strategy", base, "service: {model: m, routing: {strategy: least_load}}\nrun: a $PORT", "  strategy: availability_first → least_load"],
  ["timeouts", base, "service: {model: m, routing: {timeouts: {idle: 3s}}}\nrun: a $PORT", "  timeouts: first byte 2m 0s, idle 15s, total 10m 0s → first byte 2m 0s, idle 3s, total 10m 0s"],
  ["a hedge", base, "service: {model: m, routing: {hedge: {after: 1s}}}\nrun: a $PORT", "  hedge after: none → 1s"],
  ["fewer attempts", base, "service: {model: m, routing: {retries: {attempts: 1}}}\nrun: a $PORT", "  attempts: 3 → 1"],
  ["what becomes of lost streams", base, "service: {model: m, routing: {on_stream_loss: error}}\nrun: a $PORT", "  on stream loss: continue → error"],
  ["what restarts", base, "service: {model: m}\nrun: b $PORT\nsetup: x", "  setup, run changed: replicas are replaced one after another"],
  ["what restarts, as a canary", base, "service: {model: m, rollout: {mode: canary}}\nrun: b $PORT", "  run changed: the new version gets its first requests as its steps say"],
  ["what restarts nothing", base, "service: {model: m, limits: {max_body_bytes: 5}}\nrun: a $PORT", "  settings that restart nothing"],
])("describeChanges() of %s", (_name, before, after, expected) => {
  expect(describeChanges("chat", before === undefined ? undefined : spec(before), spec(after)).join("\n")).toContain(expected);
});

test("describeChanges() of a policy alone says that nothing is replaced", () => {
  const grown = spec("service: {model: m, replica_policy: {min_replicas: 1, max_replicas: 4}, rollout: {mode: canary}}\nrun: a $PORT");
  expect(describeChanges("chat", spec(base), grown).join("\n")).not.toContain("are replaced");
});

test("a spec that an earlier version stored, without policies, has gained what the file said all along", () => {
  const { policy: _policy, rollout: _rollout, ...stored } = spec(base);
  expect(describeChanges("chat", stored, spec(base))).toEqual(["Service chat will be updated:", "  rollout: rolling → rolling, undone beyond 5% more errors or 2 times the latency, from 20 requests on"]);
});

test("a spec whose fields come in another order is no change", () => {
  const reversed = (value: unknown): unknown => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
    return Object.fromEntries(Object.entries(value).toReversed().map(([key, inner]) => [key, reversed(inner)]));
  };
  const stored = reversed(JSON.parse(JSON.stringify(spec(base)))) as ReturnType<typeof spec>;
  expect(describeChanges("chat", stored, spec(base))).toEqual(["Service chat stays as it is, unless a secret has changed."]);
});
