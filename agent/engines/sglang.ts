import type { Dialect } from "./dialect.ts";

/** Its metrics began with `sglang:` up to 0.5.3 and with `sglang_` from 0.5.4 on. */
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
    rank: "dp_rank",
  },
  metricsBy: "--enable-metrics",
  version: { path: "/server_info", members: ["version"] },
};
