import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import type { RouteService } from "../schema/bundle.ts";
import type { DecisionRecord } from "../schema/decision.ts";
import { frameKinds, jsonFrame, noPayload, readRequestHead, readReset, windowBytes, windowFrame, type Frame } from "../schema/frames.ts";
import { newKey } from "../schema/key.ts";
import { encrypt, sharedKey } from "../schema/seal.ts";
import { bundle, fleetService, newHost, publish, replicaState, routeService, self, soon, testKey, TestLink, TestRelayLink, world, type TestHost } from "../test/worker/world.ts";
import { forgetDecisions } from "./decisions.ts";
import { forgetUpstreams, remembered } from "./forward/memory.ts";
import { forgetView } from "./view.ts";

let version = Date.now();
let key = "";
let record: Awaited<ReturnType<typeof testKey>>["record"];
let relay: TestRelayLink;
let beat = (): void => undefined;
let services: RouteService[] = [];
let hosts: TestHost[] = [];
const fleet = [fleetService("chat", 1), fleetService("web", 1)];
const chat = { model: "chat", messages: [{ role: "user", content: "hi" }] };

function ask(path: string, init: RequestInit & { key?: string | null } = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  const shown = init.key === undefined ? key : init.key;
  if (shown !== null && !headers.has("authorization")) headers.set("authorization", `Bearer ${shown}`);
  return self.fetch(`http://router${path}`, { ...init, headers });
}

function post(body: unknown, path = "/v1/chat/completions"): Promise<Response> {
  return ask(path, { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body), headers: { "content-type": "application/json" } });
}

async function errorOf(response: Response): Promise<{ status: number; error: { message: string; type: string; param: string | null; code: string | null } }> {
  return { status: response.status, ...((await response.json()) as { error: { message: string; type: string; param: string | null; code: string | null } }) };
}

beforeAll(async () => {
  ({ key, record } = await testKey());
  const host = await newHost("host_router");
  hosts = [host];
  const sealedApiKey = await encrypt(await sharedKey(world.FAIRLEAD_SHARED_KEY), "provider:rented:vendor", "sk-vendor");
  services = [
    routeService("chat"),
    routeService("web", { listed: false }),
    routeService("rented", { selfHosted: false, providers: [{ name: "vendor", endpoint: "http://vendor.test/v1", dialect: "openai", sealedApiKey, model: "vendor-model" }] }),
    routeService("pair", {
      selfHosted: false,
      timeouts: { ttftMs: 700, idleMs: 700, totalMs: 2_000 },
      providers: [{ name: "one", endpoint: "http://one.test/v1", dialect: "openai" }, { name: "two", endpoint: "http://two.test/v1", dialect: "openai", fallback: true }],
    }),
    routeService("strict", {
      selfHosted: false,
      timeouts: { ttftMs: 700, idleMs: 700, totalMs: 2_000 },
      routing: { onStreamLoss: "error" },
      providers: [{ name: "one", endpoint: "http://one.test/v1", dialect: "openai" }, { name: "two", endpoint: "http://two.test/v1", dialect: "openai", fallback: true }],
    }),
    routeService("hedged", {
      selfHosted: false,
      routing: { hedgeAfterMs: 50 },
      providers: [{ name: "one", endpoint: "http://one.test/v1", dialect: "openai" }, { name: "two", endpoint: "http://two.test/v1", dialect: "openai" }],
    }),
    routeService("empty"),
    routeService("small", { bodyBytesMax: 100 }),
  ];
  await publish(bundle(++version, { services, hosts, fleet, keys: [record] }));
  const control = await TestLink.join(host);
  const ticket = control.welcome?.relays[0];
  if (ticket === undefined) throw new Error("no ticket");
  relay = await TestRelayLink.open(host.id, ticket);
  const { replicas, generation } = await control.assigned(2);
  beat = () => control.beat(replicas.map((one) => replicaState(one)), { generation });
  beat();
  await soon("ready replicas", 3_000, async () => ((await world.HUB.getByName("local").snapshot()).replicas.filter(({ phase }) => phase === "ready").length === 2 ? true : undefined));
});

