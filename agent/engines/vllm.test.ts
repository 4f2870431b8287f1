import { expect, test } from "vitest";
import { vllmLoad } from "./vllm.ts";

const text = `# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a } \\"b"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 2.0
vllm:num_requests_waiting{engine="0",model_name="m"} 1.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 7.0
`;

test("vllmLoad() sums requests over engines and takes the fullest cache", () => {
  expect(vllmLoad(`${text}vllm:kv_cache_usage_perc{engine="0"} 0.25\nvllm:kv_cache_usage_perc{engine="1"} 0.5\n`)).toEqual({ running: 5, queueDepth: 1, kvUsage: 0.5 });
});

test("vllmLoad() reads the older name of the cache gauge", () => {
  expect(vllmLoad(`${text}vllm:gpu_cache_usage_perc{model_name="m"} 0.125 1700000000000`)).toEqual({ running: 5, queueDepth: 1, kvUsage: 0.125 });
});

test("vllmLoad() leaves out what is not there and never makes it 0", () => {
  expect(vllmLoad(text)).toEqual({ running: 5, queueDepth: 1 });
  expect(vllmLoad("vllm:num_requests_running 3\n")).toBeUndefined();
  expect(vllmLoad("vllm:num_requests_running NaN\nvllm:num_requests_waiting 0\n")).toBeUndefined();
  expect(vllmLoad("process_cpu_seconds_total 1\n")).toBeUndefined();
});
