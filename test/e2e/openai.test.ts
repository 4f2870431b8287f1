import { createHash, randomBytes } from "node:crypto";
import OpenAI, { APIConnectionTimeoutError, APIError, APIUserAbortError, AuthenticationError, BadRequestError, InternalServerError, NotFoundError, RateLimitError } from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import type { Body } from "../engine/ask.ts";
import { embed } from "../engine/embeddings.ts";
import { encode, expectedAnswer, type Expected } from "../engine/text.ts";
import { bothWays, calm, CountedFetch, costOf, order, seen, type BothWays } from "./upstreams.ts";

type Way = "owned" | "rented";
type Messages = OpenAI.ChatCompletionMessageParam[];

/** "Within a second" (failure model, row 26), and what a busy machine takes to notice. */
const cancelMs = 1_500;

let both: BothWays;
let client: OpenAI;
/** A client whose own repetitions are counted. */
let counting: OpenAI;
const counted = new CountedFetch();

const messages: Messages = [{ role: "user", content: "Tell me about ropes." }];
const engine = (way: Way): string => both.engines[way];
const oracle = (way: Way, body: object): Expected => expectedAnswer(body as Body, { model: way });
const thrown = async (work: Promise<unknown>): Promise<unknown> => work.then(() => undefined, (error: unknown) => error);

beforeAll(async () => {
  both = await bothWays();
  const { endpoint: baseURL, apiKey } = both.world.up;
  client = new OpenAI({ baseURL, apiKey });
  counting = new OpenAI({ baseURL, apiKey, fetch: counted.fetch });
});
afterAll(() => both?.stop());

const knotParameters = { type: "object", properties: { knot: { type: "string", enum: ["bowline", "clove hitch"] }, turns: { type: "integer" } }, required: ["knot", "turns"], additionalProperties: false };
const depthParameters = { type: "object", properties: { harbour: { type: "string" } }, required: ["harbour"], additionalProperties: false };
const tools = [
  { type: "function" as const, function: { name: "tie", description: "Ties a knot", parameters: knotParameters } },
  { type: "function" as const, function: { name: "depth", description: "Depth of a harbour", parameters: depthParameters } },
];

const report = z.object({ ship: z.string(), crew: z.array(z.string()), knots: z.number(), anchored: z.boolean(), flag: z.enum(["red", "green"]) });

