import { describe, expect, test } from "vitest";
import { parseService, type ParseOptions } from "./service.ts";

/** `LINE LEVEL FIELD: MESSAGE`, one a problem. */
function problems(yaml: string, options: ParseOptions = {}): string[] {
  return parseService(yaml, options).problems.map(({ line, level, field, message }) => `${line} ${level} ${field}: ${message}`);
}

/** A file whose `service:` section is the given YAML in one line. */
const withService = (service: string, rest = "run: serve --port $PORT") => `name: chat\nservice: ${service}\n${rest}\n`;

/** A file with the given entries of providers, and perhaps more of the section. */
const withProviders = (entries: string, more = "") => withService(`{providers: [${entries}]${more === "" ? "" : `, ${more}`}}`);

const shapes: Record<string, string> = {
  "1 minimal": `
service:
  readiness_probe: /
  replicas: 1
resources: {ports: 8080, cpus: 2+}
run: python -m http.server 8080
`,
  "2 an LLM probed by a real request": `
envs: {MODEL_NAME: meta-llama/Meta-Llama-3-8B-Instruct}
secrets:
  HF_TOKEN: null
service:
  replicas: 2
  readiness_probe:
    path: /v1/chat/completions
    post_data:
      model: $MODEL_NAME
      messages: [{role: user, content: [{type: text, text: Hello}]}]
      max_tokens: 1
resources:
  accelerators: {L4:8, A10g:8, A100}
  disk_tier: best
  ports: 8081
setup: pip install vllm
run: vllm serve $MODEL_NAME --tensor-parallel-size $SKYPILOT_NUM_GPUS_PER_NODE --port 8081
`,
  "3 a full spot policy": `
service:
  readiness_probe: {path: /health, initial_delay_seconds: 60}
  replica_policy:
    min_replicas: 1
    max_replicas: 3
    target_qps_per_replica: 10
    num_overprovision: 1
    dynamic_ondemand_fallback: true
    spot_placer: dynamic_fallback
resources:
  ports: 8080
  use_spot: true
  any_of: [{infra: aws}, {infra: gcp/*/us-central1-a}]
run: serve
`,
  "4 several kinds of machine": `
service:
  readiness_probe: /health
  load_balancing_policy: Instance_Aware_Least_Load
  replica_policy:
    min_replicas: 1
    max_replicas: 4
    target_qps_per_replica: {"H100:1": 2.5, "A10:1": 0.5, A100-80GB: 1}
resources:
  ports: 8000
  ordered: [{instance_type: p5, accelerators: H100:1}, {accelerators: A10:1}]
run: serve
`,
  "5 several ports": `
service: {ports: 8080}
resources: {ports: [8080, 8081, 9000-9010]}
run: serve
`,
  "6 TLS and keys": `
envs: {KEYFILE: /k.pem, CERTFILE: /c.pem}
secrets: {AUTH_TOKEN: null}
service:
  tls: {keyfile: $KEYFILE, certfile: $CERTFILE}
  readiness_probe:
    path: /v1/models
    headers: {Authorization: Bearer $AUTH_TOKEN}
resources: {ports: 8080}
run: vllm serve m --api-key $AUTH_TOKEN --port 8080
`,
  "odd but legal": `
name: Some.Name
service:
  replica_policy: {min_replicas: 3}
  readiness_probe:
resources: {cpus: 2+, memory: 20+, infra: gcp/*/us-central1-a, accelerators: A100:1, disk_tier:}
num_nodes: 2
workdir: ~/x
file_mounts: {/a: s3://b}
config: {kubernetes: {}}
experimental: {}
run: serve --port $PORT
`,
  "min 0 and no target, which SkyServe refuses": `
service: {replica_policy: {min_replicas: 0, max_replicas: 2}}
resources: {ports: 80}
run: serve
`,
  "spot mixed with on-demand, which SkyServe refuses": `
service: {replica_policy: {min_replicas: 1, base_ondemand_fallback_replicas: 1}}
resources: {ports: 80, any_of: [{use_spot: true}, {use_spot: false}]}
run: serve
`,
  "a pool": "pool: {workers: 2}\nsetup: pip install x\n",
  "a growing pool inside service": "service: {pool: true, max_workers: 3, min_workers: 1, queue_length_threshold: 2}\nsetup: x\n",
};

test.each(Object.entries(shapes))("parseService() accepts SkyServe's shape: %s", (_name, yaml) => {
  expect(problems(yaml).filter((line) => line.includes(" error "))).toEqual([]);
});

