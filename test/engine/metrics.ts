/** A Prometheus histogram with fixed upper bounds, in the unit of what it observes. */
export class Histogram {
  readonly bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;
  #count = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.#counts = bounds.map(() => 0);
  }

  observe(value: number): void {
    this.bounds.forEach((bound, index) => {
      if (value <= bound) this.#counts[index] = (this.#counts[index] ?? 0) + 1;
    });
    this.#sum += value;
    this.#count++;
  }

  lines(name: string, labels: string): string[] {
    const bounds = this.bounds.map((bound, index) => `${name}_bucket{le="${Number.isInteger(bound) ? bound.toFixed(1) : bound}",${labels}} ${(this.#counts[index] ?? 0).toFixed(1)}`);
    return [...bounds, `${name}_bucket{le="+Inf",${labels}} ${this.#count.toFixed(1)}`, `${name}_count{${labels}} ${this.#count.toFixed(1)}`, `${name}_sum{${labels}} ${this.#sum}`];
  }
}

const TTFT_SECONDS = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560];
const ITL_SECONDS = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80];
const REQUEST_SECONDS = [0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680];

/** What the engine counts from its start. */
export class Counters {
  promptTokens = 0;
  generationTokens = 0;
  /** Finished requests by vLLM's `finished_reason`. */
  readonly success: Record<string, number> = { stop: 0, length: 0, abort: 0, error: 0 };
  readonly ttftSeconds = new Histogram(TTFT_SECONDS);
  readonly itlSeconds = new Histogram(ITL_SECONDS);
  readonly e2eSeconds = new Histogram(REQUEST_SECONDS);
  readonly queueSeconds = new Histogram(REQUEST_SECONDS);
}

/** What the engine reports of the moment. */
export interface Gauges {
  running: number;
  waiting: number;
  /** A fraction, 0 to 1. */
  kvUsage: number;
  queriedTokens: number;
  hitTokens: number;
  preemptions: number;
  blockSize: number;
  blockCount: number;
  /** Undefined where the engine cannot sleep. */
  sleeping: boolean | undefined;
  /** Adapters loaded; the series appears with the first. */
  adapters: readonly string[];
  adaptersMax: number;
}

/** Prometheus text under vLLM V1's names. */
export function renderMetrics(model: string, counters: Counters, gauges: Gauges): string {
  const labels = `engine="0",model_name="${model.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
  const lines: string[] = [];
  const family = (name: string, type: string, help: string, samples: string[]): void => {
    lines.push(`# HELP vllm:${name} ${help}`, `# TYPE vllm:${name} ${type}`, ...samples);
  };
  const single = (name: string, type: "gauge" | "counter", help: string, value: number): void => {
    family(name, type, help, [`vllm:${name}{${labels}} ${Number.isInteger(value) ? value.toFixed(1) : value}`]);
  };
  single("num_requests_running", "gauge", "Number of requests in model execution batches.", gauges.running);
  single("num_requests_waiting", "gauge", "Number of requests waiting to be processed.", gauges.waiting);
  single("kv_cache_usage_perc", "gauge", "KV-cache usage. 1 means 100 percent usage.", gauges.kvUsage);
  single("prefix_cache_queries_total", "counter", "Prefix cache queries, in terms of number of queried tokens.", gauges.queriedTokens);
  single("prefix_cache_hits_total", "counter", "Prefix cache hits, in terms of number of cached tokens.", gauges.hitTokens);
  single("num_preemptions_total", "counter", "Cumulative number of preemptions from the engine.", gauges.preemptions);
  single("prompt_tokens_total", "counter", "Number of prefill tokens processed.", counters.promptTokens);
  single("generation_tokens_total", "counter", "Number of generation tokens processed.", counters.generationTokens);
  const reasons = Object.entries(counters.success).map(([reason, count]) => `vllm:request_success_total{${labels},finished_reason="${reason}"} ${count.toFixed(1)}`);
  family("request_success_total", "counter", "Count of successfully processed requests.", reasons);
  family("time_to_first_token_seconds", "histogram", "Histogram of time to first token in seconds.", counters.ttftSeconds.lines("vllm:time_to_first_token_seconds", labels));
  family("inter_token_latency_seconds", "histogram", "Histogram of inter-token latency in seconds.", counters.itlSeconds.lines("vllm:inter_token_latency_seconds", labels));
  family("e2e_request_latency_seconds", "histogram", "Histogram of e2e request latency in seconds.", counters.e2eSeconds.lines("vllm:e2e_request_latency_seconds", labels));
  family("request_queue_time_seconds", "histogram", "Histogram of time spent in WAITING phase for request.", counters.queueSeconds.lines("vllm:request_queue_time_seconds", labels));
  family("cache_config_info", "gauge", "Information of the LLMEngine CacheConfig", [
    `vllm:cache_config_info{block_size="${gauges.blockSize}",cache_dtype="auto",enable_prefix_caching="True",${labels},num_gpu_blocks="${gauges.blockCount}"} 1.0`,
  ]);
  if (gauges.sleeping !== undefined) {
    const states = Object.entries({ awake: !gauges.sleeping, weights_offloaded: gauges.sleeping, discard_all: false }).map(([state, on]) => `{${labels},sleep_state="${state}"} ${on ? "1.0" : "0.0"}`);
    family("engine_sleep_state", "gauge", "Engine sleep state; awake = 0 means engine is sleeping.", states.map((state) => `vllm:engine_sleep_state${state}`));
  }
  if (gauges.adapters.length > 0) {
    family("lora_requests_info", "gauge", "Running stats on lora requests.", [
      `vllm:lora_requests_info{max_lora="${gauges.adaptersMax}",running_lora_adapters="${gauges.adapters.join(",")}",waiting_lora_adapters=""} ${Date.now() / 1000}`,
    ]);
  }
  return `${lines.join("\n")}\n`;
}