describe.each<Way>(["owned", "rented"])("the official openai client, unmodified, and a model that is %s", (model) => {
  test("gets a chat completion, token for token, with the request's id", async () => {
    const expected = oracle(model, { messages });
    const { data, request_id: id } = await client.chat.completions.create({ model, messages }).withResponse();
    expect(data.choices[0]?.message.content).toBe(expected.choices[0]?.content);
    expect(data.usage).toMatchObject(expected.usage);
    expect(id).toMatch(/^req_/);
  });

  test("streams a chat completion, token for token", async () => {
    const expected = oracle(model, { messages });
    let text = "";
    let finish: string | null | undefined;
    for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
      text += chunk.choices[0]?.delta.content ?? "";
      finish = chunk.choices[0]?.finish_reason ?? finish;
    }
    expect(text).toBe(expected.choices[0]?.content);
    expect(finish).toBe(expected.choices[0]?.finishReason);
  });

  test("accumulates a stream of several choices with its own helper, usage included", async () => {
    const expected = oracle(model, { messages, n: 2 });
    const final = await client.chat.completions.stream({ model, messages, n: 2, stream_options: { include_usage: true } }).finalChatCompletion();
    expect(final.choices.map(({ message }) => message.content)).toEqual(expected.choices.map(({ content }) => content));
    expect(final.usage).toMatchObject(expected.usage);
  });

  test("completes text, streamed and not", async () => {
    const body = { model, prompt: ["Once", "Twice"], max_tokens: 8 };
    const texts = oracle(model, body).choices.map(({ text }) => text);
    expect((await client.completions.create(body)).choices.map(({ text }) => text)).toEqual(texts);
    const streamed = ["", ""];
    for await (const { choices } of await client.completions.create({ ...body, stream: true })) for (const { index, text } of choices) streamed[index] += text;
    expect(streamed).toEqual(texts);
  });

  test("embeds, as floats and as the base64 that it asks for by itself", async () => {
    const expected = ["a rope", "a line"].map((text) => embed(encode(text), { name: model, seed: 0 }));
    const decoded = (await client.embeddings.create({ model, input: ["a rope", "a line"] })).data.map(({ embedding }) => embedding);
    expect(decoded).toEqual(expected.map((vector) => [...new Float32Array(vector)]));
    expect((await client.embeddings.create({ model, input: "a rope", encoding_format: "float" })).data[0]?.embedding).toEqual(expected[0]);
  });

  test("gets tool calls, whole and streamed, as the model made them", async () => {
    const body = { model, messages: [{ role: "user" as const, content: "Use your tools." }], tools };
    const expected = oracle(model, body).choices[0];
    expect(expected?.toolCalls.map(({ name }) => name)).toEqual(["tie", "depth"]);
    const wanted = expected?.toolCalls.map(({ id, name, arguments: text }) => ({ id, type: "function", function: { name, arguments: text } }));
    const whole = (await client.chat.completions.create(body)).choices[0];
    expect([whole?.finish_reason, whole?.message.content, whole?.message.tool_calls]).toEqual(["tool_calls", null, wanted]);
    const streamed = (await client.chat.completions.stream(body).finalChatCompletion()).choices[0];
    expect([streamed?.finish_reason, streamed?.message.tool_calls]).toMatchObject(["tool_calls", wanted]);
  });

  test.each([false, true])("runs tools and goes on with their results (streamed: %s)", async (stream) => {
    const called: unknown[] = [];
    const run = (name: string) => (args: object) => {
      called.push([name, args]);
      return `${name} done: é ⚓`;
    };
    const own = tools.map(({ type, function: { name, description, parameters } }) => ({ type, function: { name, description, parameters, parse: JSON.parse as (text: string) => object, function: run(name) } }));
    const body = { model, messages: [{ role: "user" as const, content: "Use your tools." }], tools: own };
    const runner = stream ? client.chat.completions.runTools({ ...body, stream }) : client.chat.completions.runTools(body);
    const text = await runner.finalContent();
    // what the engine was asked is the oracle's question: the client adds to its tools what it likes
    const [first, last] = (await seen(engine(model))).last.slice(-2).map((entry) => JSON.parse(entry.body) as Body);
    const calls = oracle(model, first ?? {}).choices[0]?.toolCalls ?? [];
    expect(calls).toHaveLength(2);
    expect(called).toEqual(calls.map(({ name, arguments: given }) => [name, JSON.parse(given)]));
    expect(last?.messages).toMatchObject([
      body.messages[0],
      { role: "assistant", tool_calls: calls.map(({ id, name, arguments: given }) => ({ id, function: { name, arguments: given } })) },
      ...calls.map(({ id, name }) => ({ role: "tool", tool_call_id: id, content: `${name} done: é ⚓` })),
    ]);
    expect(text).toBe(oracle(model, last ?? {}).choices[0]?.content);
  });

  test("sends images byte for byte, small and large", async () => {
    const images = [64, 1_000_000].map((size) => `data:image/png;base64,${randomBytes(size).toString("base64")}`);
    const asked: Messages = [{ role: "user", content: [{ type: "text", text: "What is this?" }, ...images.map((url) => ({ type: "image_url" as const, image_url: { url, detail: "low" as const } }))] }];
    const answer = await client.chat.completions.create({ model, messages: asked });
    const entry = (await seen(engine(model))).last.at(-1);
    expect(entry?.imageSha256).toEqual(images.map((url) => createHash("sha256").update(url).digest("hex")));
    expect(entry?.bodyBytes).toBe(Buffer.byteLength(JSON.stringify({ model, messages: asked })));
    expect(answer.choices[0]?.message.content).toBe(oracle(model, { messages: asked }).choices[0]?.content);
  });

  test("parses structured outputs by its schema, and JSON mode", async () => {
    const format = zodResponseFormat(report, "report");
    const expected = oracle(model, { messages, response_format: format }).choices[0]?.content ?? "";
    const parsed = await client.chat.completions.parse({ model, messages, response_format: format });
    expect(parsed.choices[0]?.message.parsed).toEqual(report.parse(JSON.parse(expected)));
    const streamed = await client.chat.completions.stream({ model, messages, response_format: format }).finalChatCompletion();
    expect(streamed.choices[0]?.message.parsed).toEqual(parsed.choices[0]?.message.parsed);
    const json = await client.chat.completions.create({ model, messages, response_format: { type: "json_object" } });
    expect(json.choices[0]?.message.content).toBe(oracle(model, { messages, response_format: { type: "json_object" } }).choices[0]?.content);
    expect(JSON.parse(json.choices[0]?.message.content ?? "")).toBeTypeOf("object");
  });

  // a request that is not streamed is no test of this: ADR 1 says why a self-hosted workerd does not notice
  test.each([["before the first token", "hang", 0], ["in the middle of an answer", "stall@3", 3]])("that leaves %s is noticed by the engine within a second", async (_, spec, tokens) => {
    const before = await seen(engine(model));
    const controller = new AbortController();
    const over = thrown((async () => {
      for await (const chunk of await client.chat.completions.create({ model, messages, stream: true }, { signal: controller.signal, headers: { "x-sim-fail": spec } })) void chunk;
    })());
    await seen(engine(model), `requests:${before.requests + 1},tokens:${before.tokens + tokens}`);
    controller.abort();
    await seen(engine(model), `aborted:${before.aborted + 1}`, cancelMs);
    // an iterator that its own signal ends is over, without an error
    const error = await over;
    if (error !== undefined) expect(error).toBeInstanceOf(APIUserAbortError);
    expect((await seen(engine(model))).requests).toBe(before.requests + 1);
  });

  test("that stops reading in the middle is noticed by the engine within a second", async () => {
    const before = await seen(engine(model));
    const endless = { model, messages, stream: true as const, max_tokens: 2_000, ignore_eos: true };
    for await (const chunk of await client.chat.completions.create(endless)) if ((chunk.choices[0]?.delta.content ?? "") !== "") break;
    await seen(engine(model), `aborted:${before.aborted + 1}`, cancelMs);
  });

  test("that runs out of patience says so, and the engine is left", async () => {
    const before = await seen(engine(model));
    const error = await thrown(client.chat.completions.create({ model, messages, stream: true }, { timeout: 300, maxRetries: 0, headers: { "x-sim-fail": "hang" } }));
    expect(error).toBeInstanceOf(APIConnectionTimeoutError);
    await seen(engine(model), `aborted:${before.aborted + 1}`, cancelMs);
  });
});

