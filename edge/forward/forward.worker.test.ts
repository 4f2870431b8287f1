import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { chat, errorOf, TestRouter } from "../../test/worker/router.ts";

let router: TestRouter;

beforeAll(async () => {
  router = await TestRouter.start();
});
beforeEach(() => router.cold());
afterAll(() => router.stop());

describe("router: providers", () => {
  test("a provider gets its own key and its own model name, and none of the caller's credentials", async () => {
    let sent: { url: string; headers: Record<string, string>; body: unknown } | undefined;
    vi.spyOn(globalThis, "fetch").mockImplementation((async (url: string, init: RequestInit) => {
      const request = new Request(url, init);
      sent = { url: request.url, headers: Object.fromEntries(request.headers), body: await request.json() };
      return Response.json({ from: "vendor" }, { headers: { "set-cookie": "a=1", server: "vendor" } });
    }) as unknown as typeof fetch);
    const response = await router.ask("/v1/chat/completions", { method: "POST", body: JSON.stringify({ ...chat, model: "rented" }), headers: { "content-type": "application/json", cookie: "secret=1", "x-stainless-lang": "js" } });
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

  const stream = (model = "pair"): Promise<Response> => router.post({ ...chat, model, stream: true });
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
    ["an error body in a 200 that is called text, after a blank line", () => new Response(`\n${JSON.stringify(error(500))}`, { headers: { "content-type": "text/plain" } }), ["one", "one", "two"]],
    ["half an answer in a 200", () => new Response('{"choices": [{"mess', { headers: { "content-type": "application/json" } }), ["one", "two"]],
    ["half an answer of half a megabyte, of unknown length, in a 200", () => new Response(new Blob([`{"choices": [{"mess${"x".repeat(500_000)}`]).stream(), { headers: { "content-type": "application/json" } }), ["one", "two"]],
  ])("%s is no answer", async (_, one, expected) => {
    providers({ one: [one], two: [json(200, { ok: true })] });
    const response = await router.post({ ...chat, model: "pair" });
    expect(await response.json()).toEqual({ ok: true });
    expect(asked).toEqual(expected);
  });

  test.each([{}, { "content-length": "6" }])("an answer that is no JSON passes byte for byte, whatever it holds (%j)", async (length) => {
    const bytes = Uint8Array.from([0, 255, 0xc3, 0x28, 0x7b, 10]);
    providers({ one: [() => new Response(bytes, { headers: { "content-type": "application/octet-stream", ...length } as Record<string, string> })] });
    const response = await router.post({ ...chat, model: "pair" });
    expect(response.headers.get("content-type")).toBe("application/octet-stream");
    expect(await response.bytes()).toEqual(bytes);
  });

  test.each([{}, { "content-length": "64" }])("an answer that is JSON passes as it was written, but for what is no UTF-8 (%j)", async (length) => {
    const text = (bad: number[]): Uint8Array => Uint8Array.from([...new TextEncoder().encode('{"choices": [{"message":{"content":"Grüße 世界 😀"}}],\n"x":"'), ...bad, ...new TextEncoder().encode('"}')]);
    const asJson = (body: Uint8Array): (() => Response) => () => new Response(body, { headers: { "content-type": "application/json", ...length } as Record<string, string> });
    providers({ one: [asJson(text([])), asJson(text([0xff]))] });
    const [good, odd] = [await router.post({ ...chat, model: "pair" }), await router.post({ ...chat, model: "pair" })];
    expect(await good.bytes()).toEqual(text([]));
    expect(await odd.bytes()).toEqual(text([0xef, 0xbf, 0xbd]));
  });

  test.each<[string, number, unknown, number, string]>([
    ["an invalid request", 400, error(null, "invalid_request_error"), 400, "invalid_request"],
    ["too long a prompt", 400, error("context_length_exceeded", "invalid_request_error"), 400, "context_length_exceeded"],
    ["a refused content", 400, error("content_filter", "invalid_request_error"), 400, "content_filter"],
    ["too long a prompt in a 200", 200, error("context_length_exceeded", "invalid_request_error"), 400, "context_length_exceeded"],
  ])("%s is the caller's fault: told in our words, sent nowhere else", async (_, status, body, told, code) => {
    providers({ one: [json(status, body)] });
    const response = await router.post({ ...chat, model: "pair" });
    const answer = await errorOf(response);
    expect(answer).toMatchObject({ status: told, error: { code } });
    expect(answer.error.message).not.toContain("0x7f3a");
    expect(asked).toEqual(["one"]);
  });

  test.each([400, 200])("too long a prompt, said with %d, goes to an upstream with a larger context window when policy says so", async (status) => {
    providers({ one: [json(status, error("context_length_exceeded", "invalid_request_error"))], two: [json(200, { from: "two" })] });
    const response = await router.post({ ...chat, model: "windows" });
    expect(await response.json()).toEqual({ from: "two" });
    expect(Object.fromEntries(response.headers)).toMatchObject({ "x-fairlead-upstream": "two", "x-fairlead-model": "larger", "x-fairlead-attempts": "2", "x-fairlead-fallback": "true" });
    expect(asked).toEqual(["one", "two"]);
  });

  test("a provider that refuses our key is left alone after that, and its caller never sees a 401", async () => {
    providers({ one: [json(401, error("invalid_api_key"))], two: [json(401, error("invalid_api_key"))] });
    expect((await router.post({ ...chat, model: "pair" })).status).toBe(502);
    expect(asked).toEqual(["one", "two"]);
    const again = await router.post({ ...chat, model: "pair" });
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
    const response = await router.post({ ...chat, model: "hedged" });
    expect(await response.json()).toEqual({ ok: true });
    expect(response.headers.get("x-fairlead-attempts")).toBe("2");
    expect(asked).toEqual(["one", "two"]);
  });
});
