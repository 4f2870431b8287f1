/** What is sent and what must come back: one chat completion, whole or streamed, the same for every peer. */

export const path = "/v1/chat/completions";
export const model = "bench";
/** Chunks with content in a stream; the last is followed at once by a finish chunk and `[DONE]`. */
export const chunksPerStream = 100;

const question =
  "A small harbour has three quays and one pilot. Ships come at any hour, some of them large, and each wants a place for the night. " +
  "Say in one short paragraph how the pilot should choose the quay for the next ship, and what he should do when every quay is taken.";

/** The request body, about 400 bytes. */
export function requestBody({ stream }: { stream: boolean }): string {
  return JSON.stringify({
    model,
    messages: [
      { role: "system", content: "You are a careful assistant. Answer briefly." },
      { role: "user", content: question },
    ],
    stream,
  });
}

/** The content of the whole answer; free of the characters that a `return` in an nginx configuration would expand. */
export const answerContent =
  "He should send the ship to the quay where she will wait least, which is seldom the one with the fewest ships: a quay with two small " +
  "ones empties sooner than a quay with one large. When every quay is taken he tells her so at once, and when to ask again, " +
  "because a ship that waits outside without a word blocks the ones that could have gone elsewhere.";

/** The whole answer, about 600 bytes of `chat.completion`. */
export const answerBody = JSON.stringify({
  id: "chatcmpl-bench",
  object: "chat.completion",
  created: 1_790_000_000,
  model,
  choices: [{ index: 0, message: { role: "assistant", content: answerContent }, finish_reason: "stop" }],
  usage: { prompt_tokens: 84, completion_tokens: 79, total_tokens: 163 },
});

function event(fields: object): string {
  return `data: ${JSON.stringify({ id: "chatcmpl-bench", object: "chat.completion.chunk", created: 1_790_000_000, model, system_fingerprint: "fp_bench", ...fields })}\n\n`;
}

const words = Array.from({ length: chunksPerStream }, (_, i) => ` word-${String(i).padStart(3, "0")}`);

/** The content of all chunks of a stream, joined. */
export const streamContent = words.join("");

/** The chunks with content, each one event of about 200 bytes. */
export const streamChunks = words.map((content, index) =>
  event({ choices: [{ index: 0, delta: index === 0 ? { role: "assistant", content } : { content }, logprobs: null, finish_reason: null }] }),
);

/** What follows the last chunk; with the usage event when the request asked for one (`stream_options.include_usage`). */
export function streamEnd({ usage }: { usage: boolean }): string {
  return (
    event({ choices: [{ index: 0, delta: {}, logprobs: null, finish_reason: "stop" }] }) +
    (usage ? event({ choices: [], usage: { prompt_tokens: 84, completion_tokens: 100, total_tokens: 184 } }) : "") +
    "data: [DONE]\n\n"
  );
}
