import type { Chunk } from "../../edge/forward/delivered.ts";

/** One streamed answer as it comes. */
export class Streamed {
  text = "";
  finish: string | undefined;
  done = 0;
  errors: unknown[] = [];
  resumed: string | undefined;
  promptIds: number[] | undefined;
  readonly ids: number[] = [];
  readonly over: Promise<void>;

  constructor(answer: Promise<Response>) {
    this.over = this.#read(answer);
    this.over.catch(() => {});
  }

  async #read(answer: Promise<Response>): Promise<void> {
    const response = await answer;
    if (!response.ok || response.body === null) throw new Error(`${response.status} ${await response.text()}`);
    let rest = "";
    for await (const part of response.body.pipeThrough(new TextDecoderStream())) {
      const events = (rest + part).split(/\r?\n\r?\n/);
      rest = events.pop() ?? "";
      for (const event of events) this.#take(event);
    }
  }

  #take(event: string): void {
    this.resumed ??= /^: x-fairlead-resumed: (.*)$/m.exec(event)?.[1];
    const data = /^data: ?(.*)$/m.exec(event)?.[1];
    if (data === undefined) return;
    if (data === "[DONE]") {
      this.done++;
      return;
    }
    const chunk = JSON.parse(data) as Chunk;
    if (chunk.error !== undefined) this.errors.push(chunk.error);
    const choice = chunk.choices?.[0];
    this.promptIds ??= chunk.prompt_token_ids ?? choice?.prompt_token_ids ?? undefined;
    this.ids.push(...(choice?.token_ids ?? []));
    this.text += choice?.delta?.content ?? choice?.text ?? "";
    this.finish ??= choice?.finish_reason ?? undefined;
  }
}
