import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { enginesOf, fail, TwoVendors } from "../e2e/upstreams.ts";
import { engineYaml, until, type World } from "../e2e/world.ts";
import { startEngine, type Running } from "../engine/server.ts";
import { settings } from "../engine/settings.ts";

let vendors: TwoVendors;
let world: World;
let one: Running;
let two: Running;
/** A vendor that nothing is ever wrong with. */
let calm: Running;

beforeAll(async () => {
  vendors = await TwoVendors.start({ itlMs: 1, ttftMs: 1 });
  ({ world, one, two } = vendors);
  calm = await startEngine(settings({ model: "m", itlMs: 1, ttftMs: 1 }));
  await world.offer("calm", `name: calm\nservice:\n  model: calm\n  providers: [{type: external, name: calm, endpoint: "${calm.url}/v1", api_key: sk-none, model: m}]\n`);
});
afterAll(async () => {
  await vendors?.stop();
  await calm?.stop();
});
beforeEach(() => vendors.calm());

/** For as long as a test lasts. */
const always = 1_000_000;

function failAll(spec: string): void {
  for (const engine of [one, two]) fail(engine, spec, always);
}

const asked = (): number => one.engine.log.stats.requests + two.engine.log.stats.requests;
const upstreamOf = (response: Response): string | null => response.headers.get("x-fairlead-upstream");
const pair = (name: string, ttft = "1s"): Promise<string> => vendors.serve(name, `{timeouts: {ttft: ${ttft}, total: 30s}}`);

interface Answer {
  status: number;
  ms: number;
  upstream: string | null;
  retryAfter: string | null;
}

async function answerOf(model: string): Promise<Answer> {
  const at = Date.now();
  const response = await world.chat(model, { max_tokens: 2 });
  await response.arrayBuffer();
  return { status: response.status, ms: Date.now() - at, upstream: upstreamOf(response), retryAfter: response.headers.get("retry-after") };
}

/** So many answers a second for a time. */
async function load(model: string, perSecond: number, seconds: number): Promise<Answer[]> {
  const work: Promise<Answer>[] = [];
  for (let i = 0, began = Date.now(); i < perSecond * seconds; i++) {
    await wait(Math.max(0, began + (i * 1000) / perSecond - Date.now()));
    work.push(answerOf(model));
  }
  return Promise.all(work);
}

/** The same, and beside them answers that nothing is wrong with: by how much the median, from a share of them on, is above theirs, which is the machine's part. */
async function loadBeside(model: string, perSecond: number, seconds: number, from: number): Promise<{ answers: Answer[]; slowerMs: number }> {
  const [answers, good] = await Promise.all([load(model, perSecond, seconds), load("calm", perSecond / 5, seconds)]);
  expect(new Set(good.map(({ status }) => status))).toEqual(new Set([200]));
  const [own, theirs] = [answers, good].map((all) => median(all.slice(all.length * from).map(({ ms }) => ms)));
  return { answers, slowerMs: (own ?? 0) - (theirs ?? 0) };
}

function median(numbers: number[]): number {
  return numbers.sort((a, b) => a - b)[numbers.length >> 1] ?? 0;
}

describe("everything fails", () => {
  test("row 9: in a storm of 500s there are at most 1.1 attempts a request beyond the bucket, each told quickly when to come back", async () => {
    await pair("storm");
    failAll("status=500");
    const before = asked();
    const { answers, slowerMs } = await loadBeside("storm", 50, 12, 0.5);
    // the bucket's 500 tokens, at 14 a repetition, are spent once and then the load is the requests'
    const bucket = Math.floor(500 / 14);
    expect(asked() - before).toBeLessThanOrEqual(1.1 * answers.length + bucket);
    expect(answers.filter(({ status }) => status !== 502 && status !== 503)).toEqual([]);
    expect(answers.filter(({ retryAfter }) => retryAfter === null)).toEqual([]);
    expect(slowerMs).toBeLessThan(50);
  });

  test("row 12: when nobody says anything any more, callers are told so at once, and not each after a timeout", async () => {
    await pair("silent", "500ms");
    failAll("hang");
    for (let i = 0; i < 4; i++) expect([502, 504]).toContain((await world.chat("silent")).status);
    const { answers, slowerMs } = await loadBeside("silent", 20, 2, 0);
    expect(answers.filter(({ status }) => status < 500)).toEqual([]);
    expect(slowerMs).toBeLessThan(50);
  });
});

describe("one of two fails", () => {
  test.each([["answers 503", "status=503"], ["cuts every connection", "rst@0"], ["hangs", "hang"]])("row 12: a provider that %s for a while costs no request, and is used again soon after", async (what, spec) => {
    const model = `outage-${what.split(" ")[0] ?? ""}`;
    await pair(model, "700ms");
    fail(one, spec, always);
    const answers = await load(model, 10, 6);
    expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
    expect(new Set(answers.map(({ upstream }) => upstream))).toEqual(new Set(["two"]));
    one.engine.failures.clear();
    await until("its return", 30_000, async () => upstreamOf(await world.chat(model, { max_tokens: 2 })) === "one");
  });

  test("row 5: a provider that drips is kept", async () => {
    await pair("drips");
    fail(one, "slow=1s", always);
    const texts = await Promise.all(Array.from({ length: 5 }, async () => (await world.chat("drips", { max_tokens: 4, stream: true })).text()));
    for (const text of texts) expect(text).toContain("[DONE]");
    one.engine.failures.clear();
    expect(upstreamOf(await world.chat("drips", { max_tokens: 2 }))).toBe("one");
  });
});

async function engineOf(replica: string): Promise<number> {
  return (await enginesOf(world, "trio")).find((engine) => engine.replica === replica)?.pid ?? expect.fail(`no engine of ${replica}`);
}

describe("replicas", () => {
  test("rows 1 and 3: one that is stopped, then killed, costs no request", async () => {
    await world.apply("trio", engineYaml("trio", { replicas: 3, flags: "--itl 1ms", more: "  routing: {timeouts: {ttft: 1s, total: 30s}}" }));
    await world.ready("trio", 3);
    const [first, second] = await world.replicas("trio");
    const hung = await engineOf(first?.id ?? "");
    process.kill(hung, "SIGSTOP");
    try {
      const during = await load("trio", 20, 3);
      expect(during.filter(({ status }) => status !== 200)).toEqual([]);
    } finally {
      process.kill(hung, "SIGCONT");
    }
    process.kill(await engineOf(second?.id ?? ""), "SIGKILL");
    const after = await load("trio", 50, 4);
    expect(after.filter(({ status }) => status !== 200)).toEqual([]);
  });
});
