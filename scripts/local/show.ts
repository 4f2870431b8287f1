import { styleText } from "node:util";

const colours = process.stdout.isTTY && process.env["NO_COLOR"] === undefined;
const style = (format: Parameters<typeof styleText>[0], text: string): string => (colours ? styleText(format, text) : text);

/** One finished step. */
export function done(what: string, sinceMs: number): void {
  console.log(`${style("green", "✓")} ${what} ${style("dim", `(${((Date.now() - sinceMs) / 1000).toFixed(1)} s)`)}`);
}

export function say(text: string): void {
  console.log(text);
}

export function warn(text: string): void {
  console.log(`${style("yellow", "!")} ${text}`);
}

export function bold(text: string): string {
  return style("bold", text);
}

/** Print a streamed chat completion as it comes. @returns the text, or undefined when nothing was streamed */
export async function showStream(endpoint: string, apiKey: string, model: string): Promise<string | undefined> {
  const response = await fetch(`${endpoint}/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${apiKey}` },
    body: JSON.stringify({ model, stream: true, max_tokens: 40, messages: [{ role: "user", content: "Say hello." }] }),
  });
  if (!response.ok || response.body === null) throw new Error(`Cannot stream a completion from "${model}": status ${response.status}: ${await response.text()}`);
  let text = "";
  let rest = "";
  process.stdout.write(`${bold(model)}: `);
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (!line.startsWith("data: ") || line === "data: [DONE]") continue;
      const delta = (JSON.parse(line.slice(6)) as { choices?: { delta?: { content?: string } }[] }).choices?.[0]?.delta?.content ?? "";
      text += delta;
      process.stdout.write(delta);
    }
  }
  process.stdout.write("\n");
  return text === "" ? undefined : text;
}
