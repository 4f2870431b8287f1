import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { frameKinds, jsonFrame, readRequestHead, readReset, windowBytes, windowFrame } from "../schema/frames.ts";
import { newKey } from "../schema/key.ts";
import { chat, errorOf, TestRouter } from "../test/worker/router.ts";
import { self, soon, testKey, world } from "../test/worker/world.ts";
import { answerError } from "./app.ts";
import { forgetView } from "./view.ts";

let router: TestRouter;

beforeAll(async () => {
  router = await TestRouter.start();
});
beforeEach(() => router.cold());
afterAll(() => router.stop());

describe("router: answers", () => {
  test("a completion goes to the replica and back untouched, with who served it", async () => {
    const [response, open] = await Promise.all([router.post(chat), router.answerWith({ status: 200, headers: [["content-type", "application/json"], ["server", "engine"], ["set-cookie", "a=1"]] }, '{"ok": true}')]);
    expect(response.status).toBe(200);
    expect(await response.text()).toBe('{"ok": true}');
    expect(Object.fromEntries(response.headers)).toMatchObject({ "x-fairlead-upstream": "replica", "x-fairlead-model": "chat", "x-fairlead-attempts": "1", "x-fairlead-fallback": "false" });
    expect(response.headers.get("x-request-id")).toMatch(/^req_[0-9a-f]{32}$/);
    expect(response.headers.has("server") || response.headers.has("set-cookie")).toBe(false);
    const head = readRequestHead(open);
    expect(head.target).toMatch(/^chat\.local\.\d+$/);
    expect(head.headers.map(([name]) => name)).not.toContain("authorization");
  });

  test("what the caller did wrong is passed on in our words, and not repeated", async () => {
    const [response] = await Promise.all([router.post(chat), router.answerWith({ status: 400 }, '{"error":{"message":"at 0x7f3a","type":"invalid_request_error","param":"temperature","code":null}}')]);
    const answer = await errorOf(response);
    expect(answer).toMatchObject({ status: 400, error: { type: "invalid_request_error", param: "temperature" } });
    expect(answer.error.message).not.toContain("0x7f3a");
    expect(Object.fromEntries(response.headers)).toMatchObject({ "x-fairlead-attempts": "1", "x-should-retry": "false" });
  });

  test("a replica that cannot is a typed error, with a time to come back", async () => {
    const [response] = await Promise.all([router.post(chat), router.answerWith({ status: 429, headers: [["retry-after", "7"]] }, "busy")]);
    expect(await errorOf(response)).toMatchObject({ status: 429, error: { code: "saturated" } });
    expect(response.headers.get("retry-after")).toBe("7");
  });

  test("a warm request makes no call to a Hub or to KV", async () => {
    await Promise.all([router.post(chat), router.answerWith({ status: 200 }, "{}")]);
    const hub = vi.spyOn(world.HUB, "getByName");
    const kv = vi.spyOn(world.CONFIG, "get");
    await Promise.all([router.post(chat), router.answerWith({ status: 200 }, "{}")]);
    expect(hub).not.toHaveBeenCalled();
    expect(kv).not.toHaveBeenCalled();
    vi.restoreAllMocks();
  });

  test("models lists what this key may call, and not what is no LLM", async () => {
    const list = (await (await router.ask("/v1/models")).json()) as { object: string; data: { id: string }[] };
    expect(list.object).toBe("list");
    expect(list.data.map(({ id }) => id)).toEqual(["chat", "rented", "pair", "strict", "windows", "hedged", "empty", "small"]);
    expect(await (await router.ask("/v1/models/chat")).json()).toMatchObject({ id: "chat", object: "model", owned_by: "fairlead" });
    expect((await errorOf(await router.ask("/v1/models/web"))).error.code).toBe("model_not_found");
  });
});

describe("router: silence", () => {
  test("a stream that is silent before its headers begins with comments and goes on with the answer", async () => {
    const response = await router.post({ ...chat, stream: true });
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    expect(new TextDecoder().decode((await reader.read()).value)).toBe(": \n\n");
    await router.answerWith({ status: 200, headers: [["content-type", "text/event-stream"]] }, 'data: {"choices":[]}\n\ndata: [DONE]\n\n');
    let text = "";
    for (let read = await reader.read(); !read.done; read = await reader.read()) text += new TextDecoder().decode(read.value);
    expect(text.replaceAll(": \n\n", "")).toBe('data: {"choices":[]}\n\ndata: [DONE]\n\n');
  });

  test("a stream that fails after its first comment ends with one typed error", async () => {
    const response = await router.post({ ...chat, stream: true });
    const open = await router.relay.next(frameKinds.open);
    router.relay.send(windowFrame(open.stream, windowBytes), jsonFrame(frameKinds.reset, open.stream, { code: "upstream_lost", message: "died" }));
    const text = await response.text();
    expect(text).toContain('data: {"error":{"message":"Cannot serve');
    expect(text).not.toContain("[DONE]");
  });

  test("a client that leaves while the replica is silent cancels it", async () => {
    const response = await router.post({ ...chat, stream: true });
    const open = await router.relay.next(frameKinds.open);
    router.relay.send(windowFrame(open.stream, windowBytes));
    await response.body?.cancel();
    expect(readReset(await router.relay.next(frameKinds.reset, open.stream)).code).toBe("cancelled");
  });
});