beforeEach(() => {
  // all tests together take longer than a host's lease
  beat();
  forgetView();
  forgetUpstreams();
  forgetDecisions();
});
afterAll(() => relay.socket.close(1000, "done"));

/** The agent's side of one exchange. */
async function answerWith(head: { status: number; headers?: [string, string][] }, body: string): Promise<Frame> {
  const open = await relay.next(frameKinds.open);
  relay.send(
    windowFrame(open.stream, windowBytes),
    jsonFrame(frameKinds.open, open.stream, { status: head.status, headers: head.headers ?? [["content-type", "application/json"]] }),
    { kind: frameKinds.data, stream: open.stream, sequence: 0, payload: new TextEncoder().encode(body) },
    { kind: frameKinds.end, stream: open.stream, sequence: 0, payload: noPayload },
  );
  return open;
}

describe("router: answers", () => {
  test("a completion goes to the replica and back untouched, with who served it", async () => {
    const [response, open] = await Promise.all([post(chat), answerWith({ status: 200, headers: [["content-type", "application/json"], ["server", "engine"], ["set-cookie", "a=1"]] }, '{"ok": true}')]);
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
    const [response] = await Promise.all([post(chat), answerWith({ status: 400 }, '{"error":{"message":"at 0x7f3a","type":"invalid_request_error","param":"temperature","code":null}}')]);
    const answer = await errorOf(response);
    expect(answer).toMatchObject({ status: 400, error: { type: "invalid_request_error", param: "temperature" } });
    expect(answer.error.message).not.toContain("0x7f3a");
    expect(Object.fromEntries(response.headers)).toMatchObject({ "x-fairlead-attempts": "1", "x-should-retry": "false" });
  });

  test("a replica that cannot is a typed error, with a time to come back", async () => {
    const [response] = await Promise.all([post(chat), answerWith({ status: 429, headers: [["retry-after", "7"]] }, "busy")]);
    expect(await errorOf(response)).toMatchObject({ status: 429, error: { code: "saturated" } });
    expect(response.headers.get("retry-after")).toBe("7");
  });

  test("a warm request makes no call to a Hub or to KV", async () => {
    await Promise.all([post(chat), answerWith({ status: 200 }, "{}")]);
    const hub = vi.spyOn(world.HUB, "getByName");
    const kv = vi.spyOn(world.CONFIG, "get");
    await Promise.all([post(chat), answerWith({ status: 200 }, "{}")]);
    expect(hub).not.toHaveBeenCalled();
    expect(kv).not.toHaveBeenCalled();
    vi.restoreAllMocks();
  });

  test("models lists what this key may call, and not what is no LLM", async () => {
    const list = (await (await ask("/v1/models")).json()) as { object: string; data: { id: string }[] };
    expect(list.object).toBe("list");
    expect(list.data.map(({ id }) => id)).toEqual(["chat", "rented", "pair", "strict", "hedged", "empty", "small"]);
    expect(await (await ask("/v1/models/chat")).json()).toMatchObject({ id: "chat", object: "model", owned_by: "fairlead" });
    expect((await errorOf(await ask("/v1/models/web"))).error.code).toBe("model_not_found");
  });
});

