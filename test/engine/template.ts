import { hashText } from "./hash.ts";
import { Refusal } from "./refusal.ts";

export interface ContentPart {
  type: string;
  text?: string;
  image_url?: { url: string };
}

export interface ToolCall {
  id: string;
  type: "function";
  function: { name: string; arguments: string };
}

export interface Message {
  role: string;
  content?: string | ContentPart[] | null;
  name?: string;
  tool_calls?: ToolCall[];
  tool_call_id?: string;
}

export interface Tool {
  type: "function";
  function: { name: string; description?: string; parameters?: unknown };
}

/** A message's content as text: parts joined by newlines, an image as a mark that differs with its URL so that two images are never one cached prefix. */
export function contentText(content: Message["content"]): string {
  if (content === null || content === undefined) return "";
  if (typeof content === "string") return content;
  return content
    .map((part) => {
      if (part.type === "image_url" && typeof part.image_url?.url === "string") return `<|vision_start|>${hashText(part.image_url.url).toString(16).padStart(8, "0")}<|vision_end|>`;
      if (typeof part.text === "string") return part.text;
      throw new Refusal(400, `Unknown part type: ${part.type}`, "messages");
    })
    .join("\n");
}

/** The URLs of the images that the messages carry. */
export function imageUrls(messages: readonly Message[]): string[] {
  return messages.flatMap(({ content }) => (Array.isArray(content) ? content.filter(({ type }) => type === "image_url").map((part) => part.image_url?.url ?? "") : []));
}

/** A tool call as the model writes it. */
export function toolCallText(name: string, argumentsJson: string): string {
  return `<tool_call>\n{"name": ${JSON.stringify(name)}, "arguments": ${argumentsJson}}\n</tool_call>`;
}

/**
 * The chat template: a conversation as the one text that the model continues. Its tokens are a chat's `prompt_token_ids`.
 *
 * @param ending `answer` opens the assistant's turn, `continue` leaves the last message open, `none` closes every turn
 */
export function renderChat(messages: readonly Message[], tools: readonly Tool[], ending: "answer" | "continue" | "none"): string {
  let text = "";
  if (tools.length > 0) text += `<|im_start|>system\n# Tools\n${tools.map((tool) => JSON.stringify(tool)).join("\n")}<|im_end|>\n`;
  messages.forEach((message, index) => {
    const calls = (message.tool_calls ?? []).map((call) => toolCallText(call.function.name, call.function.arguments));
    text += `<|im_start|>${message.role}\n${[contentText(message.content), ...calls].filter((part) => part !== "").join("\n")}`;
    if (ending !== "continue" || index < messages.length - 1) text += "<|im_end|>\n";
  });
  return ending === "answer" ? `${text}<|im_start|>assistant\n` : text;
}
