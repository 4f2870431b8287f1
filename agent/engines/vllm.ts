import { adaptersMax, type Load } from "../../schema/protocol.ts";
import { find, type Dialect } from "./dialect.ts";
import type { Metrics } from "./prometheus.ts";

/**
 * vLLM. Its gauges are summed over the `engine` label (data parallel ranks), its fullest KV cache counts; counters have `_total`
 * at their end or not, by the version of its Prometheus client.
 */
export const vllm: Dialect = {
  engine: "vllm",
  name: "vLLM",
  prefixes: ["vllm:", "vllm_"],
  ownedBy: "vllm",
  load: {
    running: { names: ["vllm:num_requests_running"] },
    queueDepth: { names: ["vllm:num_requests_waiting"] },
    // the second is the name before 0.10; both are fractions in spite of "_perc"
    kvUsage: { names: ["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"] },
    // the last two are of before 0.10
    prefixTokensQueried: { names: ["vllm:prefix_cache_queries_total", "vllm:prefix_cache_queries", "vllm:gpu_prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries"] },
    prefixTokensHit: { names: ["vllm:prefix_cache_hits_total", "vllm:prefix_cache_hits", "vllm:gpu_prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits"] },
  },
  more: (metrics) => ({ ...adapters(metrics), ...sleeping(metrics) }),
  version: { path: "/version", members: ["version"] },
  // what runs is waited for by the agent: `abort` ends what outlived its drain time. Level 1 keeps the weights in the host's memory.
  sleep: {
    // one without --enable-sleep-mode says that it sleeps, and keeps its memory
    enabled: { method: "GET", path: "/server_info?config_format=json", members: ["vllm_config", "model_config", "enable_sleep_mode"] },
    fall: { method: "POST", path: "/sleep?level=1&mode=abort" },
    wake: { method: "POST", path: "/wake_up" },
    isAsleep: { method: "GET", path: "/is_sleeping", member: "is_sleeping" },
    by: "--enable-sleep-mode and VLLM_SERVER_DEV_MODE=1 in its environment",
  },
};

/** Only after the first adapter is there such a series, and each change of the adapters begins another: its value is its time. */
function adapters(metrics: Metrics): Partial<Load> {
  const latest = find(metrics, { names: ["vllm:lora_requests_info"] }).toSorted((a, b) => b.value - a.value)[0];
  const running = latest?.labels["running_lora_adapters"];
  return running === undefined ? {} : { adapters: running.split(",").filter((name) => name !== "").slice(0, adaptersMax) };
}

function sleeping(metrics: Metrics): Partial<Load> {
  const awake = find(metrics, { names: ["vllm:engine_sleep_state"], labels: { sleep_state: "awake" } });
  return awake.length === 0 ? {} : { sleeping: awake.some(({ value }) => value === 0) };
}
