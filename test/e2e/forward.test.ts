import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Running } from "../engine/server.ts";
import { readStream, type Told } from "./told.ts";
import { addressOf, fail, order, TwoVendors } from "./upstreams.ts";
import { engineYaml, until, type World } from "./world.ts";

let vendors: TwoVendors;
let world: World;
let one: Running;
let two: Running;
let services = 0;

beforeAll(async () => {
  vendors = await TwoVendors.start({ itlMs: 2, ttftMs: 10 });
  ({ world, one, two } = vendors);
});
afterAll(() => vendors?.stop());
beforeEach(() => vendors.calm());

const asked = (engine: Running): number => engine.engine.log.stats.requests;

const routing = "{timeouts: {ttft: 1s, idle: 1s, total: 30s}}";
const pair = (routed = routing): Promise<string> => vendors.serve(`pair-${++services}`, routed);

interface Heard {
  text: string;
  /** The stream without comments. */
  raw: string;
  error: Told["errors"][number] | undefined;
  done: boolean;
  headers: Headers;
}

/** A stream read to its end. */
async function streamed(model: string, body: Record<string, unknown> = {}): Promise<Heard> {
  const response = await world.chat(model, { stream: true, max_tokens: 30, seed: 1, ...body });
  expect(response.status).toBe(200);
  const { choices, errors, done, raw } = readStream(await response.text());
  expect(errors.length + done).toBe(1);
  return { text: choices[0]?.content ?? "", raw: raw.replaceAll(/^:.*\n\n/gm, ""), error: errors[0], done: done === 1, headers: response.headers };
}

/** What the model says, undisturbed. */
async function oracle(): Promise<string> {
  const response = await fetch(`${two.url}/v1/chat/completions`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ model: "m", messages: [{ role: "user", content: "Hello" }], max_tokens: 30, seed: 1 }) });
  return ((await response.json()) as { choices: { message: { content: string } }[] }).choices[0]?.message.content ?? "";
}

async function codeOf(response: Response): Promise<string> {
  return ((await response.json()) as { error: { code: string } }).error.code;
}

describe("before the first byte", () => {
  test.each([
    ["row 1: an upstream that dies before its headers", "rst@0"],
    ["row 3: an upstream that hangs before its headers", "hang"],
    ["row 3: an upstream that sends headers and then hangs", "stall@0"],
    ["row 8: a stream that ends before it began", "eof@0"],
    ["row 10: a 429 with a long Retry-After", "status=429:retry-after=30"],
    ["row 10: a 429 with a negative Retry-After, twice", "status=429:retry-after=-5"],
    ["row 10: a 429 with a huge Retry-After", "status=429:retry-after=99999999999"],
    ["row 11: an error as the first event", "error@0"],
    ["row 12: a provider that answers 503", "status=503"],
  ])("%s is answered whole by another", async (_, spec) => {
    const model = await pair();
    fail(one, spec, 2);
    const started = Date.now();
    const { text, error, done } = await streamed(model);
    expect({ text, error, done }).toEqual({ text: await oracle(), error: undefined, done: true });
    expect(Date.now() - started).toBeLessThan(4_000);
  });

  test.each([["row 11: 200 with an error body", "error-body"], ["row 7: a length that is too small", "short-length"], ["row 7: a length that is too large", "long-length"], ["row 8: half an answer", "eof@3"], ["row 1: a connection that breaks in the middle", "rst@3"]])("%s, not streamed, is answered whole by another", async (_, spec) => {
    const model = await pair();
    fail(one, spec, 2);
    const response = await world.chat(model, { max_tokens: 30, seed: 1 });
    expect(response.status).toBe(200);
    const answer = (await response.json()) as { choices: { message: { content: string } }[] };
    expect(answer.choices[0]?.message.content).toBe(await oracle());
    expect(Object.fromEntries(response.headers)).toMatchObject({ "x-fairlead-upstream": "two", "x-fairlead-model": "m", "x-fairlead-fallback": "true" });
  });

  test("row 10: a short Retry-After is waited for, on the same provider", async () => {
    const model = await pair();
    fail(one, "status=429:retry-after=1");
    const started = Date.now();
    const response = await world.chat(model, { max_tokens: 3 });
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toMatchObject({ "x-fairlead-upstream": "one", "x-fairlead-attempts": "2", "x-fairlead-fallback": "false" });
    expect(Date.now() - started).toBeGreaterThanOrEqual(950);
  });

  test("row 10: while it asked to be left alone it is, and nothing else is held against it", async () => {
    const model = await pair();
    fail(one, "status=429:retry-after=3");
    const before = asked(one);
    for (let i = 0; i < 5; i++) expect((await world.chat(model, { max_tokens: 3 })).headers.get("x-fairlead-upstream")).toBe("two");
    expect(asked(one)).toBe(before + 1);
    await until("its return", 6_000, async () => (await world.chat(model, { max_tokens: 3 })).headers.get("x-fairlead-upstream") === "one");
  });

  test("row 34: a prompt that is too long is the caller's fault, and is sent nowhere else", async () => {
    const model = await pair();
    const before = asked(two);
    const response = await world.chat(model, { max_tokens: 40_000 });
    expect(response.status).toBe(400);
    expect(response.headers.get("x-fairlead-attempts")).toBe("1");
    expect(response.headers.get("x-should-retry")).toBe("false");
    expect(await codeOf(response)).toMatch(/context_length_exceeded|invalid_request/);
    expect(asked(two)).toBe(before);
  });
});