describe("parseService() reads", () => {
  const cases: [string, string, ParseOptions, unknown][] = [
    ["the defaults", withService("{}"), {}, { name: "chat", models: ["chat"], hasModel: false, replicas: { min: 1, max: 1 }, providers: [], timeouts: { ttftMs: 120_000, idleMs: 15_000, totalMs: 600_000 }, routing: { strategy: "availability_first", fallbackChain: [], attempts: 3, onStreamLoss: "continue" }, own: { name: "replicas", weight: 1, fallback: false }, bodyBytesMax: 20_971_520 }],
    ["rates by accelerator, which routing weighs too", withService("{load_balancing_policy: instance_aware_least_load, replica_policy: {min_replicas: 1, max_replicas: 4, target_qps_per_replica: {A10g: 1, 'a100-80gb:8': 9}}}"), {}, { own: { qps: { A10G: 1, "A100-80GB:8": 9 } }, routing: { strategy: "instance_aware_least_load" } }],
    ["a rate for all, which it does not", withService("{replica_policy: {min_replicas: 1, max_replicas: 4, target_qps_per_replica: 2}}"), {}, { own: { name: "replicas", weight: 1, fallback: false } }],
    ["context windows, the replicas' own too", withService("{providers: [{name: a, endpoint: 'https://a.example', context_window: 131072}, {type: self-hosted, name: gpus, context_window: 8192}], routing: {context_window_fallback: true}}"), {}, { providers: [{ name: "a", contextWindow: 131_072 }], own: { contextWindow: 8_192 }, routing: { contextWindowFallback: true } }],
    ["a chain that names its replicas by default", withService("{routing: {fallback_chain: [replicas]}}"), {}, { routing: { fallbackChain: ["replicas"] } }],
    ["a price that says nothing as none", withProviders("{name: p, endpoint: 'https://a.example', price: {}}"), {}, { providers: [{ name: "p", price: undefined }] }],
    ["SkyServe's probe defaults", withService("{readiness_probe: /up}"), {}, { task: { probe: { path: "/up", initialDelayMs: 1_200_000, timeoutMs: 15_000, intervalMs: 10_000, failureThresholdMs: 180_000, headers: {} } } }],
    ["the balancer's timeout as that of each read", withService("{load_balancer: {stream_timeout_seconds: 300}}"), {}, { timeouts: { ttftMs: 300_000, idleMs: 300_000, totalMs: 600_000 } }],
    ["a longer one as the whole's too", withService("{load_balancer: {stream_timeout_seconds: 900}}"), {}, { timeouts: { ttftMs: 900_000, idleMs: 900_000, totalMs: 900_000 } }],
    ["routing's timeouts before the balancer's", withService("{load_balancer: {stream_timeout_seconds: 60}, routing: {timeouts: {idle: 5s}}}"), {}, { timeouts: { ttftMs: 60_000, idleMs: 5_000, totalMs: 600_000 } }],
    ["accelerators in their one form, each once, the first first", withService("{}", "resources: {accelerators: {a10g:8, L4: 2, A100-80GB}}\nrun: a $PORT"), {}, { task: { gpus: 8, accelerators: [{ name: "A10G", count: 8 }, { name: "L4", count: 2 }, { name: "A100-80GB", count: 1 }] } }],
    ["accelerators of ordered machines", withService("{}", "resources: {ordered: [{accelerators: H100:1}, {accelerators: {l4: 4}}, {accelerators: H100}]}\nrun: a $PORT"), {}, { task: { accelerators: [{ name: "H100", count: 1 }, { name: "L4", count: 4 }] } }],
    ["places, from infra or its parts", withService("{}", "resources: {any_of: [{infra: AWS}, {infra: gcp/*/us-central1-a, use_spot: false}, {cloud: gcp, region: us-east1}, {infra: '*/*/z'}, {infra: aws}]}\nrun: a $PORT"), {},
      { task: { places: [{ cloud: "aws" }, { cloud: "gcp", zone: "us-central1-a", spot: false }, { cloud: "gcp", region: "us-east1" }, { zone: "z" }] } }],
    ["every probe field", withService("{readiness_probe: {path: /up, initial_delay_seconds: 1, timeout_seconds: 2.5, endpoint_probe_interval_seconds: 3, consecutive_failure_threshold_timeout: 4, post_data: '{\"a\":1}', headers: {X: y}}}"), {}, { task: { probe: { path: "/up", initialDelayMs: 1000, timeoutMs: 2500, intervalMs: 3000, failureThresholdMs: 4000, postBody: '{"a":1}', headers: { X: "y" } } } }],
    ["several models", withService("{model: [a, b, a]}"), {}, { models: ["a", "b"], hasModel: true }],
    ["min and max", shapes["3 a full spot policy"] ?? "", {}, { replicas: { min: 1, max: 3 } }],
    ["a name given beside the file", withService("{}"), { name: "other" }, { name: "other" }],
    ["the file's name", "service: {}\nrun: a $PORT", { file: "dir/My Model.v2.yaml" }, { name: "my-model.v2" }],
    ["timeouts and the body's size", withService("{routing: {timeouts: {ttft: 2m, total: 1h}}, limits: {max_body_bytes: 1000}}"), {}, { timeouts: { ttftMs: 120_000, totalMs: 3_600_000 }, bodyBytesMax: 1000 }],
    ["a fixed port from resources", withService("{}", "resources: {ports: '8080'}\nrun: serve"), {}, { task: { fixedPort: 8080 } }],
    ["service.ports among several", shapes["5 several ports"] ?? "", {}, { task: { fixedPort: 8080 } }],
    ["GPUs of a set: the first", shapes["2 an LLM probed by a real request"] ?? "", {}, { task: { gpus: 8 } }],
    ["GPUs as text", withService("{}", "resources: {accelerators: A100:4}\nrun: a $PORT"), {}, { task: { gpus: 4 } }],
    ["a TPU as no GPU", withService("{}", "resources: {accelerators: tpu-v5e-8}\nrun: a $PORT"), {}, { task: { gpus: 0 } }],
    ["envs as they are written", withService("{}", "envs: {A: 1.10, B: 0123, C: true, D: 'x'}\nrun: a $PORT"), {}, { task: { envs: { A: "1.10", B: "0123", C: "true", D: "x" } } }],
    ["values that override and add", withService("{}", "envs: {A: 1}\nrun: a $PORT"), { envs: { A: "2", B: "3" } }, { task: { envs: { A: "2", B: "3" } } }],
    ["names in service, quotes and all", withService("{model: '${M}-x'}", "envs: {M: 'a\"b'}\nrun: a $PORT"), {}, { models: ['a"b-x'] }],
    ["names in run as the shell's own", withService("{}", "envs: {M: x}\nrun: a $M $PORT"), {}, { task: { run: "a $M $PORT" } }],
    ["external providers alone", withService("{providers: [{type: external, name: p, endpoint: 'https://a.example/v1', model: up}]}", ""), {}, { providers: [{ name: "p", endpoint: "https://a.example/v1", dialect: "openai", model: "up" }], replicas: { min: 0, max: 0 } }],
    ["providers in the chain's order", withService("{providers: [{name: a, endpoint: 'https://a.example'}, {name: b, endpoint: 'https://b.example'}, {type: skypilot, name: gpus}], routing: {fallback_chain: [gpus, b, a]}}"), {}, { providers: [{ name: "b" }, { name: "a" }] }],
  ];
  test.each(cases)("%s", (_name, yaml, options, expected) => {
    const { service, problems: found } = parseService(yaml, options);
    expect(found.filter(({ level }) => level === "error")).toEqual([]);
    expect(service).toMatchObject(expected as object);
  });

  test.each(["$PORT", "${PORT}", "$FAIRLEAD_PORT", "${FAIRLEAD_PORT}", "${PORT:-80}"])("%s in run as leave to choose the port", (written) => {
    expect(parseService(withService("{}", `resources: {ports: 8080}\nrun: serve ${written}`)).service?.task?.fixedPort).toBeUndefined();
  });

  test.each(["$PORTS", "PORT", "$MY_PORT"])("%s in run as nothing of the kind", (written) => {
    expect(parseService(withService("{}", `resources: {ports: 8080}\nrun: serve ${written}`)).service?.task?.fixedPort).toBe(8080);
  });

  test("a PORT that the file itself sets as a fixed one", () => {
    expect(parseService(withService("{}", "envs: {PORT: 8080}\nresources: {ports: 8080}\nrun: serve $PORT")).service?.task?.fixedPort).toBe(8080);
  });
});