describe("router: refusals", () => {
  test.each([
    ["no key", null],
    ["a malformed key", "fl_junk"],
    ["a key of another kind", newKey("fla").key],
    ["a well-formed key that nobody made", newKey("fl").key],
  ])("%s is 401 without detail", async (_, shown) => {
    const response = await router.ask("/v1/models", { key: shown });
    expect(await errorOf(response)).toMatchObject({ status: 401, error: { type: "invalid_request_error", code: "invalid_api_key" } });
    expect(response.headers.get("x-should-retry")).toBe("false");
  });

  test("a revoked key is refused as soon as the bundle without it is in use", async () => {
    const other = await testKey();
    await router.publish([other.record]);
    forgetView();
    expect((await router.ask("/v1/models", { key: other.key })).status).toBe(200);
    await router.publish();
    await soon("the refusal", 20_000, async () => ((await router.ask("/v1/models", { key: other.key })).status === 401 ? true : undefined));
  });

  test.each([
    ["not JSON", "{", 400, "invalid_json"],
    ["not an object", "[1]", 400, "invalid_request"],
    ["no model", "{}", 400, "invalid_request"],
    ["absurdly deep", `{"model":"chat","x":${"[".repeat(5000)}${"]".repeat(5000)}}`, 400, "invalid_request"],
    ["an unknown model", '{"model":"nobody"}', 404, "model_not_found"],
    ["a model whose service has no replica", '{"model":"empty"}', 503, "no_replica"],
    ["more than its service takes", JSON.stringify({ model: "small", pad: "x".repeat(200) }), 413, "body_too_large"],
  ])("a body that is %s gets the right error", async (_, body, status, code) => {
    expect(await errorOf(await router.post(body))).toMatchObject({ status, error: { code } });
  });

  test.each([
    ["GET", "/v1/chat/completions", 405],
    ["POST", "/v1/models", 405],
    ["GET", "/v1/nothing", 404],
    ["GET", "/v1/models/%E0%A4%A", 404],
    ["GET", "/s/%E0%A4%A/page", 404],
    ["GET", "/", 404],
  ])("%s %s is %i, in OpenAI's envelope", async (method, path, status) => {
    expect(await errorOf(await router.ask(path, { method }))).toMatchObject({ status, error: { type: "invalid_request_error" } });
  });

  test("an encoded body and an empty one get errors that say so", async () => {
    const gzip = await self.fetch("http://router/v1/chat/completions", { method: "POST", headers: { authorization: `Bearer ${router.key}`, "content-encoding": "gzip" }, body: new Uint8Array([31, 139, 8, 0]) });
    expect(await errorOf(gzip)).toMatchObject({ status: 400, error: { code: "invalid_json", message: "Cannot read the request body: it is encoded as gzip; send JSON as it is" } });
    expect(await errorOf(await router.post(""))).toMatchObject({ status: 400, error: { code: "invalid_json", message: "Cannot read the request body: it is empty" } });
  });

  test("a Host that is none is its caller's fault, and fills no log", async () => {
    const log = vi.spyOn(console, "error");
    const raw = new Request("http://router/");
    Object.defineProperty(raw, "url", { value: "http://a b/nowhere" });
    const response = answerError(new TypeError("Invalid URL string."), { req: { raw, path: "/nowhere" }, env: world, executionCtx: { waitUntil: () => undefined }, get: () => "req_1", set: () => undefined });
    expect(await errorOf(response)).toMatchObject({ status: 400, error: { code: "invalid_request", message: "Cannot read the request: its Host header names no host" } });
    expect(log).not.toHaveBeenCalled();
    vi.restoreAllMocks();
  });

  test("control's paths need control's token", async () => {
    expect((await self.fetch("http://router/internal/status")).status).toBe(401);
    expect((await self.fetch("http://router/internal/status", { headers: { authorization: `Bearer ${router.key}` } })).status).toBe(401);
  });
});
