import { expect, test } from "vitest";
import { layout, tallies } from "../../schema/telemetry.ts";
import { Counts } from "./tally.ts";
import { countUsage, countUsageAtEnd } from "./usage.ts";

const told = (counts: Counts): number[] => ["inputTokens", "outputTokens", "cachedTokens"].map((tally) => counts.at[layout.tallies + tallies.indexOf(tally as (typeof tallies)[number])] ?? -1);
const answer = (usage: unknown, content = "Hello"): string => JSON.stringify({ id: "chatcmpl-1", object: "chat.completion", choices: [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }], usage });

test.each<[string, string, number[]]>([
  ["OpenAI's", answer({ prompt_tokens: 19, completion_tokens: 10, total_tokens: 29, prompt_tokens_details: { cached_tokens: 12, audio_tokens: 0 }, completion_tokens_details: { reasoning_tokens: 3 } }), [19, 10, 12]],
  ["vLLM's, with fields after it", answer({ prompt_tokens: 7, total_tokens: 12, completion_tokens: 5, prompt_tokens_details: null }).replace(/\}$/, ',"prompt_logprobs":null,"kv_transfer_params":null}'), [7, 5, 0]],
  ["an embedding's", '{"object":"list","data":[],"model":"m","usage":{"prompt_tokens":8,"total_tokens":8}}', [8, 0, 0]],
  ["one that is spread over lines", '{\n  "usage": {\n    "prompt_tokens": 3,\n    "completion_tokens": 4\n  }\n}\n', [3, 4, 0]],
  ["none", answer(undefined), [0, 0, 0]],
  ["null", answer(null), [0, 0, 0]],
  ["one that is only spoken of", answer(undefined, 'He said "usage": {"prompt_tokens": 5}'), [0, 0, 0]],
  ["what no count is", answer({ prompt_tokens: "many", completion_tokens: -4 }), [0, 0, 0]],
  ["a number beyond all bounds", `{"usage":{"prompt_tokens":${"9".repeat(30)},"completion_tokens":2}}`, [0, 2, 0]],
  ["nothing", "", [0, 0, 0]],
])("countUsageAtEnd() reads %s", (_name, text, expected) => {
  const counts = new Counts();
  countUsageAtEnd(counts, text);
  expect(told(counts)).toEqual(expected);
});

test("countUsage() takes what is a count, and nothing else", () => {
  const counts = new Counts();
  countUsage(counts, { prompt_tokens: 5, completion_tokens: 2, prompt_tokens_details: { cached_tokens: 4 } });
  countUsage(counts, { prompt_tokens: Number.NaN, completion_tokens: 1.5, prompt_tokens_details: null });
  countUsage(counts, { prompt_tokens: "5" });
  expect(told(counts)).toEqual([5, 2, 4]);
});
