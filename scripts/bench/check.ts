import { answerContent, requestBody, streamContent } from "./exchange.ts";
import type { Running } from "./peers/peer.ts";

interface Completion {
  choices?: { message?: { content?: string }; delta?: { content?: string } }[];
}

async function send(running: Running, stream: boolean): Promise<string> {
  const response = await fetch(running.url, {
    method: "POST",
    headers: { ...running.headers, "content-type": "application/json" },
    body: requestBody({ stream }),
    signal: AbortSignal.timeout(20_000),
  });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`it answered ${response.status}: ${text.slice(0, 300)}`);
  return text;
}

/** Throws unless the proxy gives the whole answer with its content unchanged. */
export async function checkAnswer(running: Running): Promise<void> {
  const completion = JSON.parse(await send(running, false)) as Completion;
  if (completion.choices?.[0]?.message?.content !== answerContent) throw new Error("its answer has another content than the upstream's");
}

/** Throws unless the proxy gives all chunks of a stream, in order, and its end. */
export async function checkStream(running: Running): Promise<void> {
  const events = (await send(running, true)).split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice("data: ".length));
  if (events.at(-1) !== "[DONE]") throw new Error("its stream does not end with [DONE]");
  const content = events.slice(0, -1).map((event) => (JSON.parse(event) as Completion).choices?.[0]?.delta?.content ?? "").join("");
  if (content !== streamContent) throw new Error(`its stream has ${content.length} characters of content, the upstream's ${streamContent.length}, or others`);
}
