import OpenAI, { APIConnectionError, APIUserAbortError, AuthenticationError, BadRequestError, NotFoundError } from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { expectedAnswer } from "../engine/text.ts";
import { engineYaml, World } from "./world.ts";

let world: World;
let client: OpenAI;

const messages = [{ role: "user" as const, content: "Tell me about ropes." }];

beforeAll(async () => {
  world = await World.start();
  await world.apply("ropes", engineYaml("ropes"));
  await world.ready("ropes", 1);
  client = new OpenAI({ baseURL: world.up.endpoint, apiKey: world.up.apiKey });
});
afterAll(() => world?.stop());

describe("the official openai client, unmodified", () => {
  test("gets a chat completion, token for token", async () => {
    const oracle = expectedAnswer({ model: "ropes", messages }, { model: "ropes" });
    const answer = await client.chat.completions.create({ model: "ropes", messages });
    expect(answer.choices[0]?.message.content).toBe(oracle.choices[0]?.content);
    expect(answer.usage?.completion_tokens).toBe(oracle.usage.completion_tokens);
  });

  test("streams a chat completion, token for token", async () => {
    const oracle = expectedAnswer({ model: "ropes", messages }, { model: "ropes" });
    let text = "";
    let finish: string | null | undefined;
    for await (const chunk of await client.chat.completions.create({ model: "ropes", messages, stream: true })) {
      text += chunk.choices[0]?.delta.content ?? "";
      finish = chunk.choices[0]?.finish_reason ?? finish;
    }
    expect(text).toBe(oracle.choices[0]?.content);
    expect(finish).toBe(oracle.choices[0]?.finishReason);
  });

  test("accumulates a stream with its own helper", async () => {
    const stream = client.chat.completions.stream({ model: "ropes", messages, stream_options: { include_usage: true } });
    const final = await stream.finalChatCompletion();
    expect(final.choices[0]?.message.content).toBe(expectedAnswer({ model: "ropes", messages }, { model: "ropes" }).choices[0]?.content);
    expect(final.usage?.total_tokens).toBeGreaterThan(0);
  });

  test("completes text, embeds and lists models", async () => {
    const completion = await client.completions.create({ model: "ropes", prompt: "Once", max_tokens: 8 });
    expect(completion.choices[0]?.text.length).toBeGreaterThan(0);
    const embedding = await client.embeddings.create({ model: "ropes", input: ["a", "b"] });
    expect(embedding.data).toHaveLength(2);
    const models = [];
    for await (const model of client.models.list()) models.push(model.id);
    expect(models).toEqual(["ropes"]);
    expect((await client.models.retrieve("ropes")).id).toBe("ropes");
  });

  test("throws its own error classes, with the request's id", async () => {
    const thrown = async (work: Promise<unknown>): Promise<unknown> => work.then(() => undefined, (error: unknown) => error);
    const unknown = await thrown(client.chat.completions.create({ model: "nobody", messages }));
    expect(unknown).toBeInstanceOf(NotFoundError);
    expect(unknown).toMatchObject({ code: "model_not_found", param: "model", requestID: expect.stringMatching(/^req_/) });
    expect(await thrown(new OpenAI({ baseURL: world.up.endpoint, apiKey: "fl_wrong" }).models.list())).toBeInstanceOf(AuthenticationError);
    expect(await thrown(client.chat.completions.create({ model: "ropes", messages: "none" as never }))).toBeInstanceOf(BadRequestError);
    expect(await thrown(client.post("/chat/completions", { body: Buffer.from("{"), headers: { "content-type": "application/json" } }))).toMatchObject({ status: 400, code: "invalid_json" });
    expect(unknown).not.toBeInstanceOf(APIConnectionError);
  });

  test("aborts a request", async () => {
    const controller = new AbortController();
    const work = client.chat.completions.create({ model: "ropes", messages, stream: true }, { signal: controller.signal, headers: { "x-sim-fail": "hang" } });
    setTimeout(() => controller.abort(), 50);
    await expect(work).rejects.toBeInstanceOf(APIUserAbortError);
  });
});
