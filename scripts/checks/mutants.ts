import { seeded, type Random } from "../../schema/clock.ts";

export interface Mutant {
  /** What it was made from, and how. */
  file: string;
  text: string;
}

type Tree = Record<string, unknown>;

/** Values that a field may be given, right and wrong, by its path. */
const values: Record<string, unknown[]> = {
  "service.replicas": [0, 1, 3, 2.5, "2", true, null, -1],
  "service.workers": [1, 0, "1", null],
  "service.pool": [{ workers: 1 }, { max_workers: 2 }, {}, true, 2, null],
  "service.readiness_probe": [null, { path: "/", initial_delay_seconds: null }, { path: "/", initial_delay_seconds: -5 }, { path: "/", post_data: null }, { path: "/", post_data: [1] }, { path: "/", timeout_seconds: 0 }, "/", "/v1/models", "v1", 5, { path: "/" }, { path: "x" }, {}, { path: "/", post_data: "{}" }, { path: "/", post_data: "{a" }, { path: "/", post_data: { a: [1] } }, { path: "/", headers: { A: "b" } }, { path: "/", headers: { A: 1 } }, { path: "/", initial_delay_seconds: 5, timeout_seconds: 1.5, endpoint_probe_interval_seconds: 3, consecutive_failure_threshold_timeout: 60 }, { path: "/", timeout_seconds: "5" }, { path: "/", retries: 2 }],
  "service.load_balancing_policy": ["round_robin", "least_load", "instance_aware_least_load", "random", 5, "ROUND_ROBIN", null],
  "service.load_balancer": [{}, { stream_timeout_seconds: 5 }, { stream_timeout_seconds: "5" }, { timeout: 5 }, "x"],
  "service.ports": [8080, 80, 0, 70_000, "8080", [8080]],
  "service.tls": [{ keyfile: "a", certfile: "b" }, { keyfile: "a" }, { keyfile: 1, certfile: "b" }, {}, { keyfile: "a", certfile: "b", ca: "c" }],
  "service.replica_policy": [
    {}, { min_replicas: 1 }, { min_replicas: 0 }, { min_replicas: 2, max_replicas: 1 }, { min_replicas: 1, max_replicas: 1 }, { min_replicas: 1, max_replicas: 2 }, { min_replicas: 1.5 }, { max_replicas: 2 },
    { min_replicas: 1, max_replicas: 2, target_qps_per_replica: 1.5 }, { min_replicas: 1, max_replicas: 2, target_qps_per_replica: 0 }, { min_replicas: 1, max_replicas: 2, target_qps_per_replica: "1" }, { min_replicas: 1, target_qps_per_replica: 1 },
    { min_replicas: 1, max_replicas: 2, target_qps_per_replica: { L4: 1 } }, { min_replicas: 1, max_replicas: 2, target_qps_per_replica: { "H100:8": 1, A100: 2 } }, { min_replicas: 1, max_replicas: 2, target_qps_per_replica: { "A100-80GB": 1 } }, { min_replicas: 1, max_replicas: 2, target_qps_per_replica: { L4: "1" } },
    { min_replicas: 1, num_overprovision: 1 }, { min_replicas: 1, num_overprovision: "1" }, { min_replicas: 1, max_replicas: 3, target_qps_per_replica: 1, upscale_delay_seconds: 5, downscale_delay_seconds: 2.5 },
    { min_replicas: 1, dynamic_ondemand_fallback: true }, { min_replicas: 1, dynamic_ondemand_fallback: "yes" }, { min_replicas: 1, base_ondemand_fallback_replicas: 1 }, { min_replicas: 1, base_ondemand_fallback_replicas: 0 }, { min_replicas: 1, spot_placer: "dynamic_fallback" }, { min_replicas: 1, spot_placer: "best" },
    { min_replicas: null }, { min_replicas: 1, max_replicas: null }, { min_replicas: 1, spot_placer: "Dynamic_Fallback" }, { min_replicas: 1, spot_placer: null }, { min_replicas: 1, upscale_delay_seconds: -1 }, { min_replicas: -1 },
    { min_replicas: 1, max_replicas: 2, target_qps_per_replica: null }, { min_replicas: 0, max_replicas: 0 }, { min_replicas: 0, max_replicas: 0, target_qps_per_replica: 1 }, { min_replicas: 1, max_replicas: 2, target_qps_per_replica: {} },
    { min_replicas: 1, replicas: 2 }, { min_replicas: 1, max_replicas: 2, target_qps_per_replica: 1, unknown: 1 }, "x", [],
  ],
  service: [{}, { replicas: 1 }, "x", [], { auth: 1 }],
  pool: [{}, { workers: 1 }, { workers: 0 }, { workers: "1" }, { workers: 2, max_workers: 1 }, { workers: 1, max_workers: 3 }, { max_workers: 3 }, { max_workers: 0 }, { min_workers: 1 }, { min_workers: 3, max_workers: 2 }, { min_workers: 0, max_workers: 2, queue_length_threshold: 1 }, { workers: 1, queue_length_threshold: 1 }, { max_workers: 1, queue_length_threshold: 0 }, { workers: 1, upscale_delay_seconds: 1 }, { max_workers: 2, upscale_delay_seconds: 1, downscale_delay_seconds: 2 }, { worker: 1 }, { workers: 1.5 }],
  "resources.ports": [null, "8080-8080", ["8080-8081"], "8081-8080", 80.5, 8080, "8080", [8080], [8080, 8081], "8080-8082", "x", 0, 70_000, ["8080", 9000], []],
  "resources.use_spot": [null, true, false, "yes", 1],
  "resources.accelerators": [null, "24GB+", "nvidia:24GB:2", {}, "", ["L4"], { L4: 0 }, "L4:0", "tpu-v5e-8", "L4", "L4:2", "l4:1", { L4: 1 }, { L4: null, "A100:8": null }, ["L4:1", "A100"], 5, { L4: "1" }, "L4:x", "NOSUCH:1"],
  "resources.any_of": [[], [{ use_spot: true }, { use_spot: false }], [{ accelerators: "L4" }, { accelerators: "A100" }], [{ cpus: 2 }, { cpu: 4 }], {}, [{ accelerators: { L4: 1, A100: 1 } }]],
  "resources.ordered": [[], [{ accelerators: "L4" }, { accelerators: "A100" }], [{ cpus: 2 }, { cpus: 4 }]],
  "resources.job_recovery": ["failover", null, { strategy: "failover" }],
  "resources.infra": [null, "K8S", "k8s/a/b/c", "AWS", "gcp/us-central1/us-central1-a/x", "*/*/z", "ssh/x", "aws", "gcp/*/us-central1-a", "*", "kubernetes", "nowhere", "aws/us-east-1", "/x", 5],
  "resources.cpus": [null, "2.5+", "+2", "2 +", 2, "2+", "x", "4", -1, 0, true],
  "resources.memory": [null, "16Gi", "16gb+", "3x", 8, "16+", "x", "8x", "16GB", 0],
  "resources.disk_size": [null, -1, "1tb", "1.5TB", 100, "100", "1TB", "x", 1.5],
  "resources.disk_tier": [null, "BEST", "none", "best", "low", "fast", 5],
  "resources.network_tier": [null, "BEST", "best", "standard", "fast"],
  "resources.image_id": [null, "ami-1", { docker: "a/b" }, "docker:a/b:1", { "us-east-1": "docker:a" }, 5],
  "resources.instance_type": ["p5.48xlarge", 5],
  "resources.accelerator": ["L4"],
  "resources.gpus": ["L4", "L4:2", 5],
  "resources.region": ["us-east-1", 5],
  "resources.cloud": ["aws", "AWS", "nowhere", "k8s"],
  "resources.autostop": [10, "10m", true, { idle_minutes: 5 }, "x", -1],
  "resources.max_hourly_cost": [1.5, 0, "1"],
  "resources.priority_class": ["a", 5],
  "resources.local_disk": ["nvme", 5],
  "resources.labels": [{ a: "b" }, { a: 1 }, "x"],
  "resources.priority": [5, -2000, "high"],
  resources: [{}, { ports: 8080 }, "x", []],
  num_nodes: [null, 1, 2, 0, "2", 1.5],
  envs: [{}, { A: 1 }, { A: "b" }, { A: null }, { "a-b": 1 }, { A: [1] }, "x"],
  secrets: [{}, { A: "b" }, { A: null }, { A: [1] }, ["secrets:A"], ["A"]],
  workdir: [null, ".", "/x", 5, { url: "https://a.example/r.git" }, { url: "https://a.example/r.git", ref: "main" }, { ref: "main" }],
  file_mounts: [null, {}, { "/a": "/b" }, "x", []],
  volumes: [{}, { "/a": "v" }, "x"],
  setup: [null, "echo", 5, [], ""],
  run: [null, "echo", 5, [], ""],
  name: ["a", "a b", 5],
  config: [{}, "x"],
  env: [{ A: 1 }],
  experimental: [{}],
};