describe("the official openai client and what goes wrong", () => {
  test("it lists and retrieves models", async () => {
    const models = [];
    for await (const model of client.models.list()) models.push(model.id);
    expect(models.toSorted()).toEqual(["owned", "rented"]);
    expect((await client.models.retrieve("owned")).id).toBe("owned");
  });

  test("a caller's mistake is its own error class, with the request's id, and is sent once", async () => {
    const before = await seen(engine("rented"));
    counted.sent = 0;
    const told = { requestID: expect.stringMatching(/^req_/) as unknown, headers: expect.any(Headers) as unknown };
    const unknown = await thrown(counting.chat.completions.create({ model: "nobody", messages }));
    expect(unknown).toBeInstanceOf(NotFoundError);
    expect(unknown).toMatchObject({ ...told, code: "model_not_found", param: "model", type: "invalid_request_error" });
    const longest = await thrown(counting.chat.completions.create({ model: "rented", messages, max_tokens: 40_000 }));
    expect(longest).toBeInstanceOf(BadRequestError);
    expect(longest).toMatchObject({ ...told, code: "context_length_exceeded" });
    const shapeless = await thrown(counting.chat.completions.create({ model: "rented", messages: "none" as never }));
    expect(shapeless).toBeInstanceOf(BadRequestError);
    expect(shapeless).toMatchObject(told);
    const broken = await thrown(counting.post("/chat/completions", { body: Buffer.from("{"), headers: { "content-type": "application/json" } }));
    expect(broken).toMatchObject({ ...told, status: 400, code: "invalid_json" });
    const stranger = await thrown(new OpenAI({ baseURL: both.world.up.endpoint, apiKey: "fl_wrong" }).models.list());
    expect(stranger).toBeInstanceOf(AuthenticationError);
    expect(stranger).toMatchObject({ ...told, code: "invalid_api_key" });
    for (const error of [unknown, longest, shapeless, broken, stranger]) expect((error as APIError).headers?.get("x-should-retry")).toBe("false");
    expect(counted.sent).toBe(4);
    // of these only the one that is too long, and the one without messages, can have come so far, each once
    expect((await seen(engine("rented"))).requests - before.requests).toBeLessThanOrEqual(2);
  });

  test("an upstream's failure is its own error class when nothing is left, with when to come back", async () => {
    const model = await both.rent("class-of-failure");
    const once = { maxRetries: 0 };
    await order(engine("rented"), "status=429:retry-after=20");
    const limited = await thrown(client.chat.completions.create({ model, messages }, once));
    expect(limited).toBeInstanceOf(RateLimitError);
    expect(limited).toMatchObject({ code: "saturated", requestID: expect.stringMatching(/^req_/) as unknown });
    expect(Number((limited as APIError).headers?.get("retry-after"))).toBeGreaterThan(15);
    const failing = await both.rent("class-of-error");
    await order(engine("rented"), "status=503");
    const failed = await thrown(client.chat.completions.create({ model: failing, messages }, once));
    expect(failed).toBeInstanceOf(InternalServerError);
    expect(failed).toMatchObject({ status: 502, code: "provider_error", requestID: expect.stringMatching(/^req_/) as unknown });
  });

  test.each([
    // longer than a request waits at the edge, shorter than a client gives up
    ["429", "limited", "status=429:retry-after=3", 2_900],
    ["503", "unavailable", "status=503", 950],
  ])("a %s is waited for as long as it says, and repeated once", async (_, name, spec, msMin) => {
    const model = await both.rent(name);
    await order(engine("rented"), spec);
    const { result, sent, requests, ms } = await costOf(counted, engine("rented"), async () => counting.chat.completions.create({ model, messages }));
    expect(result.choices[0]?.message.content).toBe(oracle("rented", { messages }).choices[0]?.content);
    expect(ms).toBeGreaterThanOrEqual(msMin);
    // the edge keeps the promise too: nothing is sent before the time is over
    expect([sent, requests]).toEqual([2, 2]);
  });

  test("a failure that lasts is given up after three attempts, and costs the engine no more", async () => {
    const model = await both.rent("lasting");
    await order(engine("rented"), "status=503", 10);
    const { result: error, sent, requests } = await costOf(counted, engine("rented"), () => thrown(counting.chat.completions.create({ model, messages })));
    await calm(engine("rented"));
    expect(error).toBeInstanceOf(InternalServerError);
    expect(sent).toBe(3);
    expect(requests).toBeLessThanOrEqual(3);
  });

  test("a stream that is lost in the middle is an error of its own class, and never the end", async () => {
    const model = await both.rent("lost", "  routing: {on_stream_loss: error}\n");
    for (const [spec, code] of [["rst@5", "provider_unreachable"], ["error@5", "provider_error"]] as const) {
      await order(engine("rented"), spec);
      let text = "";
      const error = await thrown((async () => {
        for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) text += chunk.choices[0]?.delta.content ?? "";
      })());
      expect(error).toBeInstanceOf(APIError);
      expect(error).toMatchObject({ code, type: "server_error" });
      expect(text).not.toBe("");
      expect(oracle("rented", { messages }).choices[0]?.content?.startsWith(text)).toBe(true);
    }
  });
});