describe("parseService() refuses", () => {
  const cases: [string, string, string][] = [
    ["text that is not YAML", "a: [1\nb: 2", "is not YAML"],
    ["${NAME} in {…} without quotes, in words that say what to do", withProviders("{name: a, endpoint: 'https://a.example', api_key: ${KEY}, weight: 1}"), "2 error : is not YAML: ${…} within {…} or […] needs quotes: \"${KEY}\", or $KEY without"],
    ["an empty file", "", "1 error : is empty"],
    ["a list", "- a", "1 error : must be a group of fields"],
    ["a second document", "service: {}\nrun: a $PORT\n---\nb: 1", "is one service"],
    ["a file without service", "run: a", "1 error : has no service: section"],
    ["an unknown field, with its line and the nearest name", "service:\n  replicas: 1\n  readyness_probe: /\nrun: a $PORT", "3 error service.readyness_probe: is not a known field; did you mean readiness_probe?"],
    ["an unknown field in a policy", "service:\n  replica_policy:\n    min_replicas: 1\n    max_replica: 2\nrun: a $PORT", "4 error service.replica_policy.max_replica: is not a known field; did you mean max_replicas?"],
    ["an unknown top-level field", "service: {}\nenv: {A: b}\nrun: a $PORT", "2 error env: is not a known field; did you mean envs?"],
    ["a part of a field's name", withService("{from_zero: {hold: 60s}}"), "2 error service.from_zero: is not a known field; did you mean scale_from_zero?"],
    ["an unknown field of resources", withService("{}", "resources:\n  accelerator: L4\nrun: a $PORT"), "4 error resources.accelerator: is not a known field; did you mean accelerators?"],
    ["an auth field, which SkyServe has not either", withService("{auth: x}"), "2 error service.auth: is not a known field"],
    ["a probe path without a slash", withService("{readiness_probe: v1}"), "service.readiness_probe: must be a path that starts with /"],
    ["a probe without a path", withService("{readiness_probe: {timeout_seconds: 1}}"), "service.readiness_probe.path: is missing"],
    ["post_data that is not JSON", withService("{readiness_probe: {path: /, post_data: '{a'}}"), "service.readiness_probe.post_data: is not JSON"],
    ["text for a number", withService("{replicas: two}"), "2 error service.replicas: must be a number"],
    ["a broken number", withService("{replicas: 1.5}"), "service.replicas: must be a whole number"],
    ["fewer than none", withService("{replicas: -1}"), "service.replicas: must be at least 0"],
    ["replicas beside replica_policy", withService("{replicas: 1, replica_policy: {min_replicas: 1}}"), "service.replicas: cannot stand beside replica_policy"],
    ["a policy without a minimum", withService("{replica_policy: {max_replicas: 2}}"), "service.replica_policy.min_replicas: is missing"],
    ["max below min", withService("{replica_policy: {min_replicas: 3, max_replicas: 2}}"), "service.replica_policy.max_replicas: is 2, below min_replicas, which is 3"],
    ["target_qps without max", withService("{replica_policy: {min_replicas: 1, target_qps_per_replica: 1}}"), "target_qps_per_replica: needs max_replicas"],
    ["target_qps by accelerator without its policy", withService("{replica_policy: {min_replicas: 1, max_replicas: 2, target_qps_per_replica: {L4: 1}}}"), "needs load_balancing_policy: instance_aware_least_load"],
    ["that policy without target_qps by accelerator", withService("{load_balancing_policy: instance_aware_least_load}"), "service.load_balancing_policy: instance_aware_least_load needs"],
    ["an unknown balancing policy", withService("{load_balancing_policy: random}"), "must be one of round_robin, least_load, instance_aware_least_load"],
    ["an unknown spot placer", withService("{replica_policy: {min_replicas: 1, spot_placer: best}}"), "spot_placer: must be one of dynamic_fallback, spothedge, default"],
    ["a fallback without spot", withService("{replica_policy: {min_replicas: 1, dynamic_ondemand_fallback: true}}"), "dynamic_ondemand_fallback: needs use_spot: true"],
    ["a spot placer over unlike machines", withService("{replica_policy: {min_replicas: 1, spot_placer: dynamic_fallback}}", "resources: {use_spot: true, any_of: [{cpus: 2}, {cpus: 4}]}\nrun: a $PORT"), "spot_placer: needs entries of any_of that differ in cloud, region and zone only"],
    ["job_recovery", withService("{}", "resources: {job_recovery: failover}\nrun: a $PORT"), "resources.job_recovery: cannot be used in a service"],
    ["half of tls", withService("{tls: {keyfile: a}}"), "service.tls.certfile: is missing"],
    ["a port out of range", withService("{ports: 70000}"), "service.ports: must be at most 65535"],
    ["a port that resources does not name", withService("{ports: 80}", "resources: {ports: [81, 82]}\nrun: a"), "service.ports: is 80, which resources.ports does not name"],
    ["several ports without a main one", withService("{}", "resources: {ports: [81, 82]}\nrun: a"), "resources.ports: names 81, 82: say with service.ports"],
    ["no port at all", withService("{}", "run: a"), "3 error run: names no port: listen on $PORT"],
    ["no run", withService("{}", "resources: {ports: 80}"), "error run: is missing"],
    ["service beside pool", "service: {}\npool: {workers: 1}\nrun: a $PORT", "2 error pool: cannot stand beside service"],
    ["a pool with replicas", withService("{workers: 1, replicas: 2}", ""), "service.replicas: cannot be used with a pool"],
    ["a pool probed by a request", withService("{workers: 1, readiness_probe: {path: /, post_data: {}}}", ""), "service.readiness_probe.post_data: cannot be used with a pool"],
    ["a pool of no size", "pool: {min_workers: 1}", "pool: needs workers or max_workers"],
    ["min_workers above max_workers", "pool: {min_workers: 3, max_workers: 2}", "pool.min_workers: is 3, above max_workers, which is 2"],
    ["a queue length without max_workers", "pool: {workers: 1, queue_length_threshold: 2}", "pool.queue_length_threshold: needs max_workers"],
    ["an external provider without endpoint", withService("{providers: [{type: external, name: p}]}"), 'service.providers[0]: provider "p" needs an endpoint'],
    ["a provider twice", withService("{providers: [{name: p, endpoint: 'https://a.example'}, {name: p, endpoint: 'https://b.example'}]}"), 'service.providers[1].name: "p" is given twice'],
    ["an endpoint that is no URL", withService("{providers: [{name: p, endpoint: api.example.com}]}"), "service.providers[0].endpoint: must be a URL"],
    ["a password in an endpoint", withService("{providers: [{name: p, endpoint: 'https://u:p@a.example'}]}"), "must not hold a password"],
    ["a chain of unknown names", withService("{providers: [{name: p, endpoint: 'https://a.example'}], routing: {fallback_chain: [q]}}"), 'service.routing.fallback_chain[0]: "q" is none of the providers: p'],
    ["a chain with a typing error", withProviders("{name: vendor, endpoint: 'https://a.example'}, {name: gpus, type: self-hosted}", "routing: {fallback_chain: [gpus, vender]}"), '2 error service.routing.fallback_chain[1]: "vender" is none of the providers: vendor, gpus; did you mean vendor?'],
    ["one context window to fall back among", withProviders("{name: p, endpoint: 'https://a.example', context_window: 8192}", "routing: {context_window_fallback: true}"), "service.routing.context_window_fallback: needs providers of different context_window"],
    ["a chain that names one twice", withProviders("{name: p, endpoint: 'https://a.example'}", "routing: {fallback_chain: [p, p]}"), 'service.routing.fallback_chain[1]: "p" is named twice'],
    ["a chain of a service without providers", withService("{routing: {fallback_chain: [gpus]}}"), '"gpus" is none of the providers: replicas'],
    ["a header with a name that is none", withProviders("{name: p, endpoint: 'https://a.example', headers: {'a b': c}}"), "providers[0].headers.a b: is not the name of a header"],
    ["a header that belongs to the request", withProviders("{name: p, endpoint: 'https://a.example', headers: {Host: c}}"), "providers[0].headers.Host: cannot be set"],
    ["a header of two lines", withProviders("{name: p, endpoint: 'https://a.example', headers: {a: \"b\\nc\"}}"), "providers[0].headers.a: holds a character that no header may hold"],
    ["an unknown strategy", withService("{routing: {strategy: best}}"), "service.routing.strategy: must be one of cost_optimized"],
    ["a duration without a unit", withService("{routing: {timeouts: {ttft: '3'}}}"), "service.routing.timeouts.ttft: must be a duration such as 250ms"],
    ["a name that cannot be a service's", "name: 'a b'\nservice: {}\nrun: a $PORT", '1 error name: "a b" is not a service name'],
    ["an env that is no name", withService("{}", "envs: {a-b: c}\nrun: a $PORT"), "error envs.a-b: is not a name of an environment variable"],
    ["a secret in an endpoint", withService("{providers: [{name: p, endpoint: 'https://$S'}]}", "secrets: {S: a.example}\nrun: a $PORT"), "service.providers[0].endpoint: cannot use the secret S"],
  ];
  test.each(cases)("%s", (_name, yaml, expected) => {
    const found = problems(yaml).filter((line) => line.includes(" error "));
    expect(found.join("\n")).toContain(expected);
    expect(parseService(yaml).service).toBeUndefined();
  });

  test.each([
    ["routing: {timeouts: {ttft: 1000000h}}", "service.routing.timeouts.ttft: must be at most 24 days"],
    ["scale_from_zero: {hold: 600h}", "service.scale_from_zero.hold: must be at most 24 days"],
    ["readiness_probe: {path: /, timeout_seconds: 1.0e+15}", "service.readiness_probe.timeout_seconds: must be at most 2147483"],
    ["readiness_probe: {path: /, timeout_seconds: 0}", "service.readiness_probe.timeout_seconds: must be more than 0"],
    ["replica_policy: {min_replicas: 1, max_replicas: 2, target_qps_per_replica: 1, upscale_delay_seconds: 1.0e+308}", "service.replica_policy.upscale_delay_seconds: must be at most 2147483"],
    ["providers: [{name: p, endpoint: 'https://a.example', price: {input: 1.0e+308}}]", "service.providers[0].price.input: must be at most 1000000"],
    ["providers: [{name: p, endpoint: 'https://a.example', weight: 1.0e+308}]", "service.providers[0].weight: must be at most 1000000"],
    ["readiness_probe: {path: /, headers: {A: \"b\\nc\"}}", "service.readiness_probe.headers.A: holds a character that no header may hold"],
    ["readiness_probe: {path: /, headers: {a b: c}}", "service.readiness_probe.headers.a b: is not the name of a header"],
    ["model: ' '", "service.model: must be a name, without control characters"],
    ["model: \"a\\nb\"", "service.model: must be a name, without control characters"],
  ])("what no timer, sum or header can hold: %s", (field, expected) => {
    expect(problems(withService(`{${field}}`)).join()).toContain(`error ${expected}`);
  });

  test.each(['""', "':2'", "{'': 1}"])("accelerators without a name: %s", (accelerators) => {
    expect(problems(withService("{}", `resources: {accelerators: ${accelerators}}\nrun: a $PORT`)).join()).toContain("names no accelerator, as in L4:2");
  });

  test.each(["replicas: 1001", "replicas: 1.0e+9", "replica_policy: {min_replicas: 1001}", "replica_policy: {min_replicas: 1, max_replicas: 1001, target_qps_per_replica: 1}", "replica_policy: {min_replicas: 1, max_replicas: 2, target_qps_per_replica: 1, schedule: [{cron: '0 8 * * *', duration: 1h, min_replicas: 5000}]}"])("more replicas than a hub can place: %s", (field) => {
    expect(problems(withService(`{${field}}`)).join()).toMatch(/replicas: is \d+, and a service has 1000 replicas at most/);
  });

  test.each(["cpus: 4", "memory: 16", "infra: aws/us-east-1", "region: us-east-1", "accelerators: {L4: 1, A10G: 1}"])("nothing of what decides where a replica goes, or bounds it: %s", (resources) => {
    expect(problems(withService("{}", `resources: {${resources}}\nrun: a $PORT`))).toEqual([]);
  });

  test("every unknown field at once", () => {
    expect(problems(withService("{a: 1, b: 2}")).filter((line) => line.includes("is not a known field"))).toHaveLength(2);
  });

  test("what breaks a file's syntax once, and not what follows from it", () => {
    expect(problems(withProviders("{name: a, api_key: ${KEY}, weight: 1}, {name: b}"))).toHaveLength(1);
    expect(problems("a: [1\nb: 2\nc: ]\nd: ]")).toHaveLength(1);
  });

  test("every field that is there twice", () => {
    expect(problems("name: a\nname: b\nrun: c\nrun: d")).toEqual(["2 error : is not YAML: Map keys must be unique", "4 error : is not YAML: Map keys must be unique"]);
  });

  test("a key that is there twice, far from where it was first", () => {
    const many = Array.from({ length: 1_000 }, (_, i) => `  V${i}: a`);
    expect(problems(`envs:\n${many.join("\n")}\n  V7: b`)).toEqual(["1002 error : is not YAML: Map keys must be unique"]);
  });

  test.each([
    ["lists that are not ended", "[".repeat(5_000)],
    ["lists within lists", "[".repeat(5_000) + "]".repeat(5_000)],
    ["groups by lines", Array.from({ length: 100 }, (_, i) => `\n${"  ".repeat(i + 1)}a:`).join("")],
  ])("%s, deeper than anything needs", (_, value) => {
    expect(problems(`config: ${value}`)).toEqual(["1 error : is nested more than 64 levels deep"]);
  });

  test("a file that is larger than control takes", () => {
    expect(problems(`${withService("{}")}\n# ${"x".repeat(1_000_000)}`)).toEqual(["1 error : is larger than 1000000 characters"]);
  });

  test("a file of aliases upon aliases, quickly", () => {
    const bomb = ["a: &a [x,x,x,x,x,x,x,x,x]", ..."bcdefghi".split("").map((name, i) => `${name}: &${name} [${Array(9).fill(`*${"abcdefgh"[i]}`).join(",")}]`)].join("\n");
    expect(problems(bomb).join()).toContain("is not YAML");
  });
});