describe("router: silence", () => {
  test("a stream that is silent before its headers begins with comments and goes on with the answer", async () => {
    const response = await post({ ...chat, stream: true });
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    const open = await relay.next(frameKinds.open);
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    expect(new TextDecoder().decode((await reader.read()).value)).toBe(": \n\n");
    relay.send(
      windowFrame(open.stream, windowBytes),
      jsonFrame(frameKinds.open, open.stream, { status: 200, headers: [["content-type", "text/event-stream"]] }),
      { kind: frameKinds.data, stream: open.stream, sequence: 0, payload: new TextEncoder().encode('data: {"choices":[]}\n\ndata: [DONE]\n\n') },
      { kind: frameKinds.end, stream: open.stream, sequence: 0, payload: noPayload },
    );
    let text = "";
    for (let read = await reader.read(); !read.done; read = await reader.read()) text += new TextDecoder().decode(read.value);
    expect(text.replaceAll(": \n\n", "")).toBe('data: {"choices":[]}\n\ndata: [DONE]\n\n');
  });

  test("a stream that fails after its first comment ends with one typed error", async () => {
    const response = await post({ ...chat, stream: true });
    const open = await relay.next(frameKinds.open);
    relay.send(windowFrame(open.stream, windowBytes), jsonFrame(frameKinds.reset, open.stream, { code: "upstream_lost", message: "died" }));
    const text = await response.text();
    expect(text).toContain('data: {"error":{"message":"Cannot serve');
    expect(text).not.toContain("[DONE]");
  });

  test("a client that leaves while the replica is silent cancels it", async () => {
    const response = await post({ ...chat, stream: true });
    const open = await relay.next(frameKinds.open);
    relay.send(windowFrame(open.stream, windowBytes));
    await response.body?.cancel();
    expect(readReset(await relay.next(frameKinds.reset, open.stream)).code).toBe("cancelled");
  });
});

describe("router: refusals", () => {
  test.each([
    ["no key", null],
    ["a malformed key", "fl_junk"],
    ["a key of another kind", newKey("fla").key],
    ["a well-formed key that nobody made", newKey("fl").key],
  ])("%s is 401 without detail", async (_, shown) => {
    const response = await ask("/v1/models", { key: shown });
    expect(await errorOf(response)).toMatchObject({ status: 401, error: { type: "invalid_request_error", code: "invalid_api_key" } });
    expect(response.headers.get("x-should-retry")).toBe("false");
  });

  test("a revoked key is refused as soon as the bundle without it is in use", async () => {
    const other = await testKey();
    await publish(bundle(++version, { services, hosts, fleet, keys: [record, other.record] }));
    forgetView();
    expect((await ask("/v1/models", { key: other.key })).status).toBe(200);
    await publish(bundle(++version, { services, hosts, fleet, keys: [record] }));
    await soon("the refusal", 3_000, async () => ((await ask("/v1/models", { key: other.key })).status === 401 ? true : undefined));
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
    expect(await errorOf(await post(body))).toMatchObject({ status, error: { code } });
  });

  test.each([
    ["GET", "/v1/chat/completions", 405],
    ["GET", "/v1/nothing", 404],
    ["GET", "/", 404],
  ])("%s %s is %i, in OpenAI's envelope", async (method, path, status) => {
    expect(await errorOf(await ask(path, { method }))).toMatchObject({ status, error: { type: "invalid_request_error" } });
  });

  test("control's paths need control's token", async () => {
    expect((await self.fetch("http://router/internal/status")).status).toBe(401);
    expect((await self.fetch("http://router/internal/status", { headers: { authorization: `Bearer ${key}` } })).status).toBe(401);
  });
});

describe("router: providers", () => {
  test("a provider gets its own key and its own model name, and none of the caller's credentials", async () => {
    let sent: { url: string; headers: Record<string, string>; body: unknown } | undefined;
    vi.spyOn(globalThis, "fetch").mockImplementation((async (url: string, init: RequestInit) => {
      const request = new Request(url, init);
      sent = { url: request.url, headers: Object.fromEntries(request.headers), body: await request.json() };
      return Response.json({ from: "vendor" }, { headers: { "set-cookie": "a=1", server: "vendor" } });
    }) as unknown as typeof fetch);
    const response = await ask("/v1/chat/completions", { method: "POST", body: JSON.stringify({ ...chat, model: "rented" }), headers: { "content-type": "application/json", cookie: "secret=1", "x-stainless-lang": "js" } });
    vi.restoreAllMocks();
    expect(await response.json()).toEqual({ from: "vendor" });
    expect(response.headers.get("x-fairlead-upstream")).toBe("vendor");
    expect(response.headers.get("x-fairlead-model")).toBe("vendor-model");
    expect(response.headers.has("set-cookie")).toBe(false);
    expect(sent).toMatchObject({ url: "http://vendor.test/v1/chat/completions", headers: { authorization: "Bearer sk-vendor" }, body: { model: "vendor-model" } });
    expect(Object.keys(sent?.headers ?? {})).not.toContain("cookie");
    expect(Object.keys(sent?.headers ?? {})).not.toContain("x-stainless-lang");
  });
});

