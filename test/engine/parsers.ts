import { hashText } from "./hash.ts";

/** A tool call found in an answer. */
export interface CalledTool {
  id: string;
  name: string;
  arguments: string;
}

/** What a piece of an answer's text means to a chat client. */
export type Part =
  | { kind: "reasoning"; text: string }
  | { kind: "content"; text: string }
  | { kind: "toolStart"; index: number; id: string; name: string }
  | { kind: "toolArguments"; index: number; text: string };

const MARKS = { content: ["<think>", "<tool_call>"], reasoning: ["</think>"], head: ['"arguments": '], arguments: ["}\n</tool_call>"] } as const;

/** How many characters at the end of `text` may be the beginning of one of the marks. */
function possibleMark(text: string, marks: readonly string[]): number {
  for (let length = Math.min(text.length, Math.max(...marks.map((mark) => mark.length)) - 1); length > 0; length--) {
    const tail = text.slice(-length);
    if (marks.some((mark) => mark.startsWith(tail))) return length;
  }
  return 0;
}

/**
 * Splits an answer into thinking, content and tool calls as it comes, like vLLM's reasoning and tool parsers. What may be the beginning of a mark is held until it is clear.
 * @param promptText an answer begins inside the thinking that its prompt left open
 */
export class ChatParser {
  #state: keyof typeof MARKS;
  #held = "";
  #calls = 0;
  readonly #promptText: string;

  constructor(promptText: string) {
    this.#promptText = promptText;
    const turn = promptText.slice(promptText.lastIndexOf("<|im_start|>") + 1);
    this.#state = turn.lastIndexOf("<think>") > turn.lastIndexOf("</think>") ? "reasoning" : "content";
  }

  /** @param last nothing follows, so nothing is held */
  push(text: string, last = false): Part[] {
    this.#held += text;
    const parts: Part[] = [];
    for (;;) {
      const found = this.#nextMark();
      if (found === undefined) break;
      const before = this.#held.slice(0, found.at);
      this.#held = this.#held.slice(found.at + found.mark.length);
      this.#meet(before, found.mark, parts);
    }
    if (this.#state !== "head") {
      const keep = last ? 0 : possibleMark(this.#held, MARKS[this.#state]);
      this.#emit(this.#held.slice(0, this.#held.length - keep), parts);
      this.#held = this.#held.slice(this.#held.length - keep);
    }
    return parts;
  }

  #nextMark(): { at: number; mark: string } | undefined {
    return MARKS[this.#state]
      .map((mark) => ({ at: this.#held.indexOf(mark), mark }))
      .filter(({ at }) => at >= 0)
      .sort((a, b) => a.at - b.at)[0];
  }

  #meet(before: string, mark: string, parts: Part[]): void {
    if (this.#state === "head") {
      const name = /"name": ("(?:[^"\\]|\\.)*")/.exec(before)?.[1];
      parts.push({ kind: "toolStart", index: this.#calls, id: `call_${hashText(this.#promptText, this.#calls).toString(16).padStart(8, "0")}`, name: name === undefined ? "" : (JSON.parse(name) as string) });
      this.#state = "arguments";
      return;
    }
    this.#emit(before, parts);
    if (this.#state === "arguments") this.#calls++;
    this.#state = mark === "<think>" ? "reasoning" : mark === "<tool_call>" ? "head" : "content";
  }

  #emit(text: string, parts: Part[]): void {
    if (text === "") return;
    if (this.#state === "arguments") parts.push({ kind: "toolArguments", index: this.#calls, text });
    else if (this.#state === "reasoning") parts.push({ kind: "reasoning", text });
    else if (this.#calls === 0 || text.trim() !== "") parts.push({ kind: "content", text });
  }
}

/** A whole answer, split. `reasoning` is undefined when there was none. */
export function parseAnswer(text: string, promptText: string): { content: string; reasoning: string | undefined; toolCalls: CalledTool[] } {
  const split: ReturnType<typeof parseAnswer> = { content: "", reasoning: undefined, toolCalls: [] };
  for (const part of new ChatParser(promptText).push(text, true)) {
    if (part.kind === "content") split.content += part.text;
    else if (part.kind === "reasoning") split.reasoning = (split.reasoning ?? "") + part.text;
    else if (part.kind === "toolStart") split.toolCalls.push({ id: part.id, name: part.name, arguments: "" });
    else {
      const call = split.toolCalls[part.index];
      if (call !== undefined) call.arguments += part.text;
    }
  }
  return split;
}
