import type { Counters, Gauges } from "./metrics.ts";
import { renderMetrics } from "./metrics.ts";

/** Whose names the simulator's `/metrics` have, and whose name its `/v1/models` says. What it otherwise does stays vLLM's. */
export const expositions = ["vllm", "vllm-0.8", "sglang", "sglang-0.5.4", "llamacpp", "tgi", "trtllm", "triton", "renamed", "none"] as const;
export type Exposition = (typeof expositions)[number];

/** What engines say under `owned_by`; TGI and Triton name the model, Ollama "library". */
export function ownerOf(exposition: Exposition): string {
  if (exposition.startsWith("sglang")) return "sglang";
  return { llamacpp: "llamacpp", trtllm: "tensorrt_llm", none: "library", tgi: "a-model", triton: "Triton Inference Server" }[exposition as string] ?? "vllm";
}

/** Prometheus text in the manner of another engine; undefined where it has none. */
export function expose(exposition: Exposition, model: string, counters: Counters, gauges: Gauges): string | undefined {
  const { running, waiting, kvUsage } = gauges;
  switch (exposition) {
    case "vllm":
      return renderMetrics(model, counters, gauges);
    case "vllm-0.8":
      return renderMetrics(model, counters, gauges).replaceAll("kv_cache_usage_perc", "gpu_cache_usage_perc").replaceAll("prefix_cache_", "gpu_prefix_cache_");
    case "renamed":
      return renderMetrics(model, counters, gauges).replaceAll("num_requests_running", "requests_in_execution");
    case "sglang":
    case "sglang-0.5.4": {
      const prefix = exposition === "sglang" ? "sglang:" : "sglang_";
      // two tensor parallel ranks, which say the same
      const ranks = [0, 1].map((rank) => `{engine_type="unified",model_name="${model}",pp_rank="0",tp_rank="${rank}"}`);
      return text(prefix, [["num_running_reqs", "gauge", running], ["num_queue_reqs", "gauge", waiting], ["token_usage", "gauge", kvUsage], ["cache_hit_rate", "gauge", 0], ["generation_tokens_total", "counter", counters.generationTokens]], ranks);
    }
    case "llamacpp":
      return text("llamacpp:", [["prompt_tokens_total", "counter", counters.promptTokens], ["tokens_predicted_total", "counter", counters.generationTokens], ["requests_processing", "gauge", running], ["requests_deferred", "gauge", waiting]], [""]);
    case "tgi":
      return text("tgi_", [["batch_current_size", "gauge", running], ["queue_size", "gauge", waiting], ["request_count", "counter", counters.success["stop"] ?? 0]], [""]);
    case "trtllm":
      return text("trtllm_", [["num_requests_running", "gauge", running], ["num_requests_waiting", "gauge", waiting], ["kv_cache_utilization", "gauge", kvUsage]], [`{engine_type="undefined",model_name="${model}"}`]);
    case "triton":
      return [
        `nv_inference_request_success{model="tensorrt_llm",version="1"} ${counters.success["stop"] ?? 0}`,
        ...Object.entries({ waiting, scheduled: running, context: 0, max: 512, active: running + waiting }).map(([type, value]) => `nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="${type}",version="1"} ${value}`),
        ...Object.entries({ fraction: kvUsage, max: gauges.blockCount, tokens_per: gauges.blockSize }).map(([type, value]) => `nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="${type}",model="tensorrt_llm",version="1"} ${value}`),
        "",
      ].join("\n");
    case "none":
      return undefined;
  }
}

function text(prefix: string, families: [name: string, type: string, value: number][], labels: string[]): string {
  return families.map(([name, type, value]) => `# TYPE ${prefix}${name} ${type}\n${labels.map((one) => `${prefix}${name}${one} ${value}\n`).join("")}`).join("");
}
