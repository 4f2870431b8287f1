import { afterAll, beforeAll, expect, test } from "vitest";
import { ask, chat, expectWhole, type Told } from "../e2e/told.ts";
import { calm, enginesOf, order as orderOf } from "../e2e/upstreams.ts";
import { engineYaml, until, World } from "../e2e/world.ts";

const name = "resume-trio";
let world: World;

beforeAll(async () => {
  world = await World.start();
  await world.apply(name, engineYaml(name, { replicas: 3, flags: "--itl 1ms --ttft 1ms", more: "  routing: {timeouts: {ttft: 2s, idle: 1s, total: 30s}}" }));
  await world.ready(name, 3);
  // what runs them is read from their metrics: nothing was said of it
  await until("token ids", 40_000, async () => {
    const { body } = await world.control("GET", "/v1/status");
    return JSON.stringify(body).split('"engine":"vllm"').length > 3;
  });
});
afterAll(() => world?.stop());

let urls: string[] = [];
let killed = 0;

/** All of them are there again; one that was killed listens elsewhere now. */
async function allBack(): Promise<void> {
  urls = [];
  await until("the return of what was killed", 30_000, async () => {
    const replicas = await world.replicas(name);
    return replicas.reduce((sum, { restarts }) => sum + restarts, 0) >= killed && replicas.filter(({ phase }) => phase === "ready").length === 3;
  });
}

/** What is ordered meets the next chat on any of them, and no completion: that is how another goes on with it. */
async function order(spec: string, engines = Infinity): Promise<void> {
  if (urls.length === 0) urls = (await enginesOf(world, name)).map(({ url }) => url);
  expect(urls).toHaveLength(3);
  await Promise.all(urls.slice(0, engines).map((url) => orderOf(url, spec, 1, "/v1/chat/completions")));
}
async function clear(): Promise<void> {
  await Promise.all(urls.map((url) => calm(url).catch(() => undefined)));
}

test("an engine killed after some tokens: another replica goes on from its token ids", async () => {
  for (const at of [1, 13, 30, 59]) {
    await order(`die@${at}`);
    const body = chat({ stream_options: { include_usage: true } });
    const told = await ask(world, name, body);
    await clear();
    expect(told.resumed).toMatch(at < 3 ? /^1 (exact|regenerate)$/ : /^1 exact$/);
    expectWhole(told, body, { model: name });
    killed++;
    await allBack();
  }
});

// What was on its way may be lost with a reset; without a token the request begins anew, as a chat: it must not meet a second reset,
// of which it would be poison.
test("rst after some tokens", async () => {
  for (const at of [4, 21, 38]) {
    await order(`rst@${at}`, 1);
    let told: Told | undefined;
    for (let tries = 0; tries < 100 && told?.resumed === undefined; tries++) {
      told = await ask(world, name, chat());
      expectWhole(told, chat(), { model: name });
    }
    expect(told?.resumed ?? "").toMatch(/^1 (exact|regenerate)$/);
  }
});

test.each(["eof", "error", "garbage,nodone"])("%s after some tokens", async (spec) => {
  const [kind = "", ...more] = spec.split(",");
  for (const at of [4, 21, 38]) {
    await order([`${kind}@${at}`, ...more].join(","));
    const told = await ask(world, name, chat());
    await clear();
    expectWhole(told, chat(), { model: name });
    // one bad event is left out, and nothing is lost by it
    expect(told.resumed ?? "").toMatch(kind === "garbage" ? /^$/ : /^1 exact$/);
  }
});
