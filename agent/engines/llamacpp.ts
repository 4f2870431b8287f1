import type { Dialect } from "./dialect.ts";

/** llama.cpp's own server. Its metrics say nothing of its KV cache, which its slots share out when it starts. */
export const llamacpp: Dialect = {
  engine: "llamacpp",
  name: "llama.cpp",
  prefixes: ["llamacpp:", "llamacpp_"],
  ownedBy: "llamacpp",
  load: { running: { names: ["llamacpp:requests_processing"] }, queueDepth: { names: ["llamacpp:requests_deferred"] } },
  metricsBy: "--metrics",
  version: { path: "/props", members: ["build_info"] },
};
