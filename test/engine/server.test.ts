import { afterAll, expect, test } from "vitest";
import type { Body } from "./ask.ts";
import { startEngine } from "./server.ts";
import type { Running } from "./server.ts";
import { settings } from "./settings.ts";
import type { Settings } from "./settings.ts";
import { encode, expectedAnswer } from "./text.ts";

const MODEL = "demo";
const running: Running[] = [];
const deaths: string[] = [];

async function engine(given: Partial<Settings> = {}): Promise<Running> {
  const one = await startEngine(settings({ model: MODEL, ttftMs: 0, itlMs: 0, ...given }), () => deaths.push("died"));
  running.push(one);
  return one;
}

const shared = await engine({ promptTokensDetails: true, devMode: true });
afterAll(async () => {
  await Promise.all(running.map(async (one) => one.stop()));
});

interface Choice {
  index: number;
  text: string;
  delta: { role?: string; content?: string; reasoning_content?: string; tool_calls?: { index: number; id?: string; function: { name?: string; arguments: string } }[] };
  message: { content: string | null; reasoning_content?: string; tool_calls?: { function: { name: string; arguments: string } }[] };
  finish_reason: string | null;
  stop_reason?: string | number | null;
  token_ids?: number[];
  prompt_token_ids?: number[];
  logprobs: { content: unknown[]; tokens: string[]; top_logprobs: unknown[] } | null;
}
interface Frame {
  id: string;
  object: string;
  model: string;
  choices: Choice[];
  usage?: Record<string, unknown> | null;
  prompt_token_ids?: number[];
  error?: { message: string; type: string; param: string | null; code: number };
  data: { id: string; embedding: number[] | string }[];
}
type Headers = Record<string, string>;

const ask = (content: string, more: object = {}): Body => ({ model: MODEL, messages: [{ role: "user", content }], ...more });

async function post(path: string, body: object, headers: Headers = {}, to = shared): Promise<Response> {
  return fetch(to.url + path, { method: "POST", headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) });
}

async function whole(path: string, body: object, headers: Headers = {}, to = shared): Promise<Frame> {
  const response = await post(path, body, headers, to);
  return (await response.json()) as Frame;
}

/** Reads a stream to its end, whatever end that is. */
async function stream(path: string, body: object, headers: Headers = {}, to = shared): Promise<{ events: string[]; frames: Frame[]; done: boolean; error: unknown }> {
  const response = await post(path, { ...body, stream: true }, headers, to);
  let text = "";
  let error: unknown;
  const decoder = new TextDecoder("utf-8", { fatal: true });
  try {
    for await (const chunk of response.body ?? []) text += decoder.decode(chunk, { stream: true });
  } catch (caught) {
    error = caught;
  }
  const events = text.split("\n\n").filter((event) => event !== "").map((event) => event.replace(/^data: /, ""));
  const done = events.at(-1) === "[DONE]";
  const frames = events.flatMap((event) => {
    try {
      return [JSON.parse(event) as Frame];
    } catch {
      return [];
    }
  });
  return { events, frames, done, error };
}

const contentOf = (frames: Frame[]): string => frames.map((frame) => frame.choices?.[0]?.delta.content ?? "").join("");
const CHAT = "/v1/chat/completions";
const TEXT = "/v1/completions";
const oracle = (body: Body, options: object = {}): ReturnType<typeof expectedAnswer> => expectedAnswer(body, { model: MODEL, ...options });

test("a whole chat is what the oracle says", async () => {
  const body = ask("hello");
  const { choices, usage, object, id } = await whole(CHAT, body, { "x-request-id": "abc" });
  const expected = oracle(body);
  expect(object).toBe("chat.completion");
  expect(id).toBe("chatcmpl-abc");
  expect(choices[0]).toMatchObject({ message: { role: "assistant", content: expected.choices[0]?.content }, finish_reason: "stop" });
  expect(usage).toMatchObject(expected.usage);
});

