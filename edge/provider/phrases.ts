/**
 * Phrases by which vendors tell what their codes do not. They are looked for only in answers that blame the request, and what
 * they decide concerns that request alone: a client that makes an upstream repeat such words harms nobody else.
 */
export interface Phrase {
  vendors: string;
  pattern: RegExp;
}

export const contextLength: readonly Phrase[] = [
  { vendors: "OpenAI, vLLM, SGLang, OpenRouter, Fireworks, Mistral, DeepSeek", pattern: /maximum context length/i },
  { vendors: "vLLM", pattern: /cannot be greater than max_model_len/i },
  { vendors: "OpenAI responses", pattern: /exceeds the context window/i },
  { vendors: "Anthropic, Fireworks", pattern: /prompt is too long/i },
  { vendors: "Anthropic", pattern: /exceed context limit/i },
  { vendors: "Gemini", pattern: /input token count.{0,40}exceeds the maximum/i },
  { vendors: "xAI", pattern: /maximum prompt length is \d/i },
  { vendors: "Groq", pattern: /reduce the length of the messages/i },
  { vendors: "Bedrock", pattern: /input is too long for requested model/i },
  { vendors: "SGLang, Together", pattern: /longer than the model's context length/i },
  { vendors: "llama.cpp", pattern: /exceeds the available context size/i },
  { vendors: "LM Studio", pattern: /greater than the context length/i },
  { vendors: "Ollama", pattern: /input length exceeds (the |maximum )?context length/i },
  { vendors: "TGI", pattern: /`inputs` (tokens \+ `max_new_tokens` must be|must have less than)/i },
  { vendors: "Poolside, GLM", pattern: /exceeds the maximum allowed input length/i },
  { vendors: "MiniMax", pattern: /context window exceeds limit/i },
  { vendors: "Kimi", pattern: /exceeded model token limit/i },
];

export const contentFilter: readonly Phrase[] = [
  { vendors: "Azure", pattern: /content management policy/i },
  { vendors: "OpenAI", pattern: /rejected as a result of our safety system/i },
  { vendors: "OpenAI", pattern: /flagged as potentially violating our usage policy/i },
  { vendors: "Anthropic", pattern: /blocked by content filtering policy/i },
  { vendors: "DeepSeek", pattern: /content exists risk/i },
  { vendors: "Alibaba", pattern: /may contain inappropriate content/i },
];

/** Of the whole text's beginning, so that nothing a client wrote can stand before it and park a provider's key. */
export const credential: readonly Phrase[] = [
  { vendors: "Anthropic", pattern: /^your credit balance is too low/i },
  { vendors: "xAI", pattern: /^incorrect api key provided/i },
];

export function matches(phrases: readonly Phrase[], text: string): boolean {
  return phrases.some(({ pattern }) => pattern.test(text));
}