describe("parseService() reads", () => {
  const taskOf = (rest: string) => parseService(withService("{}", `${rest}\nrun: a $PORT`)).service?.task;

  test.each<[string, string, object]>([
    ["an image", "resources: {image_id: 'docker:vllm/vllm-openai:v1'}", { image: "vllm/vllm-openai:v1" }],
    ["an image by region", "resources: {image_id: {us-east-1: 'docker:127.0.0.1:5000/a/b:1'}}", { image: "127.0.0.1:5000/a/b:1" }],
    ["folders for an image", "resources: {image_id: 'docker:a'}\nvolumes: {/models: /srv/models, /data: a-volume}", { image: "a", mounts: { "/models": "/srv/models" } }],
    ["folders by name", "envs: {MODELS: /srv/models}\nresources: {image_id: 'docker:a'}\nvolumes: {/models: $MODELS}", { mounts: { "/models": "/srv/models" } }],
    ["a machine's size as limits", "resources: {cpus: 4, memory: '16'}", { limits: { cpus: 4, memoryBytes: 16 * 2 ** 30 } }],
    ["sizes with units", "resources: {memory: 500MB}", { limits: { memoryBytes: 5e8 } }],
  ])("%s", (_, rest, expected) => {
    expect(taskOf(rest)).toMatchObject(expected);
  });

  test.each([
    ["the least that is wanted", "resources: {cpus: 4+, memory: 16+}"],
    ["machines of which one has no bound", "resources: {any_of: [{cpus: 4}, {cpus: 8+}]}"],
    ["images of clouds", "resources: {image_id: ami-0123}"],
    ["folders without an image", "volumes: {/models: /srv/models}"],
  ])("neither image, folders nor limits from %s", (_, rest) => {
    expect(Object.keys(taskOf(rest) ?? {}).filter((key) => ["image", "mounts", "limits"].includes(key))).toEqual([]);
  });

  test("no image that is none", () => {
    expect(problems(withService("{}", "resources: {image_id: 'docker:a b'}\nrun: a $PORT"))).toContain('3 error resources.image_id: "docker:a b" names no image; write docker:registry/name:tag');
    expect(problems(withService("{}", "resources: {image_id: 'docker:a'}\nvolumes: {models: /srv}\nrun: a $PORT")).join()).toContain("error volumes.models: must be a whole path in the container");
  });
});