test("a streamed chat: role first, text in order, finish in the last choice, [DONE], no usage unasked", async () => {
  const body = ask("stream please");
  const { frames, done } = await stream(CHAT, body);
  expect(frames[0]?.choices[0]?.delta).toEqual({ role: "assistant", content: "" });
  expect(contentOf(frames)).toBe(oracle(body).choices[0]?.content);
  expect(frames.map((frame) => frame.choices[0]?.finish_reason)).toEqual([...frames.slice(1).map(() => null), "stop"]);
  expect(new Set(frames.map((frame) => frame.id)).size).toBe(1);
  expect(frames.every((frame) => !("usage" in frame))).toBe(true);
  expect(done).toBe(true);
});

test.each([CHAT, TEXT])("%s with include_usage: null on each frame, then a frame without choices", async (path) => {
  const body = { ...(path === CHAT ? ask("count") : { prompt: "count" }), stream: true, stream_options: { include_usage: true } };
  const { frames } = await stream(path, body);
  expect(frames.slice(0, -1).every((frame) => frame.usage === null)).toBe(true);
  expect(frames.at(-1)?.choices).toEqual([]);
  expect(frames.at(-1)?.usage).toMatchObject(oracle(body).usage);
});

test("return_token_ids: prompt ids once, and all ids of the answer, resumable from any", async () => {
  const body = ask("give me ids", { return_token_ids: true });
  const { frames } = await stream(CHAT, body);
  const expected = oracle(body).choices[0];
  expect(frames[0]?.prompt_token_ids).toEqual(expected?.promptTokenIds);
  const ids = frames.flatMap((frame) => frame.choices[0]?.token_ids ?? []);
  expect(ids).toEqual(expected?.tokenIds);
  const rest = await stream(TEXT, { prompt: [...(expected?.promptTokenIds ?? []), ...ids.slice(0, 10)], max_tokens: 500, return_token_ids: true, add_special_tokens: false });
  expect(rest.frames.flatMap((frame) => frame.choices[0]?.token_ids ?? [])).toEqual(ids.slice(10));
  expect(rest.frames[0]?.choices[0]?.prompt_token_ids).toHaveLength((expected?.promptTokenIds.length ?? 0) + 10);
});

test("continue_final_message continues the text", async () => {
  const text = oracle(ask("hello")).choices[0]?.content ?? "";
  const cut = text.indexOf(" ", 20);
  const messages = [{ role: "user", content: "hello" }, { role: "assistant", content: text.slice(0, cut) }];
  const more = { continue_final_message: true, add_generation_prompt: false };
  expect((await whole(CHAT, { messages, ...more })).choices[0]?.message.content).toBe(text.slice(cut));
  expect((await whole(CHAT, { messages, ...more, echo: true })).choices[0]?.message.content).toBe(text);
});

test.each([
  ["a text", "one two", 1],
  ["texts", ["one two", "three"], 2],
  ["token ids", encode("one two"), 1],
  ["lists of token ids", [encode("one two"), encode("three")], 2],
])("completions take %s", async (_, prompt, choices) => {
  const body: Body = { prompt, max_tokens: 5, n: 2 };
  const answer = await whole(TEXT, body);
  expect(answer.choices.map((choice) => choice.text)).toEqual(oracle(body).choices.map((choice) => choice.text));
  expect(answer.choices).toHaveLength(choices * 2);
  const { frames } = await stream(TEXT, body);
  for (const expected of oracle(body).choices) {
    const own = frames.flatMap((frame) => frame.choices).filter((choice) => choice.index === expected.index);
    expect(own.map((choice) => choice.text).join("")).toBe(expected.text);
    expect(own.at(-1)?.finish_reason).toBe("length");
  }
});

test("completions default to 16 tokens and can echo", async () => {
  expect((await whole(TEXT, { prompt: "x" })).usage).toMatchObject({ completion_tokens: 16 });
  const body = { prompt: "say ", echo: true, max_tokens: 3, logprobs: 1 };
  const { choices } = await whole(TEXT, body);
  expect(choices[0]?.text).toBe(oracle(body).choices[0]?.text);
  expect(choices[0]?.logprobs?.tokens.join("")).toBe(choices[0]?.text);
  expect((await whole(TEXT, { prompt: "say", echo: true, max_tokens: 0 })).choices[0]?.text).toBe("say");
});

