import { expect } from "vitest";

/** What a stream brought. */
export interface Streamed {
  text: string;
  ids: Set<string>;
  roles: number;
  errors: number;
  done: boolean;
  /** When its answer began, and when each event came. */
  at: number[];
}

/** The longest time between two events, of those that came after a moment. */
export function longestGapMs({ at }: Streamed, after = 0): number {
  return at.reduce((longest, now, i) => (i > 0 && now > after ? Math.max(longest, now - (at[i - 1] ?? now)) : longest), 0);
}

/** Read a stream to its end; `atToken` is called as each event with text comes. */
export async function readStreamed(response: Response, atToken: (index: number) => void = () => undefined): Promise<Streamed> {
  expect(response.status).toBe(200);
  const told: Streamed = { text: "", ids: new Set(), roles: 0, errors: 0, done: false, at: [Date.now()] };
  let rest = "";
  let index = 0;
  const decoder = new TextDecoder();
  for await (const bytes of response.body as ReadableStream<Uint8Array>) {
    const chunk = decoder.decode(bytes, { stream: true });
    const parts = (rest + chunk).split("\n\n");
    rest = parts.pop() ?? "";
    for (const part of parts.filter((text) => text.startsWith("data: "))) {
      told.at.push(Date.now());
      if (part === "data: [DONE]") {
        told.done = true;
        continue;
      }
      const event = JSON.parse(part.slice(6)) as { id?: string; error?: unknown; choices?: { delta?: { role?: string; content?: string } }[] };
      if (event.error !== undefined) told.errors++;
      if (event.id !== undefined) told.ids.add(event.id);
      const { role, content } = event.choices?.[0]?.delta ?? {};
      if (role !== undefined) told.roles++;
      if (!content) continue;
      told.text += content;
      atToken(index++);
    }
  }
  expect(rest).toBe("");
  return told;
}