describe("parseService() warns of", () => {
  const cases: [string, string, string][] = [
    ["max above min without a target", withService("{replica_policy: {min_replicas: 1, max_replicas: 3}}"), "SkyServe refuses this"],
    ["spot", withService("{}", "resources: {use_spot: true}\nrun: a $PORT"), "resources.use_spot: takes those of the enrolled hosts whose agents say that they are spot machines"],
    ["files to mount", withService("{}", "file_mounts: {/a: /b}\nrun: a $PORT"), "file_mounts: is not acted on yet"],
    ["a balancer's timeout that counts for nothing", withService("{load_balancer: {stream_timeout_seconds: 60}, routing: {timeouts: {ttft: 1s, idle: 1s}}}"), "load_balancer.stream_timeout_seconds: is not used: routing.timeouts says both"],
    ["a limit on connecting", withService("{routing: {timeouts: {connect: 1s}}}"), "service.routing.timeouts.connect: is not acted on: the edge's platform opens connections"],
    ["more attempts than are made", withService("{routing: {retries: {attempts: 9}}}"), "service.routing.retries.attempts: is 9, and a request makes 6 at most"],
    ["timeouts of one provider", withProviders("{name: p, endpoint: 'https://a.example', timeouts: {ttft: 1s}}"), "providers[0].timeouts: is not acted on: routing.timeouts holds for every upstream"],
    ["cost without prices", withProviders("{name: p, endpoint: 'https://a.example', price: {input: 1, output: 1}}, {name: gpus, type: self-hosted}", "routing: {strategy: cost_optimized}"), 'routing.strategy: cost_optimized weighs prices, and "gpus" has none'],
    ["a price without input", withProviders("{name: p, endpoint: 'https://a.example', price: {output: 1}}"), "providers[0].price: says nothing of input"],
    ["two policies at once", withService("{load_balancing_policy: round_robin, routing: {strategy: least_load}}"), "load_balancing_policy: is round_robin, and routing.strategy, least_load, is what counts"],
    ["instances that cannot be told apart", withService("{routing: {strategy: instance_aware_least_load}}"), "routing.strategy: instance_aware_least_load takes all replicas for alike"],
    ["a second entry of its own replicas", withProviders("{name: a, type: self-hosted}, {name: b, type: self-hosted}"), `providers[1]: is not used: the service's replicas are "a"`],
    ["a vendor's field on its own replicas", withProviders("{name: a, type: self-hosted, model: m}"), "providers[0].model: is not used"],
    ["a fixed port with several replicas", withService("{replicas: 2}", "resources: {ports: 80}\nrun: a"), "only one replica fits on a host while run insists on port 80; listen on $PORT"],
    ["a pool", "pool: {workers: 1}", "pool: is a pool of workers, which this version does not run yet"],
    ["a secret that nobody supplied", withService("{}", "secrets: {T: }\nrun: a $PORT"), "secrets.T: has no value: give it by --secret T=…"],
    ["a body that the edge does not take", withService("{limits: {max_body_bytes: 50000000}}"), "limits.max_body_bytes: is 50000000, and the edge takes 20971520 at most"],
    ["what makes no difference among hosts", withService("{}", "resources: {disk_size: 100, max_hourly_cost: 2}\nrun: a $PORT"), "resources: disk_size, max_hourly_cost: not acted on, machines are those that have enrolled"],
    ["the least of a size", withService("{}", "resources: {cpus: 4+}\nrun: a $PORT"), "resources.cpus: is the least that is wanted, and not acted on"],
    ["a cloud by itself", withService("{}", "resources: {infra: aws}\nrun: a $PORT"), "resources: names a cloud only, which is not acted on"],
    ["GPUs by number where a host does not say what it has", withService("{}", "resources: {accelerators: {L4: 8, A100: 1}}\nrun: a $PORT"), "on a host that does not say what its GPUs are, the first, 8, is used"],
    ["a credential in clear", withService("{readiness_probe: {path: /, headers: {Authorization: Bearer x}}}"), "headers.Authorization: is written in clear"],
    ["capitals in a name", "name: Chat\nservice: {}\nrun: a $PORT", '1 warning name: "Chat" becomes "chat"'],
  ];
  test.each(cases)("%s", (_name, yaml, expected) => {
    expect(problems(yaml).filter((line) => line.includes(" warning ")).join("\n")).toContain(expected);
    expect(problems(yaml).filter((line) => line.includes(" error "))).toEqual([]);
  });
});

