import type { Dialect } from "./dialect.ts";

/**
 * TensorRT-LLM under Triton. Its numbers have one name each and say which they are by a label; models are summed.
 *
 * Triton's metrics are of its own port by default: they are read when they come from the service's.
 */
export const triton: Dialect = {
  engine: "triton",
  name: "Triton",
  prefixes: ["nv_trt_llm_", "nv_inference_"],
  load: {
    running: { names: ["nv_trt_llm_request_metrics"], labels: { request_type: "scheduled" } },
    queueDepth: { names: ["nv_trt_llm_request_metrics"], labels: { request_type: "waiting" } },
    kvUsage: { names: ["nv_trt_llm_kv_cache_block_metrics"], labels: { kv_cache_block_type: "fraction" } },
  },
};
