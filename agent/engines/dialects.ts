import { speaks, type Dialect } from "./dialect.ts";
import { llamacpp } from "./llamacpp.ts";
import { ollama } from "./ollama.ts";
import type { Metrics } from "./prometheus.ts";
import { sglang } from "./sglang.ts";
import { tgi } from "./tgi.ts";
import { triton } from "./triton.ts";
import { trtllm } from "./trtllm.ts";
import { vllm } from "./vllm.ts";

/** Triton comes first: under it other engines tell metrics of theirs too, and it is Triton that answers. */
export const dialects: readonly Dialect[] = [triton, vllm, sglang, trtllm, llamacpp, tgi, ollama];

/** Whose metrics these are; undefined for an engine that is not known, which tells an unknown load and never an idle one. */
export function dialectOf(metrics: Metrics): Dialect | undefined {
  return dialects.find((one) => speaks(one, metrics));
}

/** Whose `/v1/models` this is, by the owner that it names. */
export function dialectOfModels(models: unknown): Dialect | undefined {
  const list = typeof models === "object" && models !== null && "data" in models ? models.data : undefined;
  const first: unknown = Array.isArray(list) ? list[0] : undefined;
  const owner = typeof first === "object" && first !== null && "owned_by" in first ? first.owned_by : undefined;
  return typeof owner === "string" ? dialects.find(({ ownedBy }) => ownedBy === owner) : undefined;
}

/** Whose greeting this is. */
export function dialectOfGreeting(text: string): Dialect | undefined {
  return dialects.find(({ greeting }) => greeting === text.trim());
}
