import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ask, chat, expectWhole, oracle, readStream } from "../e2e/told.ts";
import { until, World } from "../e2e/world.ts";
import type { Body } from "../engine/ask.ts";
import { FailurePlan, parseFailure } from "../engine/failures.ts";
import { startEngine, type Running } from "../engine/server.ts";
import { settings, type Settings } from "../engine/settings.ts";

let world: World;
const engines: Running[] = [];

beforeAll(async () => {
  world = await World.start();
});
afterAll(async () => {
  await world?.stop();
  await Promise.all(engines.map((engine) => engine.stop()));
});

/** Several engines of one model; what is ordered meets the first request that comes to any of them. */
interface Fleet {
  running: Running[];
  failures: FailurePlan;
  reasoning: boolean;
}

async function fleet(count = 3, more: Partial<Settings> = {}): Promise<Fleet> {
  const running = await Promise.all(Array.from({ length: count }, () => startEngine(settings({ model: "m", itlMs: 0, ttftMs: 0, slots: 64, ...more }))));
  const failures = new FailurePlan();
  for (const { engine } of running) Object.assign(engine, { failures });
  engines.push(...running);
  return { running, failures, reasoning: more.reasoning === true };
}

interface ServiceOptions {
  continuation?: string;
  routing?: string;
  models?: string[];
}

let services = 0;

/** A service of its own for some requests: breakers and retry budgets of others are not in its way. */
async function service({ running }: Fleet, { continuation = "tokens", routing = "", models = [] }: ServiceOptions = {}): Promise<string> {
  const name = `resume-${++services}`;
  const providers = running.map(({ url }, i) => `    - {type: external, name: p${i}, endpoint: "${url}/v1", api_key: sk-none, model: ${models[i] ?? "m"}, supports: {continuation: ${continuation}}}`);
  await world.offer(name, `name: ${name}\nservice:\n  model: ${name}\n  providers:\n${providers.join("\n")}\n  routing: {timeouts: {ttft: 2s, idle: 1s, total: 30s}${routing}}\n`);
  return name;
}

interface Sweep {
  body: Body;
  spec?: (at: number) => string;
  path?: string;
  options?: ServiceOptions;
  /** Where it breaks off. */
  at: number[];
  /** What the end of the stream says of it; false: anything. */
  methods: (at: number) => string | undefined | false;
}

/** Breaks one answer off after each of some tokens. */
async function sweep(of: Fleet, { body, spec = (at) => `eof@${at}`, path, options, at: places, methods }: Sweep): Promise<void> {
  let name = "";
  for (const [i, at] of places.entries()) {
    // a service's retry budget is good for some thirty losses in a row
    if (i % 25 === 0) name = await service(of, options);
    of.failures.clear();
    of.failures.order(parseFailure(spec(at)), 1);
    const told = await ask(world, name, body, path);
    try {
      expectWhole(told, body, of);
      const method = methods(at);
      if (method !== false) expect(told.resumed).toBe(method);
    } catch (error) {
      throw new Error(`after ${at} tokens: ${(error as Error).message}\n${told.raw.slice(-1500)}`, { cause: error });
    }
  }
}

const every = (to: number): number[] => Array.from({ length: to + 1 }, (_, at) => at);
/** Every so many of them, the first and the last always. */
const some = (to: number, step: number): number[] => every(to).filter((at) => at % step === 0 || at === to || at === 1);

/** Nothing was given after no token, and everything after the last. */
const within = (last: number, method: string) => (at: number): string | undefined => (at === 0 || at >= last ? undefined : method);

const tool = (name: string): object => ({ type: "function", function: { name, parameters: { type: "object", properties: { city: { type: "string" }, days: { type: "integer" } }, required: ["city", "days"] } } });

