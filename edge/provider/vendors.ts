/**
 * What is particular about OpenAI-compatible vendors, by host. Sources: facts/providers.md section 1 and 2 for addresses and
 * credentials; for the rest, the vendors' documentation and the errors that their users quote, named at each entry.
 */
export interface Vendor {
  name: string;
  /** Of a whole host name. */
  host: RegExp;
  /** Where its API is, for an endpoint that names the host only, or a part of this. */
  base: string;
  /** The header that takes the key, and what stands before it. */
  credential: { header: string; prefix: string };
  /** Fields that only engines know are refused there, except these; absent: nothing is refused for being unknown. */
  strictBut?: readonly string[];
  /** Fields of OpenAI's that it refuses. */
  refuses?: readonly string[];
  /** Fields that it knows by another name. */
  renames?: Readonly<Record<string, string>>;
  /** An engine with typed fields: a null or an empty value is an error there, unlike its absence. */
  typed?: boolean;
  /** How it is told to go on with a last message of the assistant's; absent: by that message alone. */
  prefill?: Prefill;
}

/** `prefix`: a field of the message (Mistral, DeepSeek's `/beta`). `continue_final_message`: vLLM's of the request. */
export type Prefill = "prefix" | "continue_final_message" | "plain";

const bearer = { header: "authorization", prefix: "Bearer " };
const apiKey = { header: "api-key", prefix: "" };
const basetenKey = { header: "authorization", prefix: "Api-Key " };

/** OpenAI's reasoning models refuse `max_tokens` (400 `unsupported_parameter`); its other chat models take both names. */
const newName = { max_tokens: "max_completion_tokens" };
const oldName = { max_completion_tokens: "max_tokens" };

export const vendors: readonly Vendor[] = [
  // "Unrecognized request argument supplied: top_k", "…: chat_template_kwargs"
  { name: "openai", host: /^(\w+\.)?api\.openai\.com$/, base: "/v1", credential: bearer, strictBut: [], renames: newName },
  { name: "azure", host: /\.(openai\.azure|services\.ai\.azure|cognitiveservices\.azure)\.com$/, base: "/openai/v1", credential: apiKey, strictBut: [], renames: newName },
  // its OpenAI surface ignores what it does not know (platform.claude.com, OpenAI SDK compatibility)
  { name: "anthropic", host: /^api\.anthropic\.com$/, base: "/v1", credential: bearer },
  // "Invalid JSON payload received. Unknown name … Cannot find field."
  { name: "gemini", host: /^generativelanguage\.googleapis\.com$/, base: "/v1beta/openai", credential: bearer, strictBut: [] },
  { name: "bedrock", host: /^bedrock-runtime\.[\w-]+\.amazonaws\.com$/, base: "/openai/v1", credential: bearer },
  { name: "bedrock-mantle", host: /^bedrock-mantle\.[\w-]+\.api\.aws$/, base: "/v1", credential: bearer },
  // its samplers are documented; anything else is "Extra inputs are not permitted"
  {
    name: "fireworks", host: /^api\.fireworks\.ai$/, base: "/inference/v1", credential: bearer,
    strictBut: ["top_k", "min_p", "typical_p", "repetition_penalty", "mirostat_target", "mirostat_lr", "ignore_eos", "prompt_truncate_len", "context_length_exceeded_behavior"],
  },
  { name: "together", host: /^api\.together\.(ai|xyz)$/, base: "/v1", credential: bearer, renames: oldName },
  // console.groq.com/docs/openai: a 400 for each of these
  { name: "groq", host: /^api\.groq\.com$/, base: "/openai/v1", credential: bearer, strictBut: [], refuses: ["logprobs", "top_logprobs", "logit_bias"] },
  // 422 `extra_forbidden` for whatever its schema lacks (max_completion_tokens, store, stream_options); usage comes unasked in its streams
  {
    name: "mistral", host: /^api\.mistral\.ai$/, base: "/v1", credential: bearer, strictBut: [], typed: true, prefill: "prefix", renames: { ...oldName, seed: "random_seed" },
    refuses: ["store", "stream_options", "user", "logprobs", "top_logprobs", "logit_bias", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "verbosity", "modalities", "audio", "web_search_options", "functions", "function_call"],
  },
  // `prefix` only with the endpoint https://api.deepseek.com/beta
  { name: "deepseek", host: /^api\.deepseek\.com$/, base: "/v1", credential: bearer, renames: oldName, prefill: "prefix" },
  { name: "openrouter", host: /^openrouter\.ai$/, base: "/api/v1", credential: bearer },
  { name: "fal", host: /^fal\.run$/, base: "/openrouter/router/openai/v1", credential: { header: "authorization", prefix: "Key " } },
  { name: "baseten", host: /^inference\.baseten\.co$/, base: "/v1", credential: basetenKey },
  { name: "baseten-model", host: /\.api\.baseten\.co$/, base: "/production/sync/v1", credential: basetenKey, typed: true },
];

/** A host that nobody knows is most likely an engine: it gets every field, and no nulls. */
export const unknownVendor: Vendor = { name: "unknown", host: /^/, base: "/v1", credential: bearer, typed: true, prefill: "continue_final_message" };

export function vendorOf(hostname: string): Vendor {
  return vendors.find(({ host }) => host.test(hostname)) ?? unknownVendor;
}

/** Fields that engines added to OpenAI's, which strict vendors refuse. */
export const engineFields: ReadonlySet<string> = new Set([
  // sampling: vLLM, SGLang, llama.cpp, TGI
  "top_k", "min_p", "top_a", "typical_p", "repetition_penalty", "length_penalty", "min_tokens", "ignore_eos", "use_beam_search", "stop_token_ids", "bad_words", "allowed_token_ids", "logits_processors",
  "repeat_penalty", "repeat_last_n", "mirostat", "mirostat_tau", "mirostat_eta", "mirostat_target", "mirostat_lr", "tfs_z", "dynatemp_range", "dynatemp_exponent", "dry_multiplier", "xtc_probability", "samplers", "n_predict", "n_probs", "min_keep",
  // constrained decoding
  "structured_outputs", "regex", "ebnf", "json_schema", "grammar",
  // the prompt's making
  "chat_template", "chat_template_kwargs", "add_generation_prompt", "continue_final_message", "add_special_tokens", "documents", "mm_processor_kwargs", "truncate_prompt_tokens", "prompt_truncate_len", "context_length_exceeded_behavior", "enable_thinking", "thinking",
  // the answer's form
  "skip_special_tokens", "spaces_between_special_tokens", "include_stop_str_in_output", "no_stop_trim", "prompt_logprobs", "return_token_ids", "return_tokens_as_token_ids", "include_reasoning", "separate_reasoning", "stream_reasoning", "return_hidden_states",
  // the engine itself
  "priority", "cache_salt", "kv_transfer_params", "vllm_xargs", "request_id", "lora_path", "session_params", "custom_params", "rid", "cache_prompt", "id_slot", "num_ctx", "num_keep", "num_predict", "keep_alive", "options", "data_parallel_rank",
]);

export function isEngineField(name: string): boolean {
  return engineFields.has(name) || name.startsWith("guided_");
}