test("stop strings are cut and named", async () => {
  const text = oracle(ask("stop")).choices[0]?.content ?? "";
  const stop = text.slice(30, 36);
  const { frames } = await stream(CHAT, ask("stop", { stop }));
  expect(contentOf(frames)).toBe(text.slice(0, text.indexOf(stop)));
  expect(frames.at(-1)?.choices[0]).toMatchObject({ finish_reason: "stop", stop_reason: stop });
});

test("chat logprobs: one entry a token", async () => {
  const { choices } = await whole(CHAT, ask("logs", { logprobs: true, top_logprobs: 2, max_tokens: 4 }));
  expect(choices[0]?.logprobs?.content).toHaveLength(4);
  expect(choices[0]?.logprobs?.content[0]).toMatchObject({ token: expect.any(String) as string, logprob: expect.any(Number) as number, bytes: expect.any(Array) as number[] });
});

const tools = ["get_weather", "get_tide"].map((name) => ({ type: "function", function: { name, parameters: { type: "object", properties: { port: { type: "string" }, days: { type: "integer" } } } } }));

test("streamed tool calls: id and name once, arguments join to JSON", async () => {
  const body = ask("use the tools", { tools });
  const { frames } = await stream(CHAT, body);
  const deltas = frames.flatMap((frame) => frame.choices[0]?.delta.tool_calls ?? []);
  for (const index of [0, 1]) {
    const own = deltas.filter((delta) => delta.index === index);
    expect(own[0]).toMatchObject({ type: "function", function: { name: tools[index]?.function.name } });
    expect(own.slice(1).every((delta) => !("id" in delta) && !("name" in delta.function))).toBe(true);
    expect(Object.keys(JSON.parse(own.map((delta) => delta.function.arguments).join("")) as object)).toEqual(["port", "days"]);
  }
  expect(contentOf(frames)).toBe("");
  expect(frames.at(-1)?.choices[0]?.finish_reason).toBe("tool_calls");
  const { choices } = await whole(CHAT, body);
  expect(choices[0]).toMatchObject({ message: { content: null }, finish_reason: "tool_calls" });
  expect(choices[0]?.message.tool_calls?.map((call) => call.function.arguments)).toEqual(oracle(body).choices[0]?.toolCalls.map((call) => call.arguments));
});

test("json_object is JSON", async () => {
  const { choices } = await whole(CHAT, ask("x", { response_format: { type: "json_object" } }));
  expect(JSON.parse(choices[0]?.message.content ?? "")).toBeTypeOf("object");
});

test("reasoning comes first, apart", async () => {
  const thinker = await engine({ reasoning: true });
  const { frames } = await stream(CHAT, ask("think", { return_token_ids: true }), {}, thinker);
  const expected = oracle(ask("think"), { reasoning: true }).choices[0];
  expect(frames.map((frame) => frame.choices[0]?.delta.reasoning_content ?? "").join("")).toBe(expected?.reasoning);
  expect(contentOf(frames)).toBe(expected?.content);
  expect(frames.flatMap((frame) => frame.choices[0]?.token_ids ?? [])).toEqual(expected?.tokenIds);
  expect((await whole(CHAT, ask("think"), {}, thinker)).choices[0]?.message.reasoning_content).toBe(expected?.reasoning);
});

test("images are accepted, counted, and change the answer", async () => {
  const before = shared.engine.log.stats.images;
  const look = (url: string): Body => ({ messages: [{ role: "user", content: [{ type: "text", text: "look" }, { type: "image_url", image_url: { url } }] }] });
  const [one, other] = [await whole(CHAT, look("data:image/png;base64,AA")), await whole(CHAT, look("data:image/png;base64,BB"))];
  expect(one.choices[0]?.message.content).not.toBe(other.choices[0]?.message.content);
  expect(shared.engine.log.stats.images).toBe(before + 2);
  // printf data:image/png\;base64,BB | sha256sum
  expect(shared.engine.log.last.at(-1)?.imageSha256).toEqual(["68caea10229b5ef98fa22497fc741344043a6999c0f23c6e22fa48586196ac82"]);
});