describe("exact, by token ids", () => {
  let three: Fleet;
  beforeAll(async () => {
    three = await fleet();
  });

  test("a chat that breaks off after any of its 60 tokens reaches the client whole, once", async () => {
    await sweep(three, { body: chat(), at: every(60), methods: within(60, "1 exact") });
  });

  test("so it does when the connection is reset, whatever was on its way then", async () => {
    await sweep(three, { body: chat(), spec: (at) => `rst@${at}`, at: some(60, 5), methods: () => false });
  });

  test("with usage, which counts prompt and answer as one", async () => {
    await sweep(three, { body: chat({ stream_options: { include_usage: true } }), at: some(60, 4), methods: within(60, "1 exact") });
  });

  test("with an end that the model chooses, and no limit", async () => {
    const body: Body = { messages: [{ role: "user", content: "And the tide?" }], min_tokens: 20, stream_options: { include_usage: true } };
    const last = oracle(body).usage.completion_tokens;
    await sweep(three, { body, at: some(last, 5), methods: within(last, "1 exact") });
  });

  test("a text completion", async () => {
    const body: Body = { prompt: "The harbour at night", max_tokens: 40, ignore_eos: true, stream_options: { include_usage: true } };
    await sweep(three, { body, path: "/v1/completions", at: some(40, 3), methods: within(40, "1 exact") });
  });

  test("stop strings over the seam end it where they would have", async () => {
    const whole = oracle(chat()).choices[0]?.content ?? "";
    // it begins in one token and ends in another, well inside
    const stop = whole.slice(Math.floor(whole.length / 2), Math.floor(whole.length / 2) + 14);
    const body = chat({ stop: [stop, "no such text"], stream_options: { include_usage: true } });
    const last = oracle(body).usage.completion_tokens;
    expect(last).toBeLessThan(50);
    // before text of its own was given there is nothing to go on with: it begins again
    await sweep(three, { body, at: every(last), methods: (at) => (at === 0 || at === last ? undefined : at < 8 ? false : "1 exact") });
    const included = chat({ stop, include_stop_str_in_output: true });
    await sweep(three, { body: included, at: some(last, 4), methods: within(last, "1 exact") });
  });

  test.each(["eof", "error", "stall", "garbage,nodone"])("%s in the middle, in pieces cut anywhere", async (kind) => {
    const [breaks = "", ...more] = kind.split(",");
    await sweep(three, { body: chat(), spec: (at) => [`${breaks}@${at}`, "split", ...more].join(","), at: breaks === "stall" ? [7] : [3, 20, 41], methods: () => (breaks === "garbage" ? undefined : "1 exact") });
  });

  test("two losses in one answer", async () => {
    for (const [first, second] of [[5, 9], [20, 1], [1, 30], [33, 20]] as const) {
      const name = await service(three);
      three.failures.clear();
      three.failures.order(parseFailure(`eof@${first}`), 1);
      three.failures.order(parseFailure(`eof@${second}`), 1);
      const body = chat({ stream_options: { include_usage: true } });
      const told = await ask(world, name, body);
      expectWhole(told, body, three);
      expect(told.resumed).toBe("2 exact");
    }
  });

  test("an engine that is put to sleep gives its answers up: another one goes on", async () => {
    const slow = await fleet(2, { itlMs: 10, devMode: true });
    const name = await service(slow);
    const response = await world.fetch("/v1/chat/completions", { method: "POST", body: JSON.stringify({ ...chat(), model: name, stream: true }) });
    const busy = await until("an answer under way", 40_000, () => slow.running.find(({ engine }) => engine.log.stats.tokens > 5));
    busy.engine.abortAll();
    const told = readStream(await response.text());
    expectWhole(told, chat(), slow);
    expect(told.resumed).toBe("1 exact");
  });

  test("explain tells who was lost and who went on", async () => {
    const name = await service(three);
    three.failures.clear();
    three.failures.order(parseFailure("eof@5"), 1);
    const response = await world.fetch("/v1/chat/completions", { method: "POST", body: JSON.stringify({ ...chat(), model: name, stream: true }) });
    await response.text();
    const record = await until("the decision", 40_000, async () => {
      const { code, stdout } = await world.cli(["explain", response.headers.get("x-request-id") ?? "", "--json"]);
      const told = code === 0 && (JSON.parse(stdout) as { attempts: { outcome: string }[] });
      return told !== false && told.attempts.length > 1 && told;
    });
    expect(record.attempts.map(({ outcome }) => outcome)).toEqual(["lost", "answer"]);
  });

  test.each([["eof@5", 3, "continue"], ["eof@5", 1, "error"]])("explain tells of an answer that ended with an error (%s for %i, on_stream_loss %s)", async (spec, count, onStreamLoss) => {
    const name = await service(three, { routing: `, on_stream_loss: ${onStreamLoss}` });
    three.failures.clear();
    three.failures.order(parseFailure(spec), count);
    const response = await world.fetch("/v1/chat/completions", { method: "POST", body: JSON.stringify({ ...chat(), model: name, stream: true }) });
    expect(await response.text()).toContain('"code":"provider_unreachable"');
    const told = await until("the decision", 40_000, async () => {
      const { code, stdout } = await world.cli(["explain", response.headers.get("x-request-id") ?? ""]);
      return code === 0 && stdout.includes("ended with an error") && stdout;
    });
    expect(told).toContain("the upstream was lost");
    expect(told.match(/lost in the middle of its answer/g)).toHaveLength(count);
  });

  test("a client that leaves while another upstream is waited for is noticed, and that one cancelled", async () => {
    const two = await fleet(2);
    const name = await service(two);
    two.failures.order(parseFailure("eof@5"), 1);
    two.failures.order(parseFailure("hang"), 1);
    const leaving = new AbortController();
    const response = await world.fetch("/v1/chat/completions", { method: "POST", body: JSON.stringify({ ...chat(), model: name, stream: true }), signal: leaving.signal });
    const reader = response.body?.getReader();
    let raw = "";
    // comments come into the silence
    while (!raw.endsWith(": \n\n")) raw += new TextDecoder().decode((await reader?.read())?.value);
    leaving.abort();
    await until("the end of its requests", 1_500, () => two.running.every(({ engine }) => engine.log.stats.inFlight === 0));
    expect(two.running.reduce((sum, { engine }) => sum + engine.log.stats.aborted, 0)).toBe(1);
  });

  test("attempts are counted over the whole request", async () => {
    const name = await service(three);
    three.failures.clear();
    three.failures.order(parseFailure("eof@5"), 3);
    const told = await ask(world, name, chat());
    expect(told).toMatchObject({ errors: [{ code: "provider_unreachable" }], done: 0, resumed: undefined });
    expect(oracle(chat()).choices[0]?.content?.startsWith(told.choices[0]?.content ?? "-")).toBe(true);
  });
});

