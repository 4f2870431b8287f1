import type { Answer } from "./attempt.ts";
import type { Run } from "./hedge.ts";
import type { Outcome } from "./outcome.ts";
import type { Sending } from "./sending.ts";

export const detokenizePath = "/detokenize";

/** Where a provider's engine has it: beside `/v1`, however the provider's endpoint ends. */
export function besideV1(url: string): string {
  return url.replace(/(\/v1)?\/detokenize(?=\?|$)/, detokenizePath);
}

/** The text of token ids: vLLM's `/detokenize`, which stands beside `/v1`. */
export async function detokenize(sending: Sending, ids: readonly number[], send: (what: Sending) => Run<Outcome<Answer>>): Promise<string | undefined> {
  const parsed = { model: sending.parsed?.["model"], tokens: ids };
  const outcome = await send({ ...sending, path: detokenizePath, body: JSON.stringify(parsed), parsed, stream: false }).result;
  if (outcome.kind !== "answer" || typeof outcome.answer.whole !== "string") return undefined;
  try {
    const { prompt } = JSON.parse(outcome.answer.whole) as { prompt?: unknown };
    return typeof prompt === "string" ? prompt : undefined;
  } catch {
    return undefined;
  }
}