describe("parseService() for up", () => {
  const up = (yaml: string, options: ParseOptions = {}) => problems(yaml, { purpose: "up", ...options }).filter((line) => line.includes(" error "));
  const provider = withService("{providers: [{name: p, endpoint: 'https://$HOST/v1', api_key: '${KEY}'}]}", "");

  test("refuses names that endpoint and api_key need and nobody gives", () => {
    expect(up(provider).join()).toMatch(/endpoint: refers to HOST, which has no value.*api_key: refers to KEY/);
    expect(problems(provider).every((line) => line.includes(" warning "))).toBe(true);
  });

  test("takes them from the environment, and keeps the key out of the spec", () => {
    const { service, secrets } = parseService(provider, { purpose: "up", environment: { HOST: "a.example", KEY: "k-1" } });
    expect(service?.providers[0]?.endpoint).toBe("https://a.example/v1");
    expect(secrets).toEqual({ replica: {}, apiKeys: { p: "k-1" } });
    expect(JSON.stringify(service)).not.toContain("k-1");
  });

  test("refuses null envs and secrets, and takes them from wherever they are supplied", () => {
    const yaml = withService("{}", "envs: {A: }\nsecrets: {B: }\nrun: a $PORT");
    expect(up(yaml)).toHaveLength(2);
    const { service, secrets } = parseService(yaml, { purpose: "up", envs: { A: "1" }, environment: { B: "2" } });
    expect([service?.task?.envs, secrets?.replica]).toEqual([{ A: "1" }, { B: "2" }]);
  });

  test("keeps a name that was declared secret secret, however it is supplied", () => {
    const { service, secrets } = parseService(withService("{}", "secrets: {B: }\nrun: a $PORT"), { envs: { B: "2" } });
    expect([service?.task?.envs, secrets?.replica]).toEqual([{}, { B: "2" }]);
  });

  test.each(["secrets: [secrets:B]", "secrets: [secrets:workspace.B]", "secrets: {secrets:B: }"])("wants a value for one that SkyPilot keeps elsewhere, as in %s", (secrets) => {
    const yaml = withService("{}", `${secrets}\nrun: a $PORT`);
    expect(up(yaml).join()).toContain("secrets.B: has no value");
    expect(parseService(yaml, { purpose: "up", secrets: { B: "2" } }).secrets?.replica).toEqual({ B: "2" });
  });

  test("leaves secrets in the probe by name, for the agent to put in", () => {
    const yaml = withService("{readiness_probe: {path: /, headers: {A: Bearer $T, B: $E}}}", "envs: {E: plain}\nsecrets: {T: shh}\nrun: a $PORT");
    const { service, secrets } = parseService(yaml, { purpose: "up" });
    expect(service?.task?.probe.headers).toEqual({ A: "Bearer $T", B: "plain" });
    expect(secrets?.replica).toEqual({ T: "shh" });
  });

  test("treats what the probe takes from the caller's environment as a secret, and gives replicas nothing else of it", () => {
    const { service, secrets } = parseService(withService("{readiness_probe: {path: /, headers: {A: $T}}}"), { purpose: "up", environment: { T: "shh", OTHER: "x" } });
    expect(service?.task?.probe.headers).toEqual({ A: "$T" });
    expect(secrets?.replica).toEqual({ T: "shh" });
  });

  test("refuses a pool and a workdir that is relative", () => {
    expect(up("name: a\npool: {workers: 1}").join()).toContain("does not run yet");
    expect(up(withService("{}", "workdir: .\nrun: a $PORT")).join()).toContain('workdir: is ".", relative to nowhere');
  });

  describe("keeps providers' headers", () => {
    const headers = (written: string) => withProviders(`{name: p, endpoint: 'https://a.example', headers: {${written}}}`);

    test.each<[string, string, ParseOptions, Record<string, string>, Record<string, string> | undefined]>([
      ["that anyone may read in the spec", "X-Title: Fairlead", {}, { "X-Title": "Fairlead" }, undefined],
      ["with a secret out of it", "X-Org: 'org-$T', X-Title: a", { secrets: { T: "shh" } }, { "X-Title": "a" }, { "X-Org": "org-shh" }],
      ["with an env out of it", "X-Org: $T", { envs: { T: "shh" } }, {}, { "X-Org": "shh" }],
      ["with a value of the caller's environment out of it", "X-Org: $T", { environment: { T: "shh" } }, {}, { "X-Org": "shh" }],
      ["with a credential in clear out of it", "x-goog-api-key: shh, Authorization: Bearer shh", {}, {}, { "x-goog-api-key": "shh", Authorization: "Bearer shh" }],
    ])("%s", (_name, written, options, open, secret) => {
      const { service, secrets, problems: found } = parseService(headers(written), { purpose: "up", ...options });
      expect(found.filter(({ level }) => level === "error")).toEqual([]);
      expect(service?.providers[0]?.headers).toEqual(open);
      expect(secrets?.headers?.["p"]).toEqual(secret);
    });

    test("and refuses names that nobody gives", () => {
      expect(up(headers("X-Org: $T")).join()).toContain("providers[0].headers.X-Org: refers to T, which has no value");
      expect(problems(headers("X-Org: $T")).join()).toContain("2 warning service.providers[0].headers.X-Org: refers to T");
    });

    test("and never repeats what is in them", () => {
      expect(up(headers("X-Org: $T"), { secrets: { T: "s3cret\n" } }).join()).not.toContain("s3cret");
    });
  });

  test("never repeats a value that may be a secret", () => {
    expect(up(provider, { secrets: { KEY: "s3cret" }, environment: { HOST: "not a host s3cret" } }).join()).not.toContain("s3cret");
  });
});