describe("after the first byte", () => {
  test.each([
    ["row 4: a stream that hangs", "stall@5", "provider_timeout"],
    ["row 8: a clean end without an end mark", "eof@5", "provider_unreachable"],
    ["row 2: a connection that breaks", "rst@5", "provider_unreachable"],
    ["row 11: an error in the middle", "error@5", "provider_error"],
  ])("%s ends with one typed error event and no [DONE] where it is not to go on, else whole", async (_, spec, code) => {
    const model = await pair("{on_stream_loss: error, timeouts: {ttft: 1s, idle: 1s, total: 30s}}");
    fail(one, spec);
    const started = Date.now();
    const { text, error, done, raw } = await streamed(model);
    expect(text.length).toBeGreaterThan(0);
    expect((await oracle()).startsWith(text)).toBe(true);
    expect({ done, type: error?.type, code: error?.code }).toEqual({ done: false, type: "server_error", code });
    expect(raw.split('"error"')).toHaveLength(2);
    expect(Date.now() - started).toBeLessThan(4_000);
    const going = await pair();
    fail(one, spec);
    const whole = await streamed(going);
    expect({ text: whole.text, error: whole.error, done: whole.done }).toEqual({ text: await oracle(), error: undefined, done: true });
  });

  test("row 5: a stream that drips is kept", async () => {
    const model = await pair();
    fail(one, "slow=400ms");
    const { text, done, headers } = await streamed(model, { max_tokens: 6 });
    expect(done).toBe(true);
    expect(text.length).toBeGreaterThan(0);
    expect(headers.get("x-fairlead-upstream") ?? "one").toBe("one");
    expect((await world.chat(model, { max_tokens: 3 })).headers.get("x-fairlead-upstream")).toBe("one");
  });

  test.each([["row 6: an event that is no JSON", "garbage@5"], ["row 6: a stream cut anywhere, inside characters too", "split"], ["row 8: a finished stream without [DONE]", "nodone"]])("%s never shows", async (_, spec) => {
    const model = await pair();
    fail(one, spec);
    const { text, error, done } = await streamed(model);
    expect({ text, error, done }).toEqual({ text: await oracle(), error: undefined, done: true });
  });
});

describe("replicas and providers together", () => {
  test("a replica that fails before its first event is taken over by the provider, and told of", async () => {
    await world.apply("mixed", engineYaml("mixed", { flags: "--itl 2ms", more: `${vendors.yaml("\n    - {type: self-hosted, name: gpus}")}\n  routing: ${routing}` }));
    await world.ready("mixed", 1);
    const good = await until("an answer of the replica", 40_000, async () => {
      const response = await world.chat("mixed", { max_tokens: 3 });
      return response.headers.get("x-fairlead-upstream") === "replica" && response;
    });
    expect(good.headers.get("x-fairlead-fallback")).toBe("false");
    const replica = await addressOf(world, "mixed");
    for (const spec of ["error@0", "status=500"]) {
      await order(replica, spec);
      const response = await world.chat("mixed", { max_tokens: 3, stream: true });
      expect(Object.fromEntries(response.headers)).toMatchObject({ "x-fairlead-upstream": "one", "x-fairlead-attempts": "2", "x-fairlead-fallback": "true" });
      expect(await response.text()).toContain("[DONE]");
    }
    await order(replica, "stall@0");
    expect(await streamed("mixed", { max_tokens: 3 })).toMatchObject({ error: undefined, done: true });
  });
});
