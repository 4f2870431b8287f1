import { createHash, randomBytes } from "node:crypto";
import { createOpenAICompatible, type OpenAICompatibleProvider } from "@ai-sdk/openai-compatible";
import { APICallError, embed, embedMany, generateText, isStepCount, Output, RetryError, streamText, tool } from "ai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import type { Body } from "../engine/ask.ts";
import { embed as vectorOf } from "../engine/embeddings.ts";
import { encode, expectedAnswer, type ExpectedChoice } from "../engine/text.ts";
import { bothWays, calm, CountedFetch, costOf, order, seen, type BothWays } from "./upstreams.ts";

type Way = "owned" | "rented";

/** "Within a second" (failure model, row 26), and what a busy machine takes to notice. */
const cancelMs = 1_500;

let both: BothWays;
let provider: OpenAICompatibleProvider;
const counted = new CountedFetch();

const prompt = "Tell me about ropes.";
const engine = (way: Way): string => both.engines[way];
const thrown = async (work: Promise<unknown>): Promise<unknown> => work.then(() => undefined, (error: unknown) => error);

beforeAll(async () => {
  both = await bothWays();
  const { endpoint: baseURL, apiKey } = both.world.up;
  provider = createOpenAICompatible({ name: "fairlead", baseURL, apiKey, includeUsage: true, supportsStructuredOutputs: true, fetch: counted.fetch });
});
afterAll(() => both?.stop());

/** The bodies that an engine was asked last, oldest first. The oracle answers what came, however the client words it. */
async function bodies(way: Way, count: number): Promise<Body[]> {
  return (await seen(engine(way))).last.slice(-count).map(({ body }) => JSON.parse(body) as Body);
}

function oracle(way: Way, body: Body | undefined): ExpectedChoice | undefined {
  return expectedAnswer(body ?? {}, { model: way }).choices[0];
}

const report = z.object({ ship: z.string(), crew: z.array(z.string()), knots: z.number(), anchored: z.boolean(), flag: z.enum(["red", "green"]) });

describe.each<Way>(["owned", "rented"])("the ai client with its OpenAI-compatible provider, unmodified, and a model that is %s", (way) => {
  /** Tools that remember how they were called. */
  function toolbox() {
    const called: unknown[] = [];
    const tie = tool({ description: "Ties a knot", inputSchema: z.object({ knot: z.enum(["bowline", "clove hitch"]), turns: z.number() }), execute: (input) => (called.push(["tie", input]), { tied: input.knot }) });
    const depth = tool({ description: "Depth of a harbour", inputSchema: z.object({ harbour: z.string() }), execute: (input) => (called.push(["depth", input]), "12 m, é ⚓") });
    return { called, tools: { tie, depth } };
  }

  test("generates text, token for token, with usage and the request's id", async () => {
    const { text, usage, finishReason, finalStep } = await generateText({ model: provider(way), prompt });
    const [body] = await bodies(way, 1);
    const expected = expectedAnswer(body ?? {}, { model: way });
    expect({ text, finishReason }).toEqual({ text: expected.choices[0]?.content, finishReason: expected.choices[0]?.finishReason });
    expect([usage.inputTokens, usage.outputTokens]).toEqual([expected.usage.prompt_tokens, expected.usage.completion_tokens]);
    expect(finalStep.response.headers?.["x-request-id"]).toMatch(/^req_/);
  });

  test("streams text, token for token, with usage", async () => {
    const { textStream, usage, finishReason } = streamText({ model: provider(way), prompt });
    let text = "";
    for await (const part of textStream) text += part;
    const [body] = await bodies(way, 1);
    const expected = expectedAnswer(body ?? {}, { model: way });
    expect(body?.stream).toBe(true);
    expect({ text, finishReason: await finishReason }).toEqual({ text: expected.choices[0]?.content, finishReason: expected.choices[0]?.finishReason });
    expect([(await usage).inputTokens, (await usage).outputTokens]).toEqual([expected.usage.prompt_tokens, expected.usage.completion_tokens]);
  });

  test.each([false, true])("runs tools, step after step, and goes on with their results (streamed: %s)", async (stream) => {
    const { called, tools } = toolbox();
    const ask = { model: provider(way), prompt: "Use your tools.", tools, stopWhen: isStepCount(5) };
    const { steps, text } = stream ? await (async () => {
      const result = streamText(ask);
      return { steps: await result.steps, text: await result.text };
    })() : await generateText(ask);
    const [first, second] = await bodies(way, 2);
    const calls = oracle(way, first)?.toolCalls ?? [];
    expect(calls.map(({ name }) => name)).toEqual(["tie", "depth"]);
    expect(called).toEqual(calls.map(({ name, arguments: given }) => [name, JSON.parse(given)]));
    expect(steps.map(({ finishReason }) => finishReason)).toEqual(["tool-calls", oracle(way, second)?.finishReason]);
    expect(steps[0]?.toolCalls.map(({ toolCallId, toolName }) => [toolCallId, toolName])).toEqual(calls.map(({ id, name }) => [id, name]));
    // the results went back to the engine, each to its call
    expect(second?.messages?.slice(-2)).toMatchObject(calls.map(({ id }) => ({ role: "tool", tool_call_id: id })));
    expect(second?.messages?.at(-1)?.content).toContain("12 m, é ⚓");
    expect(text).toBe(oracle(way, second)?.content);
  });

  test("stops after the step that it is told to stop after", async () => {
    const { called, tools } = toolbox();
    const before = await seen(engine(way));
    const { steps, finishReason } = await generateText({ model: provider(way), prompt: "Use your tools.", tools, stopWhen: isStepCount(1) });
    expect([steps.length, finishReason, called.length]).toEqual([1, "tool-calls", 2]);
    expect((await seen(engine(way))).requests).toBe(before.requests + 1);
  });

  test("sends an image byte for byte", async () => {
    const image = randomBytes(1_000_000);
    const { text } = await generateText({ model: provider(way), messages: [{ role: "user", content: [{ type: "text", text: "What is this?" }, { type: "file", mediaType: "image/png", data: image }] }] });
    const url = `data:image/png;base64,${image.toString("base64")}`;
    const entry = (await seen(engine(way))).last.at(-1);
    expect(entry?.imageSha256).toEqual([createHash("sha256").update(url).digest("hex")]);
    const asked = { messages: [{ role: "user", content: [{ type: "text", text: "What is this?" }, { type: "image_url", image_url: { url } }] }] };
    expect(text).toBe(oracle(way, asked)?.content);
  });

  test.each([false, true])("parses structured outputs by its schema (streamed: %s)", async (stream) => {
    const ask = { model: provider(way), prompt, output: Output.object({ schema: report }) };
    const output = await (stream ? streamText(ask).output : (await generateText(ask)).output);
    const [body] = await bodies(way, 1);
    expect(body?.response_format?.type).toBe("json_schema");
    expect(output).toEqual(report.parse(JSON.parse(oracle(way, body)?.content ?? "")));
  });

  test("embeds one and many", async () => {
    const expected = (text: string): number[] => vectorOf(encode(text), { name: way, seed: 0 });
    expect((await embed({ model: provider.embeddingModel(way), value: "a rope" })).embedding).toEqual(expected("a rope"));
    expect((await embedMany({ model: provider.embeddingModel(way), values: ["a rope", "a line"] })).embeddings).toEqual([expected("a rope"), expected("a line")]);
  });

  test.each([["before the first token", "hang", 0], ["in the middle of an answer", "stall@3", 3]])("that leaves %s is noticed by the engine within a second", async (_, spec, tokens) => {
    const before = await seen(engine(way));
    const controller = new AbortController();
    const ends: string[] = [];
    const { stream } = streamText({ model: provider(way), prompt, abortSignal: controller.signal, headers: { "x-sim-fail": spec }, onError: () => undefined });
    const over = (async () => {
      for await (const { type } of stream) ends.push(type);
    })();
    await seen(engine(way), `requests:${before.requests + 1},tokens:${before.tokens + tokens}`);
    controller.abort();
    await seen(engine(way), `aborted:${before.aborted + 1}`, cancelMs);
    await over;
    expect(ends.at(-1)).toBe("abort");
    expect((await seen(engine(way))).requests).toBe(before.requests + 1);
  });
});