test("embeddings are unit vectors, equal as floats and as base64", async () => {
  const body = { model: MODEL, input: ["one", "two", "one"] };
  const floats = (await whole("/v1/embeddings", body)).data.map((row) => row.embedding as number[]);
  const packed = (await whole("/v1/embeddings", { ...body, encoding_format: "base64" })).data.map((row) => Buffer.from(row.embedding as string, "base64"));
  expect(Math.hypot(...(floats[0] ?? []))).toBeCloseTo(1);
  expect(floats[0]).toEqual(floats[2]);
  expect(floats[0]).not.toEqual(floats[1]);
  expect(packed[1]?.readFloatLE(4)).toBeCloseTo(floats[1]?.[1] ?? NaN);
});

const REFUSED: [string, string, object, number, string | null][] = [
  ["no messages", CHAT, { model: MODEL }, 400, "messages"],
  ["empty messages", CHAT, { model: MODEL, messages: [] }, 400, "messages"],
  ["an unknown model", CHAT, ask("x", { model: "nobody" }), 404, "model"],
  ["too long", CHAT, ask("x", { max_tokens: 40_000 }), 400, "messages"],
  ["null encoding_format", CHAT, ask("x", { encoding_format: null }), 400, "encoding_format"],
  ["null encoding_format", "/v1/embeddings", { input: "x", encoding_format: null }, 400, "encoding_format"],
  ["max_tokens 0", CHAT, ask("x", { max_tokens: 0 }), 400, "max_tokens"],
  ["stream_options without stream", CHAT, ask("x", { stream_options: { include_usage: true } }), 400, "stream_options"],
  ["a token out of vocabulary", TEXT, { prompt: [1_000_000] }, 400, "prompt"],
  ["no prompt", TEXT, { model: MODEL }, 400, "prompt"],
  ["an unknown path", "/v1/nothing", {}, 404, null],
];
test.each(REFUSED)("refuses %s (%s)", async (_, path, body, status, param) => {
  const response = await post(path, body);
  expect(response.status).toBe(status);
  expect(await response.json()).toEqual({ error: { message: expect.any(String) as string, type: expect.any(String) as string, param, code: status } });
});

test("refuses what is not JSON", async () => {
  const response = await fetch(shared.url + CHAT, { method: "POST", headers: { "content-type": "application/json" }, body: "{" });
  expect(response.status).toBe(400);
});

test("models, health, version, load", async () => {
  const get = async (path: string): Promise<Response> => fetch(shared.url + path);
  expect(((await (await get("/v1/models")).json()) as Frame).data.map((card) => card.id)).toEqual([MODEL]);
  expect(await (await get(`/v1/models/${MODEL}`)).json()).toMatchObject({ id: MODEL, object: "model" });
  expect((await get("/v1/models/nobody")).status).toBe(404);
  expect((await get("/health")).status).toBe(200);
  expect((await get("/ping")).status).toBe(200);
  expect(await (await get("/version")).json()).toHaveProperty("version");
  expect(await (await get("/load")).json()).toEqual({ server_load: 0 });
});

test("tokenize gives a chat's prompt ids, detokenize its text", async () => {
  const { tokens, count } = (await (await post("/tokenize", ask("hello"))).json()) as { tokens: number[]; count: number };
  expect(tokens).toEqual(oracle(ask("hello")).choices[0]?.promptTokenIds);
  expect(count).toBe(tokens.length);
  expect(await (await post("/detokenize", { tokens })).json()).toEqual({ prompt: "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n" });
});

