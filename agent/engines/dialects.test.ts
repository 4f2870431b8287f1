import { describe, expect, test } from "vitest";
import { adaptersMax, type Load } from "../../schema/protocol.ts";
import { expose, expositions, type Exposition } from "../../test/engine/exposition.ts";
import { Counters, type Gauges } from "../../test/engine/metrics.ts";
import { readLoad, type Reading } from "./dialect.ts";
import { dialectOf, dialectOfModels } from "./dialects.ts";
import { parseMetrics } from "./prometheus.ts";

function read(text: string): { engine: string | undefined } & Reading {
  const metrics = parseMetrics(text);
  const dialect = dialectOf(metrics);
  return { engine: dialect?.engine, ...(dialect === undefined ? {} : readLoad(dialect, metrics)) };
}

const gauges: Gauges = { running: 3, waiting: 2, kvUsage: 0.25, queriedTokens: 100, hitTokens: 60, preemptions: 0, blockSize: 16, blockCount: 8192, sleeping: undefined, adapters: [], adaptersMax: 4 };
const prefix = { prefixTokensQueried: 100, prefixTokensHit: 60 };
const plain = { running: 3, queueDepth: 2 };

test.each<[Exposition, string | undefined, Load | undefined]>([
  ["vllm", "vllm", { ...plain, kvUsage: 0.25, ...prefix }],
  ["vllm-0.8", "vllm", { ...plain, kvUsage: 0.25, ...prefix }],
  ["sglang", "sglang", { ...plain, kvUsage: 0.25 }],
  ["sglang-0.5.4", "sglang", { ...plain, kvUsage: 0.25 }],
  ["llamacpp", "llamacpp", plain],
  ["tgi", "tgi", plain],
  ["trtllm", "trtllm", { ...plain, kvUsage: 0.25 }],
  ["triton", "triton", { ...plain, kvUsage: 0.25 }],
  ["renamed", "vllm", undefined],
  ["none", undefined, undefined],
])("the metrics of %s are known as %s's and give its load", (exposition, engine, load) => {
  const found = read(expose(exposition, "m", new Counters(), gauges) ?? "");
  expect(found.engine).toBe(engine);
  expect(found.load).toEqual(load);
});

test("llama.cpp 0.5.0-dev is read, with two slots that are busy and two requests that wait", () => {
  const text = `# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed, excluding cached tokens
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 36
# HELP llamacpp:n_tokens_max Largest observed sequence length (prompt + generation)
# TYPE llamacpp:n_tokens_max counter
llamacpp:n_tokens_max 56
# HELP llamacpp:prompt_tokens_seconds Average prompt throughput in tokens/s
# TYPE llamacpp:prompt_tokens_seconds gauge
llamacpp:prompt_tokens_seconds 3042.34
# HELP llamacpp:requests_processing Number of requests processing
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 2
# HELP llamacpp:requests_deferred Number of requests deferred
# TYPE llamacpp:requests_deferred gauge
llamacpp:requests_deferred 2
# HELP llamacpp:n_busy_slots_per_decode Average number of busy slots per llama_decode() call
# TYPE llamacpp:n_busy_slots_per_decode gauge
llamacpp:n_busy_slots_per_decode 1.5
`;
  expect(read(text)).toEqual({ engine: "llamacpp", load: { running: 2, queueDepth: 2 } });
});

test("every manner in which the simulator tells metrics is read, but the renamed one and none", () => {
  expect(expositions.filter((one) => read(expose(one, "m", new Counters(), gauges) ?? "").load === undefined)).toEqual(["renamed", "none"]);
});

/** Of a real vLLM 0.32.0 with LoRA while it ran three requests of two adapters; its other families and the comments are left out. */
const realVllm = `
vllm:num_requests_running{engine="0",model_name="tiny"} 3.0
vllm:num_requests_waiting{engine="0",model_name="tiny"} 0.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="tiny",reason="capacity"} 0.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="tiny",reason="deferred"} 0.0
vllm:engine_sleep_state{engine="0",model_name="tiny",sleep_state="awake"} 1.0
vllm:engine_sleep_state{engine="0",model_name="tiny",sleep_state="weights_offloaded"} 0.0
vllm:engine_sleep_state{engine="0",model_name="tiny",sleep_state="discard_all"} 0.0
vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 0.014684287812041119
vllm:prefix_cache_queries_total{engine="0",model_name="tiny"} 4014.0
vllm:prefix_cache_queries_created{engine="0",model_name="tiny"} 1.795356564169617e+09
vllm:prefix_cache_hits_total{engine="0",model_name="tiny"} 256.0
vllm:prefix_cache_hits_created{engine="0",model_name="tiny"} 1.795356564169634e+09
vllm:external_prefix_cache_queries_total{engine="0",model_name="tiny"} 0.0
vllm:external_prefix_cache_hits_total{engine="0",model_name="tiny"} 0.0
vllm:lora_requests_info{max_lora="2",running_lora_adapters="",waiting_lora_adapters=""} 1.7953565767468884e+09
vllm:lora_requests_info{max_lora="2",running_lora_adapters="b,a",waiting_lora_adapters="b,a"} 1.7953565808223107e+09
`;