describe("parseService() strict", () => {
  test.each(["min 0 and no target, which SkyServe refuses", "spot mixed with on-demand, which SkyServe refuses"])("refuses %s", (name) => {
    expect(problems(shapes[name] ?? "", { strict: true }).join()).toContain(" error ");
  });

  test.each([
    ["a field of Fairlead's policy", "{replica_policy: {min_replicas: 1, prestart: true}}", "service.replica_policy.prestart: is Fairlead's"],
    ["a placer of Fairlead's", "{replica_policy: {min_replicas: 1, spot_placer: default}}", "spot_placer: must be dynamic_fallback: SkyServe has no other"],
    ["a field without a value", "{readiness_probe: {path: /, headers: }}", "service.readiness_probe.headers: has no value"],
    ["a probe without a value", "{readiness_probe: }", "service.readiness_probe: has no value"],
    ["replicas without a value beside a policy", "{replicas: , replica_policy: {min_replicas: 1}}", "service.replicas: cannot stand beside replica_policy"],
  ])("refuses %s", (_name, section, words) => {
    expect(problems(withService(section), { strict: true }).join("\n")).toContain(words);
  });

  test("refuses what only Fairlead knows", () => {
    expect(problems(withService("{model: x}"), { strict: true }).join()).toContain("service.model: is Fairlead's");
  });
});