test("metrics count what was served, under vLLM's names", async () => {
  const one = await engine({ kvBlocks: 100 });
  const body = ask("a prompt that is long enough to fill some blocks of the prefix cache");
  const { usage } = oracle(body);
  await whole(CHAT, body, {}, one);
  await whole(CHAT, body, {}, one);
  const text = await (await fetch(`${one.url}/metrics`)).text();
  const value = (name: string): number => Number(new RegExp(`^vllm:${name}\\{[^}]*\\} (.*)$`, "m").exec(text)?.[1]);
  expect(text).toContain(`vllm:num_requests_running{engine="0",model_name="${MODEL}"} 0.0`);
  expect(value("prompt_tokens_total")).toBe(2 * usage.prompt_tokens);
  expect(value("generation_tokens_total")).toBe(2 * usage.completion_tokens);
  expect(value("prefix_cache_queries_total")).toBe(2 * usage.prompt_tokens);
  expect(value("prefix_cache_hits_total")).toBe(Math.floor((usage.prompt_tokens - 1) / 16) * 16);
  expect(value("time_to_first_token_seconds_count")).toBe(2);
  expect(value("inter_token_latency_seconds_count")).toBe(2 * (usage.completion_tokens - 1));
  expect(text).toMatch(/cache_config_info\{block_size="16".*num_gpu_blocks="100"\} 1\.0/);
  expect(text).toMatch(/request_success_total\{.*finished_reason="stop"\} 2\.0/);
});

test("cached tokens show in usage when asked of the engine", async () => {
  const body = ask("the same long prompt twice so that some whole blocks of it are found in the cache");
  await whole(CHAT, body);
  const { usage } = await whole(CHAT, body);
  expect(usage?.prompt_tokens_details).toEqual({ cached_tokens: Math.floor((oracle(body).usage.prompt_tokens - 1) / 16) * 16 });
});

test("with its slots taken an engine queues, in order", async () => {
  const one = await engine({ slots: 1, itlMs: 1 });
  const first = new AbortController();
  const held = fetch(one.url + CHAT, { method: "POST", headers: { "content-type": "application/json", "x-sim-fail": "stall@1" }, body: JSON.stringify(ask("first", { stream: true })), signal: first.signal });
  await (await held).body?.getReader().read();
  const second = whole(CHAT, ask("second"), {}, one);
  expect((await fetch(`${one.url}/_sim/stats?until=waiting:1`)).status).toBe(200);
  expect(await (await fetch(`${one.url}/load`)).json()).toEqual({ server_load: 2 });
  first.abort();
  expect((await second).choices[0]?.message.content).toBe(oracle(ask("second")).choices[0]?.content);
  expect(one.engine.log.stats).toMatchObject({ aborted: 1, finished: 1, inFlight: 0, running: 0, waiting: 0 });
});

test("a client that leaves ends its sequence at once", async () => {
  const one = await engine({ itlMs: 20 });
  const leave = new AbortController();
  const response = await fetch(one.url + CHAT, { method: "POST", headers: { "content-type": "application/json", "X-Custom": "Yes" }, body: JSON.stringify(ask("long", { stream: true, ignore_eos: true, max_tokens: 5000 })), signal: leave.signal });
  await response.body?.getReader().read();
  leave.abort();
  const stats = (await (await fetch(`${one.url}/_sim/stats?until=aborted:1,running:0`)).json()) as { tokens: number; last: object[] };
  expect(stats.tokens).toBeLessThan(100);
  expect(stats.last[0]).toMatchObject({ path: CHAT, outcome: "aborted", headers: { "x-custom": "Yes" } });
});

