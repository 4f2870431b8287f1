import type { Load } from "../../schema/protocol.ts";
import { find, total, type Dialect } from "./dialect.ts";
import type { Metrics } from "./prometheus.ts";

const rank = "dp_rank";

/** Its metrics begin with `sglang:`, as those of 0.5.23 did that was met, or with `sglang_`, as some versions from 0.5.4 on are said to. */
function both(name: string): string[] {
  return [`sglang:${name}`, `sglang_${name}`];
}

/**
 * SGLang. Behind one port each data parallel rank tells its own; tensor parallel ranks that tell metrics too
 * (`--enable-metrics-for-all-schedulers`) tell the same.
 *
 * It can let go of its memory (`/release_memory_occupation`), but wakes with its weights only when started with
 * `--enable-weights-cpu-backup`: nothing tells the agent whether it was, so it is not put to sleep.
 */
export const sglang: Dialect = {
  engine: "sglang",
  name: "SGLang",
  prefixes: ["sglang:", "sglang_"],
  ownedBy: "sglang",
  load: {
    running: { names: both("num_running_reqs") },
    queueDepth: { names: both("num_queue_reqs") },
    kvUsage: { names: both("token_usage") },
    rank,
  },
  more: prefixTokens,
  metricsBy: "--enable-metrics",
  version: { path: "/server_info", members: ["version"] },
};

/** What was computed of prompts and what was found in each of its caches are told apart by a label: what was looked up is all of them. */
function prefixTokens(metrics: Metrics): Partial<Load> {
  const tokens = (mode: string): number | undefined => total(find(metrics, { names: both("prefill_effective_tokens_total"), labels: { mode } }), rank);
  const computed = tokens("input");
  const hits = ["device_hit", "host_hit", "storage_hit"].map(tokens).filter((value) => value !== undefined);
  if (computed === undefined || hits.length === 0) return {};
  const hit = hits.reduce((sum, value) => sum + value, 0);
  return { prefixTokensQueried: computed + hit, prefixTokensHit: hit };
}
