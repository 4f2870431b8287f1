import { describe, expect, test } from "vitest";
import { parseService } from "./service.ts";

/** `LINE LEVEL FIELD: MESSAGE`, one a problem. */
function problems(yaml: string): string[] {
  return parseService(yaml, { name: "chat" }).problems.map(({ line, level, field, message }) => `${line} ${level} ${field}: ${message}`);
}

const withService = (service: string) => `name: chat\nservice: ${service}\nrun: serve --port $PORT\n`;

describe("what scales a service is refused when it has", () => {
  test.each<[string, string, string]>([
    ["a request rate without a rate", withService("{replica_policy: {min_replicas: 1, max_replicas: 2, autoscaler: request_rate}}"), "autoscaler: request_rate needs target_qps_per_replica as one number"],
    ["a request rate by accelerator", withService("{load_balancing_policy: instance_aware_least_load, replica_policy: {min_replicas: 1, max_replicas: 2, autoscaler: request_rate, target_qps_per_replica: {L4: 1}}}"), "as one number; by accelerator it is instance_aware's"],
    ["a request rate of nothing", withService("{replica_policy: {min_replicas: 1, max_replicas: 2, autoscaler: request_rate, target_qps_per_replica: 0}}"), "target_qps_per_replica: is 0, by which SkyServe's autoscaler divides: give a rate above 0"],
    ["instances without their rates", withService("{replica_policy: {min_replicas: 1, max_replicas: 2, autoscaler: instance_aware, target_qps_per_replica: 1}}"), "autoscaler: instance_aware needs target_qps_per_replica by accelerator"],
    ["concurrency without its target", withService("{replica_policy: {min_replicas: 1, max_replicas: 2, autoscaler: concurrency}}"), "autoscaler: concurrency needs target_concurrency_per_replica"],
    ["an SLO that aims at nothing", withService("{replica_policy: {min_replicas: 1, max_replicas: 2, autoscaler: slo, slo: {percentile: 95}}}"), "autoscaler: slo needs slo: {ttft: 500ms}, tpot, or both"],
    ["slo without an aim", withService("{replica_policy: {min_replicas: 1, slo: {percentile: 95}}}"), "replica_policy.slo: says nothing"],
    ["a percentile of all", withService("{replica_policy: {min_replicas: 1, slo: {ttft: 1s, percentile: 100}}}"), "slo.percentile: must be less than 100"],
    ["an unknown autoscaler", withService("{replica_policy: {min_replicas: 1, max_replicas: 2, autoscaler: latency}}"), "autoscaler: must be one of adaptive, request_rate, instance_aware, queue_length, concurrency, slo"],
    ["a mistyped autoscaler", withService("{replica_policy: {min_replicas: 1, max_replicas: 2, autoscaler: request-rate}}"), "did you mean request_rate?"],
    ["a schedule of no time", withService("{replica_policy: {min_replicas: 1, schedule: [{cron: '0 8 * *', duration: 1h, min_replicas: 2}]}}"), "schedule[0].cron: must be five fields"],
    ["a schedule of no duration", withService("{replica_policy: {min_replicas: 1, schedule: [{cron: '0 8 * * *', min_replicas: 2}]}}"), "schedule[0].duration: is missing"],
    ["a schedule of no number", withService("{replica_policy: {min_replicas: 1, schedule: [{cron: '0 8 * * *', duration: 1h}]}}"), "schedule[0]: says nothing: give min_replicas, max_replicas, or both"],
    ["a schedule upside down", withService("{replica_policy: {min_replicas: 1, schedule: [{cron: '0 8 * * *', duration: 1h, min_replicas: 3, max_replicas: 2}]}}"), "schedule[0].max_replicas: is 2, below min_replicas, which is 3"],
    ["a schedule below the policy", withService("{replica_policy: {min_replicas: 3, schedule: [{cron: '0 8 * * *', duration: 1h, max_replicas: 2}]}}"), "schedule[0].max_replicas: is 2, below the policy's min_replicas, which is 3: give min_replicas here too"],
    ["a time zone that is none", withService("{replica_policy: {min_replicas: 1, schedule: [{cron: '0 8 * * *', duration: 1h, timezone: Europe/Berln, min_replicas: 2}]}}"), 'schedule[0].timezone: "Europe/Berln" is no time zone of IANA\'s, as in Europe/Berlin; did you mean Europe/Berlin?'],
    ["an unknown field of a schedule", withService("{replica_policy: {min_replicas: 1, schedule: [{cron: '0 8 * * *', durations: 1h}]}}"), "schedule[0].durations: is not a known field; did you mean duration?"],
    ["an unknown rollout", withService("{rollout: {mode: bluegreen}}"), "service.rollout.mode: must be one of rolling, blue_green, canary, ab; did you mean blue_green?"],
    ["an unknown field of a rollout", withService("{rollout: {step: []}}"), "service.rollout.step: is not a known field; did you mean steps?"],
    ["a share that is none", withService("{rollout: {mode: canary, steps: [{share: 5, for: 2m}]}}"), "service.rollout.steps[0].share: must be a share such as 5% or 0.05"],
    ["a share of more than all", withService("{rollout: {mode: ab, share: 150%}}"), "service.rollout.share: must be a share such as 5% or 0.05"],
    ["steps that do not rise", withService("{rollout: {mode: canary, steps: [{share: 50%, for: 2m}, {share: 0.05, for: 2m}]}}"), "service.rollout.steps[1].share: is 5%, and the step before it is 50%: shares must rise"],
    ["a step of nothing", withService("{rollout: {mode: canary, steps: [{share: 0, for: 2m}]}}"), "service.rollout.steps[0].share: must be more than 0%"],
    ["all for one of two versions", withService("{rollout: {mode: ab, share: 100%}}"), "service.rollout.share: must be between 0% and 100%"],
    ["a step without its time", withService("{rollout: {mode: canary, steps: [{share: 5%}]}}"), "service.rollout.steps[0].for: is missing"],
    ["a rollout as one word", withService("{rollout: canary}"), "service.rollout: must be a group of fields"],
    ["a wait in bare numbers", withService("{scale_from_zero: {hold: 120}}"), "service.scale_from_zero.hold: must be a duration such as 250ms, 3s, 2m or 1h"],
    ["a fallback without providers", withService("{replicas: 0, scale_from_zero: {fallback: true}}"), "service.scale_from_zero.fallback: needs a provider to fall back to"],
    ["an unknown field of scale_from_zero", withService("{scale_from_zero: {holds: 1s}}"), "service.scale_from_zero.holds: is not a known field; did you mean hold?"],
    ["a pool's workers above its most", "pool: {workers: 3, max_workers: 2}", "pool.max_workers: is 2, below workers, which is 3"],
    ["a pool of at most none", "pool: {max_workers: 0}", "pool.max_workers: is 0, and a pool has one worker at least unless min_workers is 0"],
    ["a pool's delay that nothing uses", "pool: {workers: 1, upscale_delay_seconds: 1}", "pool.upscale_delay_seconds: needs max_workers"],
    ["an unknown field of a pool", "pool: {worker: 1}", "pool.worker: is not a known field; did you mean workers?"],
  ])("%s", (_name, yaml, expected) => {
    expect(problems(yaml).filter((line) => line.includes(" error ")).join("\n")).toContain(expected);
    expect(parseService(yaml, { name: "chat" })).not.toHaveProperty("service");
  });
});