describe("from text", () => {
  test("a chat that breaks off after any of its tokens goes on from what was given", async () => {
    const three = await fleet();
    // it ends by itself: how many tokens a text had is not known where nobody tells ids
    const body: Body = { messages: [{ role: "user", content: "Tell me of the harbour." }] };
    const last = oracle(body).usage.completion_tokens;
    await sweep(three, { body, options: { continuation: "text" }, at: some(last, 3), methods: within(last, "1 text") });
  });

  test("usage is the sum of what was read and written", async () => {
    const three = await fleet();
    const body = chat({ stream_options: { include_usage: true } });
    const name = await service(three, { continuation: "text" });
    three.failures.order(parseFailure("eof@25"), 1);
    const told = await ask(world, name, body);
    const { usage } = oracle(body);
    expect(told.resumed).toBe("1 text");
    expect(told.usage).toHaveLength(1);
    expect(told.usage[0]?.total_tokens).toBe(usage.total_tokens);
    expect(Math.abs((told.usage[0]?.completion_tokens ?? 0) - usage.completion_tokens)).toBeLessThan(6);
  });
});

describe("the same answer again", () => {
  let three: Fleet;
  beforeAll(async () => {
    three = await fleet();
  });
  const none: ServiceOptions = { continuation: "none" };

  test("a chat that nobody can continue is given again, and goes on where it broke off", async () => {
    await sweep(three, { body: chat({ stream_options: { include_usage: true } }), options: none, at: some(59, 5), methods: within(60, "1 regenerate") });
  });

  test("tool calls, each with its id and its whole arguments", async () => {
    const body: Body = { messages: [{ role: "user", content: "Use the tools" }], tools: [tool("weather"), tool("tides")] as never, max_tokens: 200 };
    const last = oracle(body).usage.completion_tokens;
    await sweep(three, { body, at: some(last, 4), methods: (at) => (at === 0 || at >= last ? undefined : "1 regenerate") });
  });

  test("reasoning, in its middle and after it", async () => {
    const thinking = await fleet(3, { reasoning: true });
    const body = chat({ stream_options: { include_usage: true } });
    const { choices } = oracle(body, { reasoning: true });
    expect(choices[0]?.reasoning).toBeTruthy();
    await sweep(thinking, { body, options: none, at: some(59, 5), methods: within(60, "1 regenerate") });
    // by ids only where the thinking is over: before that it is for the engine's parser to say what is what
    await sweep(thinking, { body, at: [2, 5, 10], methods: () => "1 regenerate" });
    await sweep(thinking, { body, at: [25, 40, 55], methods: () => "1 exact" });
  });

  test("two choices at once, of which one may be over", async () => {
    const body = chat({ n: 2, max_tokens: 40 });
    await sweep(three, { body, at: some(80, 5), methods: within(80, "1 regenerate") });
  });

  test("logprobs, one for each token", async () => {
    const body = chat({ logprobs: true, top_logprobs: 2 });
    const name = await service(three);
    three.failures.clear();
    const undisturbed = await ask(world, name, body);
    for (const at of some(60, 7)) {
      three.failures.order(parseFailure(`eof@${at}`), 1);
      const told = await ask(world, name, body);
      expectWhole(told, body, three);
      expect(told.choices[0]?.logprobs).toEqual(undisturbed.choices[0]?.logprobs);
    }
  });

  test("structured output", async () => {
    const body: Body = { messages: [{ role: "user", content: "As JSON" }], response_format: { type: "json_object" } };
    const last = oracle(body).usage.completion_tokens;
    await sweep(three, { body, at: some(last, 3), methods: (at) => (at === 0 || at >= last ? undefined : "1 regenerate") });
  });

  test("a provider that is alone is asked once more", async () => {
    const one = await fleet(1);
    await sweep(one, { body: chat(), options: none, at: [5, 30], methods: () => "1 regenerate" });
  });
});