const failing = ask("fail me");
const wholeText = oracle(failing).choices[0]?.content ?? "";
const STREAMS: [string, { done: boolean; tokens?: number; broken?: boolean; text?: string; error?: boolean; finish?: boolean }][] = [
  ["rst@3", { done: false, broken: true }],
  ["eof@3", { done: false, tokens: 3, broken: false, finish: false }],
  ["eof@0", { done: false, tokens: 0, broken: false, finish: false }],
  ["error@3", { done: true, tokens: 3, error: true, finish: false }],
  ["garbage@3", { done: true, text: wholeText, finish: true }],
  ["split", { done: true, text: wholeText, finish: true }],
  ["nodone", { done: false, text: wholeText, broken: false, finish: true }],
  ["slow=1ms", { done: true, text: wholeText, finish: true }],
];
test.each(STREAMS)("streamed, %s", async (spec, wanted) => {
  const { events, frames, done, error } = await stream(CHAT, { ...failing, return_token_ids: true }, { "x-sim-fail": spec });
  expect(done).toBe(wanted.done);
  if (wanted.broken !== undefined) expect(error !== undefined).toBe(wanted.broken);
  if (wanted.tokens !== undefined) expect(frames.flatMap((frame) => frame.choices?.[0]?.token_ids ?? [])).toHaveLength(wanted.tokens);
  if (wanted.text !== undefined) expect(contentOf(frames)).toBe(wanted.text);
  if (wanted.error !== undefined) expect(frames.some((frame) => frame.error !== undefined)).toBe(true);
  if (wanted.finish !== undefined) expect(frames.some((frame) => typeof frame.choices?.[0]?.finish_reason === "string")).toBe(wanted.finish);
  expect(events.length - frames.length - Number(done)).toBe(spec.startsWith("garbage") ? 1 : 0);
});

test("split cuts inside characters", async () => {
  const one = await engine();
  const body = ask("cut me", { stream: true, n: 8, min_tokens: 100 });
  const response = await post(CHAT, body, { "x-sim-fail": "split" }, one);
  let inside = 0;
  for await (const chunk of response.body ?? []) if (((chunk as Uint8Array)[0] ?? 0) >= 0x80 && ((chunk as Uint8Array)[0] ?? 0) < 0xc0) inside++;
  expect(inside).toBeGreaterThan(0);
});

test("status, error-body and wrong JSON, whole", async () => {
  const status = await post(CHAT, failing, { "x-sim-fail": "status=503:retry-after=2" });
  expect([status.status, status.headers.get("retry-after")]).toEqual([503, "2"]);
  expect(await status.json()).toHaveProperty("error.code", 503);
  const errorBody = await post(CHAT, failing, { "x-sim-fail": "error-body" });
  expect([errorBody.status, Object.keys((await errorBody.json()) as object)]).toEqual([200, ["error"]]);
  expect((await post(CHAT, failing, { "x-sim-fail": "error@2" })).status).toBe(500);
  for (const spec of ["garbage@2", "eof@2", "short-length"]) {
    const response = await post(CHAT, failing, { "x-sim-fail": spec });
    expect(response.status).toBe(200);
    await expect(response.json()).rejects.toThrow();
  }
  await expect(post(CHAT, failing, { "x-sim-fail": "rst@0" })).rejects.toThrow();
  await expect(post(CHAT, failing, { "x-sim-fail": "rst@2" })).rejects.toThrow();
  const long = await post(CHAT, failing, { "x-sim-fail": "long-length" });
  await expect(long.text()).rejects.toThrow();
});

test.each(["hang", "stall@0", "stall@2", "die@0", "die@2"])("%s never answers to the end", async (spec) => {
  const one = await engine();
  deaths.length = 0;
  const leave = new AbortController();
  const request = fetch(one.url + CHAT, { method: "POST", headers: { "content-type": "application/json", "x-sim-fail": spec }, body: JSON.stringify({ ...failing, stream: true }), signal: leave.signal }).then(async (response) => response.text());
  const tokens = Number(/@(\d)/.exec(spec)?.[1] ?? 0);
  await fetch(`${one.url}/_sim/stats?until=inFlight:1,running:${tokens > 0 ? 1 : 0}`);
  leave.abort();
  await expect(request).rejects.toThrow();
  await fetch(`${one.url}/_sim/stats?until=aborted:1,inFlight:0,running:0`);
  expect(deaths).toHaveLength(spec.startsWith("die") ? 1 : 0);
});

test("die kills only for the deadly text", async () => {
  deaths.length = 0;
  expect((await post(CHAT, failing, { "x-sim-fail": "die" })).status).toBe(200);
  expect(deaths).toHaveLength(0);
  const leave = new AbortController();
  const request = fetch(shared.url + CHAT, { method: "POST", headers: { "content-type": "application/json", "x-sim-fail": "die" }, body: JSON.stringify(ask("now <<die>>")), signal: leave.signal });
  await fetch(`${shared.url}/_sim/stats?until=inFlight:1`);
  leave.abort();
  await expect(request).rejects.toThrow();
  expect(deaths).toHaveLength(1);
});

