import { randomUUID } from "node:crypto";
import { hashText, mix } from "./hash.ts";
import { Refusal } from "./refusal.ts";
import { encode } from "./tokenizer.ts";

/** The fields of an embeddings body that the simulator reads. */
export interface EmbeddingsBody {
  model?: string | null;
  input?: string | string[] | number[] | number[][];
  encoding_format?: "float" | "base64" | null;
  dimensions?: number | null;
}

const DIMENSIONS = 384;

/**
 * A unit vector that depends on the model, the seed and the tokens, whatever their order: texts that share tokens are near each other.
 */
export function embed(ids: readonly number[], model: { name: string; seed: number }, dimensions: number = DIMENSIONS): number[] {
  const base = hashText(model.name, model.seed);
  const vector = Array.from({ length: dimensions }, () => 0);
  for (const id of ids) {
    const token = mix(base, id);
    for (let at = 0; at < dimensions; at++) vector[at] = (vector[at] ?? 0) + mix(token, at) / 2 ** 31 - 1;
  }
  const length = Math.hypot(...vector);
  return vector.map((value, at) => (length === 0 ? (at === 0 ? 1 : 0) : value / length));
}

function inputs(body: EmbeddingsBody): number[][] {
  const { input } = body;
  if (typeof input === "string") return [encode(input)];
  if (!Array.isArray(input) || input.length === 0) throw new Refusal(400, "1 validation error: {'type': 'missing', 'loc': ('body', 'input'), 'msg': 'Field required'}", "input");
  if (typeof input[0] === "number") return [input as number[]];
  return (input as (string | number[])[]).map((one) => (typeof one === "string" ? encode(one) : one));
}

/** The answer to an embeddings body. Each vector is a list of numbers, or with `base64` its little-endian float32 bytes. */
export function answerEmbeddings(body: EmbeddingsBody, model: { name: string; seed: number; served: string }): { promptTokens: number; answer: object } {
  if (body.encoding_format !== undefined && body.encoding_format !== "float" && body.encoding_format !== "base64") {
    throw new Refusal(400, `1 validation error: {'type': 'literal_error', 'loc': ('body', 'encoding_format'), 'msg': "Input should be 'float' or 'base64'", 'input': ${JSON.stringify(body.encoding_format)}}`, "encoding_format");
  }
  const dimensions = body.dimensions ?? DIMENSIONS;
  if (!Number.isInteger(dimensions) || dimensions < 1 || dimensions > 4096) throw new Refusal(400, "dimensions must be between 1 and 4096", "dimensions");
  const lists = inputs(body);
  const rows = lists.map((ids, index) => {
    const vector = embed(ids, model, dimensions);
    return { object: "embedding", index, embedding: body.encoding_format === "base64" ? Buffer.from(new Float32Array(vector).buffer).toString("base64") : vector };
  });
  const promptTokens = lists.reduce((sum, ids) => sum + ids.length, 0);
  return {
    promptTokens,
    answer: { id: `embd-${randomUUID().replaceAll("-", "")}`, object: "list", created: Math.floor(Date.now() / 1000), model: model.served, data: rows, usage: { prompt_tokens: promptTokens, total_tokens: promptTokens, completion_tokens: 0, prompt_tokens_details: null } },
  };
}