describe("what scales a service is warned of when it has", () => {
  test.each<[string, string, string]>([
    ["a rate of nothing", withService("{replica_policy: {min_replicas: 1, max_replicas: 3, target_qps_per_replica: 0}}"), "target_qps_per_replica: is 0, by which SkyServe's autoscaler divides; taken as not given"],
    ["an accelerator's rate of nothing", withService("{load_balancing_policy: instance_aware_least_load, replica_policy: {min_replicas: 1, max_replicas: 3, target_qps_per_replica: {L4: 0, A100: 1}}}"), "target_qps_per_replica: is 0, by which SkyServe's autoscaler divides; such accelerators are taken as not given"],
    ["an autoscaler without room", withService("{replica_policy: {min_replicas: 1, autoscaler: adaptive}}"), "autoscaler: is not used: max_replicas is not above min_replicas"],
    ["replicas to spare without room", withService("{replica_policy: {min_replicas: 2, max_replicas: 2, num_overprovision: 1}}"), "num_overprovision: adds nothing: there are never more replicas than max_replicas"],
    ["a schedule above the policy", withService("{replica_policy: {min_replicas: 1, max_replicas: 2, target_qps_per_replica: 1, schedule: [{cron: '0 8 * * *', duration: 1h, min_replicas: 5}]}}"), "schedule[0].min_replicas: is 5, above the policy's max_replicas, which is 2"],
    ["a canary's steps in another mode", withService("{rollout: {mode: rolling, steps: [{share: 5%, for: 2m}]}}"), "rollout.steps: is of mode: canary, and the mode is rolling"],
    ["a share in another mode", withService("{rollout: {share: 5%}}"), "rollout.share: is of mode: ab, and the mode is rolling"],
  ])("%s", (_name, yaml, expected) => {
    expect(problems(yaml).filter((line) => line.includes(" warning ")).join("\n")).toContain(expected);
    expect(problems(yaml).filter((line) => line.includes(" error "))).toEqual([]);
  });
});

test("nothing that a scaler does is warned of", () => {
  const yaml = `
service:
  load_balancer: {stream_timeout_seconds: 60}
  replica_policy:
    min_replicas: 0
    max_replicas: 3
    target_qps_per_replica: 1
    num_overprovision: 1
    base_ondemand_fallback_replicas: 1
    dynamic_ondemand_fallback: true
    spot_placer: dynamic_fallback
    upscale_delay_seconds: 60
    downscale_delay_seconds: 60
  scale_from_zero: {hold: 60s}
  rollout: {mode: canary, steps: [{share: 5%, for: 2m}, {share: 50%, for: 2m}]}
resources: {use_spot: true}
run: serve --port $PORT
`;
  expect(problems(yaml).map((line) => line.replace(/: .*/, ""))).toEqual(["16 warning resources.use_spot"]);
});
