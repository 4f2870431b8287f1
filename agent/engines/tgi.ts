import type { Dialect } from "./dialect.ts";

/** Hugging Face's text-generation-inference, which is only maintained any more. */
export const tgi: Dialect = {
  engine: "tgi",
  name: "TGI",
  prefixes: ["tgi_"],
  load: { running: { names: ["tgi_batch_current_size"] }, queueDepth: { names: ["tgi_queue_size"] } },
  version: { path: "/info", members: ["version"] },
};