/** Files that differ from given ones in one or two fields, each made from its seed alone; as JSON, which every reader of YAML reads alike. */
export function mutants(files: readonly { file: string; tree: Tree }[], many: number, seed: number): Mutant[] {
  const random = seeded(seed);
  return Array.from({ length: files.length === 0 ? 0 : many }, (_, i) => {
    const { file, tree } = pick(files, random);
    const copy = structuredClone(tree);
    const changes = Array.from({ length: random() < 0.7 ? 1 : 2 }, () => change(copy, random));
    return { file: `${file} #${i} ${changes.join(", ")}`, text: JSON.stringify(copy, undefined, 1) };
  });
}

function change(tree: Tree, random: Random): string {
  const path = pick(Object.keys(values), random);
  const [section = "", field] = path.split(".");
  const holder = field === undefined ? tree : tree[section];
  if (typeof holder !== "object" || holder === null || Array.isArray(holder)) return `no ${section}`;
  const key = field ?? section;
  const inner = holder as Tree;
  if (random() < 0.15 && Object.hasOwn(inner, key)) {
    delete inner[key];
    return `-${path}`;
  }
  if (random() < 0.05 && Object.hasOwn(inner, key)) {
    inner[`${key}s`] = inner[key];
    return `+${path}s`;
  }
  inner[key] = structuredClone(pick(values[path] ?? [], random));
  return `${path}=${JSON.stringify(inner[key])}`;
}

function pick<T>(list: readonly T[], random: Random): T {
  return list[Math.floor(random() * list.length)] as T;
}