describe("what does not go on ends with one typed error", () => {
  async function lost(of: Fleet, body: Body, options: ServiceOptions = {}, times = 1): Promise<void> {
    const name = await service(of, options);
    of.failures.clear();
    of.failures.order(parseFailure("eof@12"), times);
    const told = await ask(world, name, body);
    expect({ errors: told.errors.map(({ code }) => code), done: told.done, resumed: told.resumed, finish: told.choices[0]?.finish }).toEqual({ errors: ["provider_unreachable"], done: 0, resumed: undefined, finish: [] });
    const whole = oracle(body).choices[0]?.content ?? "";
    expect(told.choices[0]?.content).not.toBe("");
    expect(whole.startsWith(told.choices[0]?.content ?? "-")).toBe(true);
  }

  test("on_stream_loss: error", async () => {
    await lost(await fleet(2), chat(), { routing: ", on_stream_loss: error" });
  });

  test("another model that cannot be told where to go on", async () => {
    const two = await fleet(2);
    for (const { engine } of two.running) engine.settings.servedNames.push("other");
    // the provider is asked again, being a single endpoint, and is lost again
    await lost(two, chat(), { continuation: "none", models: ["m", "other"] }, 2);
    expect(two.running[1]?.engine.log.stats.requests).toBe(0);
  });

  test("the same model with another answer: nothing of it is mixed in", async () => {
    const [one, two] = [await fleet(1), await fleet(1, { seed: 7 })];
    const both: Fleet = { running: [...one.running, ...two.running], failures: one.failures, reasoning: false };
    await lost(both, chat(), { continuation: "none", routing: ", retries: {attempts: 2}" });
  });
});

test("an answer that is not streamed and breaks off is asked for elsewhere", async () => {
  const three = await fleet();
  const body = chat();
  const expected = oracle(body).choices[0]?.content;
  let name = "";
  for (const [i, at] of some(60, 6).entries()) {
    // a breaker opens after three failures in a row
    if (i % 3 === 0) name = await service(three);
    three.failures.clear();
    three.failures.order(parseFailure(`${at % 2 === 0 ? "rst" : "eof"}@${at}`), 1);
    const response = await world.fetch("/v1/chat/completions", { method: "POST", body: JSON.stringify({ ...body, model: name }) });
    expect(response.status).toBe(200);
    expect(((await response.json()) as { choices: { message: { content: string } }[] }).choices[0]?.message.content).toBe(expected);
  }
});