/** Of a real SGLang 0.5.23 while it ran a request, likewise. */
const realSglang = `
sglang:num_running_reqs{engine_type="unified",model_name="tiny",moe_ep_rank="0",pp_rank="0",tp_rank="0"} 1.0
sglang:num_queue_reqs{engine_type="unified",model_name="tiny",moe_ep_rank="0",pp_rank="0",tp_rank="0"} 0.0
sglang:num_grammar_queue_reqs{engine_type="unified",model_name="tiny",moe_ep_rank="0",pp_rank="0",tp_rank="0"} 0.0
sglang:cache_hit_rate{engine_type="unified",model_name="tiny",moe_ep_rank="0",pp_rank="0",tp_rank="0"} 0.9971671388101983
sglang:token_usage{engine_type="unified",model_name="tiny",moe_ep_rank="0",pp_rank="0",tp_rank="0"} 0.04
sglang:full_token_usage{engine_type="unified",model_name="tiny",moe_ep_rank="0",pp_rank="0",tp_rank="0"} 0.03955078125
sglang:fwd_occupancy{engine_type="unified",model_name="tiny",moe_ep_rank="0",pp_rank="0",tp_rank="0"} NaN
sglang:prompt_tokens_total{engine_type="unified",is_streaming="false",model_name="tiny"} 382.0
sglang:prompt_tokens_total{engine_type="unified",is_streaming="true",model_name="tiny"} 706.0
sglang:cached_tokens_total{cache_source="device",engine_type="unified",model_name="tiny"} 704.0
sglang:http_requests_active{endpoint="/v1/chat/completions",method="POST"} 1.0
sglang:prefill_effective_tokens_total{engine_type="unified",mode="input",model_name="tiny",moe_ep_rank="0",pp_rank="0",tp_rank="0"} 384.0
sglang:prefill_effective_tokens_total{engine_type="unified",mode="device_hit",model_name="tiny",moe_ep_rank="0",pp_rank="0",tp_rank="0"} 704.0
sglang:prefill_effective_tokens_total{engine_type="unified",mode="host_hit",model_name="tiny",moe_ep_rank="0",pp_rank="0",tp_rank="0"} 0.0
sglang:prefill_effective_tokens_total{engine_type="unified",mode="storage_hit",model_name="tiny",moe_ep_rank="0",pp_rank="0",tp_rank="0"} 0.0
`;

test.each([
  ["vLLM", realVllm, { engine: "vllm", load: { running: 3, queueDepth: 0, kvUsage: 0.014684287812041119, prefixTokensQueried: 4014, prefixTokensHit: 256, adapters: ["b", "a"], sleeping: false } }],
  ["SGLang", realSglang, { engine: "sglang", load: { running: 1, queueDepth: 0, kvUsage: 0.04, prefixTokensQueried: 1088, prefixTokensHit: 704 } }],
])("all that is read of %s is in what a real one told", (_, text, told) => {
  expect(read(text)).toEqual(told);
});