test("failures can be ordered for the next requests, of a path too", async () => {
  const one = await engine();
  await post("/_sim/fail", { spec: "status=500", count: 2 }, {}, one);
  await post("/_sim/fail", { spec: "status=503", path: "/health" }, {}, one);
  const statuses = [];
  for (const path of [CHAT, CHAT, CHAT]) statuses.push((await post(path, failing, {}, one)).status);
  for (const path of ["/health", "/health"]) statuses.push((await fetch(one.url + path)).status);
  expect(statuses).toEqual([500, 500, 200, 503, 200]);
  expect((await post("/_sim/fail", { spec: "explode" }, {}, one)).status).toBe(400);
});

test("sleep gives up what runs, drops the cache, refuses work until woken; level 2 needs its weights back", async () => {
  const one = await engine({ devMode: true, itlMs: 5 });
  const admin = async (path: string, body: object = {}): Promise<number> => (await post(path, body, {}, one)).status;
  const cut = stream(CHAT, ask("long", { ignore_eos: true, max_tokens: 5000 }), {}, one);
  await fetch(`${one.url}/_sim/stats?until=tokens:2`);
  await admin("/sleep?level=2");
  expect((await cut).frames.at(-1)?.choices[0]?.finish_reason).toBe("abort");
  expect(await (await fetch(`${one.url}/is_sleeping`)).json()).toEqual({ is_sleeping: true });
  expect((await post(CHAT, failing, {}, one)).status).toBe(503);
  await admin("/wake_up");
  expect((await whole(CHAT, failing, {}, one)).choices[0]?.message.content).not.toBe(wholeText);
  await admin("/collective_rpc", { method: "reload_weights" });
  expect((await whole(CHAT, failing, {}, one)).choices[0]?.message.content).toBe(wholeText);
  const plain = await engine();
  expect((await post("/sleep", {}, {}, plain)).status).toBe(404);
});

test("LoRA adapters load, are listed, answer differently, and unload", async () => {
  const one = await engine();
  const load = async (): Promise<Response> => post("/v1/load_lora_adapter", { lora_name: "sea", lora_path: "/adapters/sea" }, {}, one);
  expect((await load()).status).toBe(200);
  expect((await load()).status).toBe(400);
  expect(((await (await fetch(`${one.url}/v1/models`)).json()) as Frame).data.map((card) => card.id)).toEqual([MODEL, "sea"]);
  const own = await whole(CHAT, { ...failing, model: "sea" }, {}, one);
  expect(own.choices[0]?.message.content).toBe(oracle(failing, { model: "sea" }).choices[0]?.content);
  expect((await post("/v1/unload_lora_adapter", { lora_name: "sea" }, {}, one)).status).toBe(200);
  expect((await post(CHAT, { ...failing, model: "sea" }, {}, one)).status).toBe(404);
});

test("an api key guards /v1 only", async () => {
  const one = await engine({ apiKey: "secret" });
  expect((await post(CHAT, failing, {}, one)).status).toBe(401);
  expect((await post(CHAT, failing, { authorization: "Bearer secret" }, one)).status).toBe(200);
  expect((await fetch(`${one.url}/health`)).status).toBe(200);
});

test("stop() cuts what is in flight, or lets it end in the time given", async () => {
  const one = await engine({ itlMs: 5 });
  const cut = stream(CHAT, ask("x", { ignore_eos: true, max_tokens: 5000 }), {}, one);
  await fetch(`${one.url}/_sim/stats?until=tokens:2`);
  await one.stop();
  expect((await cut).error).toBeDefined();
  const other = await engine({ itlMs: 1 });
  const ends = stream(CHAT, failing, {}, other);
  await fetch(`${other.url}/_sim/stats?until=tokens:2`);
  await other.stop(30_000);
  expect((await ends).done).toBe(true);
});
