import type { Dialect } from "./dialect.ts";

/** TensorRT-LLM under its own server, `trtllm-serve`, whose `/metrics` is a JSON list of iterations. */
export const trtllm: Dialect = {
  engine: "trtllm",
  name: "TensorRT-LLM",
  prefixes: ["trtllm_", "trtllm:"],
  ownedBy: "tensorrt_llm",
  load: {
    running: { names: ["trtllm_num_requests_running"] },
    queueDepth: { names: ["trtllm_num_requests_waiting"] },
    kvUsage: { names: ["trtllm_kv_cache_utilization"] },
  },
  metricsPath: "/prometheus/metrics",
  metricsBy: "return_perf_metrics: true in its --extra_llm_api_options",
  version: { path: "/version", members: ["version"] },
};