describe("the ai client and what goes wrong", () => {
  test("a caller's mistake is its own error class, with the request's id and code, and is sent once", async () => {
    counted.sent = 0;
    const unknown = await thrown(generateText({ model: provider("nobody"), prompt }));
    expect(APICallError.isInstance(unknown)).toBe(true);
    expect(unknown).toMatchObject({ statusCode: 404, isRetryable: false, data: { error: { code: "model_not_found", param: "model", type: "invalid_request_error" } }, responseHeaders: { "x-request-id": expect.stringMatching(/^req_/) as unknown, "x-should-retry": "false" } });
    const longest = await thrown(generateText({ model: provider("rented"), prompt, maxOutputTokens: 40_000 }));
    expect(longest).toMatchObject({ statusCode: 400, isRetryable: false, data: { error: { code: "context_length_exceeded" } } });
    expect(counted.sent).toBe(2);
  });

  test("a 429 is waited for as long as it says, and repeated once", async () => {
    const model = await both.rent("limited");
    // longer than a request waits at the edge, shorter than a client gives up
    await order(engine("rented"), "status=429:retry-after=3");
    const { result, sent, requests, ms } = await costOf(counted, engine("rented"), async () => generateText({ model: provider(model), prompt }));
    expect(result.text).toBe(oracle("rented", (await bodies("rented", 1))[0])?.content);
    expect(ms).toBeGreaterThanOrEqual(2_900);
    expect([sent, requests]).toEqual([2, 2]);
  });

  test("a failure that lasts is given up after three attempts, each with the reason", async () => {
    const model = await both.rent("lasting");
    await order(engine("rented"), "status=503", 10);
    const { result: error, sent, requests } = await costOf(counted, engine("rented"), () => thrown(generateText({ model: provider(model), prompt })));
    await calm(engine("rented"));
    expect(RetryError.isInstance(error)).toBe(true);
    expect((error as RetryError).errors).toMatchObject(Array.from({ length: 3 }, () => ({ isRetryable: true, responseHeaders: { "x-request-id": expect.stringMatching(/^req_/) as unknown } })));
    expect(sent).toBe(3);
    expect(requests).toBeLessThanOrEqual(3);
  });

  test("a stream that is lost in the middle is an error part, and never a finished answer", async () => {
    const model = await both.rent("lost", "  routing: {on_stream_loss: error}\n");
    for (const spec of ["rst@5", "error@5"]) {
      await order(engine("rented"), spec);
      let text = "";
      const parts: string[] = [];
      const errors: unknown[] = [];
      for await (const part of streamText({ model: provider(model), prompt, onError: () => undefined }).stream) {
        parts.push(part.type);
        if (part.type === "text-delta") text += part.text;
        if (part.type === "error") errors.push(part.error);
        if (part.type === "finish") expect(part.finishReason).toBe("error");
      }
      const [body] = await bodies("rented", 1);
      expect(errors).toHaveLength(1);
      expect(text).not.toBe("");
      expect(oracle("rented", body)?.content?.startsWith(text)).toBe(true);
    }
  });
});