const event = (content: string, finish: string | null = null): string => `data: ${JSON.stringify({ id: "c", choices: [{ index: 0, delta: { content }, finish_reason: finish }] })}\n\n`;
const whole = event("one") + event(" two") + event("", "stop") + "data: [DONE]\n\n";

/** An event stream that says this and then ends, or stays silent. */
function said(text: string, end: "end" | "silence" = "end"): Response {
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      if (text !== "") controller.enqueue(new TextEncoder().encode(text));
      if (end === "end") controller.close();
    },
  });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
}

describe("router: attempts", () => {
  let asked: string[] = [];

  /** What the two providers answer, in turn; the last one again and again. */
  function providers(answers: { one: (() => Response | Promise<Response>)[]; two?: (() => Response | Promise<Response>)[] }): void {
    asked = [];
    const turn = { one: 0, two: 0 };
    vi.spyOn(globalThis, "fetch").mockImplementation((async (url: string) => {
      const name = url.startsWith("http://one.test") ? "one" : "two";
      asked.push(name);
      const list = answers[name] ?? [() => said(whole)];
      return (list[Math.min(turn[name]++, list.length - 1)] ?? (() => said(whole)))();
    }) as unknown as typeof fetch);
  }

  afterEach(() => {
    vi.restoreAllMocks();
  });

  const stream = (model = "pair"): Promise<Response> => post({ ...chat, model, stream: true });
  const json = (status: number, body: unknown, headers: Record<string, string> = {}): (() => Response) => () => Response.json(body, { status, headers });
  const error = (code: unknown, type = "server_error"): unknown => ({ error: { message: "secret at 0x7f3a", type, param: null, code } });
  const never = (): Promise<Response> => new Promise(() => undefined);

  test.each<[string, (() => Response | Promise<Response>)[], string[]]>([
    ["502", [json(502, error(null))], ["one", "two"]],
    ["500, after one more try on it", [json(500, error(null))], ["one", "one", "two"]],
    ["500 that passes", [json(500, error(null)), () => said(whole)], ["one", "one"]],
    ["a broken connection", [() => Promise.reject(new Error("Network connection lost."))], ["one", "two"]],
    ["401", [json(401, error("invalid_api_key", "invalid_request_error"))], ["one", "two"]],
    ["429 with nothing said", [json(429, error("rate_limit_exceeded", "requests"))], ["one", "two"]],
    ["429 with a long Retry-After", [json(429, error("rate_limit_exceeded"), { "retry-after": "30" })], ["one", "two"]],
    ["429 with a short Retry-After that is kept", [json(429, error("rate_limit_exceeded"), { "retry-after-ms": "100" }), () => said(whole)], ["one", "one"]],
    ["200 with an error as its first event", [() => said(`data: ${JSON.stringify(error(503))}\n\ndata: [DONE]\n\n`)], ["one", "two"]],
    ["200 that ends without an event", [() => said(": \n\n")], ["one", "two"]],
    ["200 with two events that are no JSON", [() => said("data: x\n\ndata: y\n\n")], ["one", "two"]],
    ["200 with headers, comments and then silence", [() => said(": \n\n", "silence")], ["one", "two"]],
    ["no headers", [never], ["one", "two"]],
  ])("a stream whose first upstream gives %s is answered whole", async (_, one, expected) => {
    providers({ one });
    const response = await stream();
    expect((await response.text()).replaceAll(": \n\n", "")).toBe(whole);
    expect(asked).toEqual(expected);
    // an answer that began with comments had its headers sent before anybody was known
    if (response.headers.has("x-fairlead-attempts")) {
      const last = expected.at(-1) ?? "";
      expect(Object.fromEntries(response.headers)).toMatchObject({ "x-fairlead-upstream": last, "x-fairlead-attempts": String(expected.length), "x-fairlead-fallback": String(last === "two") });
    }
  });

  test.each<[string, () => Response | Promise<Response>, string[]]>([
    ["an error body in a 200", json(200, error(500)), ["one", "one", "two"]],
    ["half an answer in a 200", () => new Response('{"choices": [{"mess', { headers: { "content-type": "application/json" } }), ["one", "two"]],
    ["half an answer of half a megabyte, of unknown length, in a 200", () => new Response(new Blob([`{"choices": [{"mess${"x".repeat(500_000)}`]).stream(), { headers: { "content-type": "application/json" } }), ["one", "two"]],
  ])("%s is no answer", async (_, one, expected) => {
    providers({ one: [one], two: [json(200, { ok: true })] });
    const response = await post({ ...chat, model: "pair" });
    expect(await response.json()).toEqual({ ok: true });
    expect(asked).toEqual(expected);
  });

  test.each<[string, number, unknown, number, string]>([
    ["an invalid request", 400, error(null, "invalid_request_error"), 400, "invalid_request"],
    ["too long a prompt", 400, error("context_length_exceeded", "invalid_request_error"), 400, "context_length_exceeded"],
    ["a refused content", 400, error("content_filter", "invalid_request_error"), 400, "content_filter"],
    ["too long a prompt in a 200", 200, error("context_length_exceeded", "invalid_request_error"), 400, "context_length_exceeded"],
  ])("%s is the caller's fault: told in our words, sent nowhere else", async (_, status, body, told, code) => {
    providers({ one: [json(status, body)] });
    const response = await post({ ...chat, model: "pair" });
    const answer = await errorOf(response);
    expect(answer).toMatchObject({ status: told, error: { code } });
    expect(answer.error.message).not.toContain("0x7f3a");
    expect(asked).toEqual(["one"]);
  });

  test("a provider that refuses our key is left alone after that, and its caller never sees a 401", async () => {
    providers({ one: [json(401, error("invalid_api_key"))], two: [json(401, error("invalid_api_key"))] });
    expect((await post({ ...chat, model: "pair" })).status).toBe(502);
    expect(asked).toEqual(["one", "two"]);
    const again = await post({ ...chat, model: "pair" });
    expect(again.status).toBe(502);
    expect(again.headers.get("retry-after")).toBe("60");
    expect(asked).toEqual(["one", "two"]);
  });

  const losses: [string, () => Response, string][] = [
    ["ends without an end mark", () => said(event("one")), "provider_unreachable"],
    ["is silent for too long", () => said(event("one"), "silence"), "provider_timeout"],
    ["says that it failed", () => said(event("one") + `data: ${JSON.stringify(error(500))}\n\ndata: [DONE]\n\n`), "provider_error"],
    ["turns into garbage", () => said(`${event("one")}data: x\n\ndata: y\n\n`), "provider_unreachable"],
    ["ends inside an event", () => said(`${event("one")}data: {"choices"`), "provider_unreachable"],
  ];

  test.each(losses)("a begun stream that %s goes on elsewhere, and says so at its end", async (_, one) => {
    providers({ one: [one] });
    const text = (await (await stream()).text()).replaceAll(": \n\n", "");
    const last = { id: "c", choices: [{ index: 0, delta: {}, logprobs: null, finish_reason: "stop" }] };
    expect(text).toBe(`${event("one")}data: ${JSON.stringify({ id: "c", choices: [{ index: 0, delta: { content: " two" }, logprobs: null, finish_reason: null }] })}\n\ndata: ${JSON.stringify(last)}\n\n: x-fairlead-resumed: 1 regenerate\n\ndata: [DONE]\n\n`);
    expect(asked).toEqual(["one", "two"]);
  });

  test("one whose other upstreams give another answer ends with one typed error, and nothing of theirs is in it", async () => {
    const other = (): Response => said(event("other") + event("", "stop") + "data: [DONE]\n\n");
    providers({ one: [() => said(event("one"))], two: [other] });
    const text = (await (await stream()).text()).replaceAll(": \n\n", "");
    expect(text.startsWith(event("one"))).toBe(true);
    expect(JSON.parse(text.slice(event("one").length + 6))).toMatchObject({ error: { code: "provider_unreachable" } });
    expect(asked).toEqual(["one", "two", "one"]);
  });

  test.each(losses)("where streams are not to go on, one that %s ends with one typed error and no [DONE]", async (_, one, code) => {
    providers({ one: [one] });
    const text = (await (await stream("strict")).text()).replaceAll(": \n\n", "");
    expect(text.startsWith(event("one"))).toBe(true);
    const rest = text.slice(event("one").length);
    expect(rest).toMatch(/^data: [^\n]+\n\n$/);
    expect(JSON.parse(rest.slice(6))).toMatchObject({ error: { code, type: "server_error", param: null } });
    expect(rest).not.toContain("0x7f3a");
    expect(asked).toEqual(["one"]);
  });

  test("a stream that goes on for longer than its request has ends with one typed error", async () => {
    const drip = (): Response => {
      const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
      const work = async (): Promise<void> => {
        const writer = writable.getWriter();
        for (let i = 0; i < 40; i++) {
          await writer.write(new TextEncoder().encode(event(`${i}`)));
          await scheduler.wait(100);
        }
      };
      work().catch(() => undefined);
      return new Response(readable, { headers: { "content-type": "text/event-stream" } });
    };
    providers({ one: [drip] });
    const text = await (await stream()).text();
    expect(text).toContain('"code":"provider_timeout"');
    expect(text).not.toContain("[DONE]");
  });

  test("a stream that ends after its finish_reason without [DONE] is given its end", async () => {
    providers({ one: [() => said(event("one") + event("", "stop"))] });
    expect(await (await stream()).text()).toBe(`${event("one")}${event("", "stop")}data: [DONE]\n\n`);
  });

  test.each<[string, () => Response]>([
    ["fails", () => said(event("one") + event("", "stop") + `data: ${JSON.stringify(error(500))}\n\n`)],
    ["is silent", () => said(event("one") + event("", "stop"), "silence")],
    ["turns into garbage", () => said(`${event("one")}${event("", "stop")}data: x\n\ndata: y\n\n`)],
  ])("a stream that %s after its finish_reason is whole", async (_, one) => {
    providers({ one: [one] });
    expect((await (await stream()).text()).replaceAll(": \n\n", "")).toBe(`${event("one")}${event("", "stop")}data: [DONE]\n\n`);
    expect(asked).toEqual(["one"]);
  });

  test("an isolated event that is no JSON never reaches the client, and the rest does", async () => {
    providers({ one: [() => said(`${event("one")}data: {"choices"\n\n${event(" two")}${event("", "stop")}data: [DONE]\n\n`)] });
    expect(await (await stream()).text()).toBe(whole);
  });

  test("a second attempt is begun beside a silent first one, and the first good answer wins", async () => {
    providers({ one: [never], two: [json(200, { ok: true })] });
    vi.spyOn(Math, "random").mockReturnValue(0);
    const response = await post({ ...chat, model: "hedged" });
    expect(await response.json()).toEqual({ ok: true });
    expect(response.headers.get("x-fairlead-attempts")).toBe("2");
    expect(asked).toEqual(["one", "two"]);
  });
});

