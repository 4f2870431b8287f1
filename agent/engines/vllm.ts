import type { Load } from "../../schema/protocol.ts";

/**
 * vLLM's load from its Prometheus text: requests summed over the `engine` label (data parallel ranks), the fullest KV cache.
 *
 * Undefined when one of the two request gauges is missing: an unknown load never looks like an idle engine.
 */
export function vllmLoad(metrics: string): Load | undefined {
  const running = sum(gauge(metrics, "vllm:num_requests_running"));
  const queueDepth = sum(gauge(metrics, "vllm:num_requests_waiting"));
  if (running === undefined || queueDepth === undefined) return undefined;
  // the second is the name before vLLM 0.10; both are fractions in spite of "_perc" (facts/engines.md)
  const usage = [...gauge(metrics, "vllm:kv_cache_usage_perc"), ...gauge(metrics, "vllm:gpu_cache_usage_perc")].filter((value) => value <= 1);
  return usage.length === 0 ? { running, queueDepth } : { running, queueDepth, kvUsage: Math.max(...usage) };
}

/** Every sample of a gauge, whatever its labels; values that are no count (NaN, Inf, negative) are left out. */
function gauge(metrics: string, name: string): number[] {
  const values: number[] = [];
  for (let at = metrics.indexOf(name); at >= 0; at = metrics.indexOf(name, at + name.length)) {
    if (at > 0 && metrics[at - 1] !== "\n") continue;
    const end = metrics.indexOf("\n", at);
    const rest = metrics.slice(at + name.length, end < 0 ? undefined : end);
    // a label's value may hold any character, escaped quotes included
    const match = /^(?:\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})?[ \t]+(\S+)/.exec(rest);
    const value = match ? Number(match[1]) : Number.NaN;
    if (Number.isFinite(value) && value >= 0) values.push(value);
  }
  return values;
}

function sum(values: number[]): number | undefined {
  return values.length === 0 ? undefined : values.reduce((a, b) => a + b, 0);
}