describe("a metric that is missing", () => {
  test.each([
    ["vllm:num_requests_waiting 0\nvllm:kv_cache_usage_perc 0\n", "vLLM's metrics lack vllm:num_requests_running: its load is unknown to this agent, whose names for it may be of another version"],
    ["vllm:prompt_tokens_total 7\n", "vLLM's metrics lack vllm:num_requests_running and vllm:num_requests_waiting: "],
    ["vllm_num_requests_running 1\nvllm_num_requests_waiting 1\n", "vLLM's metrics lack vllm:num_requests_running and "],
    ["vllm:num_requests_running NaN\nvllm:num_requests_waiting 0\n", "vLLM's metrics lack vllm:num_requests_running: "],
    ["sglang_running 1\n", "SGLang's metrics lack sglang:num_running_reqs and sglang:num_queue_reqs: "],
    ['nv_trt_llm_request_metrics{request_type="scheduled"} 1\n', 'Triton\'s metrics lack nv_trt_llm_request_metrics{request_type="waiting"}: '],
  ])("makes the load unknown, and is named to people: %j", (text, problem) => {
    const found = read(text);
    expect(found.load).toBeUndefined();
    expect(found.problem).toContain(problem);
  });

  test("leaves a KV usage unknown, and never makes it 0", () => {
    expect(read("vllm:num_requests_running 1\nvllm:num_requests_waiting 0\n").load).toEqual({ running: 1, queueDepth: 0 });
    expect(read("vllm:num_requests_running 1\nvllm:num_requests_waiting 0\nvllm:kv_cache_usage_perc 37.5\n").load).toEqual({ running: 1, queueDepth: 0 });
  });
});

describe("several engines behind one port", () => {
  test("vLLM's data parallel ranks are summed, and the fullest cache counts", () => {
    const text = ["0", "1"].map((engine) => `vllm:num_requests_running{engine="${engine}",model_name="a } \\"b"} 3.0\nvllm:num_requests_waiting{engine="${engine}"} 1\nvllm:kv_cache_usage_perc{engine="${engine}"} 0.${engine}5\nvllm:prefix_cache_hits{engine="${engine}"} 4\nvllm:prefix_cache_queries{engine="${engine}"} 10\n`).join("");
    expect(read(`${text}vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 7\n`).load).toEqual({ running: 6, queueDepth: 2, kvUsage: 0.15, prefixTokensQueried: 20, prefixTokensHit: 8 });
  });

  test("SGLang's data parallel ranks are summed, its tensor parallel ones counted once", () => {
    const rank = (dp: number, tp: number, running: number): string => `sglang:num_running_reqs{dp_rank="${dp}",tp_rank="${tp}"} ${running}\nsglang:num_queue_reqs{dp_rank="${dp}",tp_rank="${tp}"} 1\nsglang:token_usage{dp_rank="${dp}",tp_rank="${tp}"} 0.${running}\n`;
    expect(read(rank(0, 0, 4) + rank(0, 1, 4) + rank(1, 0, 2) + rank(1, 1, 2)).load).toEqual({ running: 6, queueDepth: 2, kvUsage: 0.4 });
  });

  test("Triton speaks for the engine under it", () => {
    expect(read('vllm:prompt_tokens_total 1\nnv_inference_count{model="m"} 1\n').engine).toBe("triton");
  });
});

describe("what else vLLM tells", () => {
  const idle = "vllm:num_requests_running 0\nvllm:num_requests_waiting 0\n";

  test("the adapters of its latest change are running, not those of earlier ones", () => {
    const info = (running: string, at: number): string => `vllm:lora_requests_info{max_lora="2",running_lora_adapters="${running}",waiting_lora_adapters=""} ${at}\n`;
    expect(read(idle + info("a,b", 20) + info("a", 30) + info("", 10)).load?.adapters).toEqual(["a"]);
    expect(read(idle + info("", 10)).load?.adapters).toEqual([]);
    expect(read(idle).load?.adapters).toBeUndefined();
    expect(read(idle + info(Array.from({ length: 100 }, (_, i) => `a${i}`).join(","), 1)).load?.adapters).toHaveLength(adaptersMax);
  });

  test.each([[true, true], [false, false], [undefined, undefined]])("whether it sleeps: %s", (sleeping, told) => {
    expect(read(expose("vllm", "m", new Counters(), { ...gauges, sleeping }) ?? "").load?.sleeping).toBe(told);
  });
});

test.each([
  [{ object: "list", data: [{ id: "m", owned_by: "llamacpp" }] }, "llamacpp"],
  [{ data: [{ id: "m", owned_by: "sglang" }] }, "sglang"],
  [{ data: [{ id: "qwen3:0.6b", owned_by: "library" }] }, "ollama"],
  [{ data: [{ id: "m", owned_by: "me" }] }, undefined],
  [{ data: [] }, undefined],
  [{ data: "m" }, undefined],
  [undefined, undefined],
  ["vllm", undefined],
])("an engine without metrics is known by its list of models: %j", (models, engine) => {
  expect(dialectOfModels(models)?.engine).toBe(engine);
});