describe("router: large answers", () => {
  const piece = new Uint8Array(2 * 1024 * 1024).fill(0x20);
  let cancelled: unknown[] = [];
  let dripped = 0;

  /** An answer of so many pieces, five of them more than is read whole, one each 20 ms, that breaks or stalls after some of them. */
  function vendor(pieces: number, { breaksAfter = Infinity, stallsAfter = Infinity, length = true } = {}): void {
    cancelled = [];
    dripped = 0;
    vi.spyOn(globalThis, "fetch").mockImplementation((async () => {
      const body = new ReadableStream<Uint8Array>({
        pull: async (controller) => {
          if (dripped === stallsAfter) return new Promise(() => undefined);
          if (dripped === breaksAfter) return controller.error(new Error("Network connection lost."));
          await scheduler.wait(20);
          controller.enqueue(piece.slice());
          if (++dripped === pieces) controller.close();
        },
        cancel: (reason) => void cancelled.push(reason),
      });
      return new Response(body, { headers: { "content-type": "application/json", ...(length ? { "content-length": String(pieces * piece.byteLength) } : {}) } });
    }) as unknown as typeof fetch);
  }
  afterEach(() => {
    vi.restoreAllMocks();
  });

  const rented = { ...chat, model: "pair" };
  const inFlight = (): number => remembered(services.find(({ name }) => name === "pair") ?? expect.fail()).observed.inFlight("one");
  const landed = (): Promise<true> => soon("the end of its flight", 1_000, () => (inFlight() === 0 ? true : undefined));

  test.each([[true], [false]])("an answer that is handed through is whole, and in flight until its end (length known: %s)", async (length) => {
    vendor(10, { length });
    const response = await post(rented);
    expect(inFlight()).toBe(1);
    expect((await response.arrayBuffer()).byteLength).toBe(10 * piece.byteLength);
    await landed();
    await scheduler.wait(2_100);
    expect(cancelled).toEqual([]);
  });

  test.each([[true], [false]])("an answer that goes on for longer than its request has ends with an error (length known: %s)", async (length) => {
    vendor(20, { stallsAfter: 6, length });
    const started = Date.now();
    const response = await post(rented);
    await expect(response.arrayBuffer()).rejects.toThrow();
    expect(Date.now() - started).toBeGreaterThanOrEqual(1_950);
    expect(Date.now() - started).toBeLessThan(3_000);
    await landed();
  });

  test.each([[true], [false]])("an answer that breaks off ends with an error, not an EOF (length known: %s)", async (length) => {
    vendor(20, { breaksAfter: 6, length });
    const response = await post(rented);
    await expect(response.arrayBuffer()).rejects.toThrow();
    await landed();
  });

  test("a client that leaves in the middle of one ends it, and it is in flight no more", async () => {
    vendor(1_000);
    const response = await post(rented);
    expect(inFlight()).toBe(1);
    await response.body?.cancel();
    await landed();
    const then = dripped;
    await scheduler.wait(200);
    expect(dripped - then).toBeLessThan(3);
  });
});

describe("router: what is explained", () => {
  /** What the Hub was told of a request. */
  function recalled(response: Response): Promise<DecisionRecord> {
    return soon("the decision", 5_000, async () => (await world.HUB.getByName("local").explain(response.headers.get("x-request-id") ?? "")).decision);
  }

  test("a request that finds no candidate, with the reason that its caller was told", async () => {
    const response = await post({ ...chat, model: "empty" });
    const { error: told } = await errorOf(response);
    expect(await recalled(response)).toMatchObject({ service: "empty", model: "empty", account: "default", status: 503, reason: told.message, candidates: [], attempts: [] });
  });

  test("a request for which all upstreams are at their limit", async () => {
    vi.spyOn(globalThis, "fetch").mockImplementation((async () => Response.json({ error: { message: "slow down", type: "requests", code: "rate_limit_exceeded", param: null } }, { status: 429, headers: { "retry-after": "30" } })) as unknown as typeof fetch);
    expect((await post({ ...chat, model: "pair" })).status).toBe(429);
    const response = await post({ ...chat, model: "pair" });
    vi.restoreAllMocks();
    const { error: told } = await errorOf(response);
    expect(await recalled(response)).toMatchObject({ status: 429, reason: told.message, attempts: [], filtered: { one: expect.stringContaining("limit"), two: expect.stringContaining("limit") } });
  });

  test("a request to a service that is no LLM", async () => {
    const [response] = await Promise.all([ask("/s/web/page"), answerWith({ status: 200, headers: [["content-type", "text/plain"]] }, "hello")]);
    expect(await response.text()).toBe("hello");
    expect(await recalled(response)).toMatchObject({ service: "web", model: "web", account: "default", status: 200, attempts: [{ outcome: "answer" }], upstream: expect.stringMatching(/^web\./) });
  });

  test("a request to a service that is no LLM and has nobody", async () => {
    const response = await ask("/s/empty/page");
    expect(response.status).toBe(503);
    expect(await recalled(response)).toMatchObject({ service: "empty", status: 503, reason: expect.stringContaining("empty"), attempts: [] });
  });
});
