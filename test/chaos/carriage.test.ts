import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { addressOf } from "../e2e/upstreams.ts";
import { engineYaml, until, World } from "../e2e/world.ts";
import { Proxy, type Through, type Told } from "../proxy/proxy.ts";
import { longestGapMs, readStreamed, type Streamed } from "./streamed.ts";

const tokens = 60;
/** A link that was open for so long is opened again at once (agent/reconnect.ts). */
const stableMs = 10_000;
/** The pause that a lost relay may cost (failure model, row 20). */
const pauseMsMax = 1_000;

let world: World;
let proxy: Proxy;
let engine = "";

interface Stats {
  tokens: number;
  aborted: number;
  last: { number: number; path: string }[];
}

/** What the engine has seen: its probes are not counted. */
async function seen(): Promise<{ requests: (after?: number) => number; last: number; tokens: number; aborted: number }> {
  const { tokens: all, aborted, last } = (await (await fetch(`${engine}/_sim/stats`)).json()) as Stats;
  return { tokens: all, aborted, last: last.at(-1)?.number ?? 0, requests: (after = 0) => last.filter(({ number, path }) => number > after && path === "/v1/chat/completions").length };
}

/** What some work costs the engine. */
async function costing<T>(work: () => Promise<T>): Promise<{ result: T; cost: { requests: number; tokens: number; aborted: number } }> {
  const before = await seen();
  const result = await work();
  const after = await seen();
  return { result, cost: { requests: after.requests(before.last), tokens: after.tokens - before.tokens, aborted: after.aborted - before.aborted } };
}

const links = (): Through[] => proxy.open.filter(({ path }) => path.startsWith("/agents/relay/"));
const bothUp = (): Promise<boolean> => until("both data links", 40_000, async () => {
  const { body } = await world.control("GET", "/v1/status");
  return links().length === 2 && (body["hosts"] as { relays: number[] }[]).some(({ relays }) => relays.length === 2);
});

/** An agent whose links break again and again takes its time to open them: what depends on that begins with links that were good. */
const bothGood = (): Promise<boolean> => until("links that were good for a while", 40_000, async () => (await bothUp()) && links().every(({ since }) => Date.now() - since > stableMs));

beforeAll(async () => {
  world = await World.start();
  // the agent dials the fleet through the proxy from its next start on
  const file = join(world.state, "agent.yaml");
  const config = readFileSync(file, "utf8");
  proxy = await Proxy.start(Number(/fleet_url: http:\/\/127\.0\.0\.1:(\d+)/.exec(config)?.[1]));
  writeFileSync(file, config.replace(/fleet_url: \S+/, `fleet_url: http://127.0.0.1:${proxy.port}`));
  process.kill(world.pids()["agent"] ?? 0, "SIGKILL");
  await bothUp();
  await world.apply("steady", engineYaml("steady", { flags: "--itl 15ms --ttft 5ms" }));
  await world.ready("steady", 1);
  engine = await addressOf(world, "steady");
});
afterAll(async () => {
  await world?.stop();
  await proxy?.stop();
});

const request = { stream: true, max_tokens: tokens, seed: 1, ignore_eos: true };

/** What the model says, undisturbed, asked at the engine itself. */
async function oracle(): Promise<string> {
  const body = { model: "steady", messages: [{ role: "user", content: "Hello" }], ...request, stream: false };
  const response = await fetch(`${engine}/v1/chat/completions`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  return ((await response.json()) as { choices: { message: { content: string } }[] }).choices[0]?.message.content ?? "";
}

async function streamed(atToken?: (index: number) => void, more: Record<string, unknown> = {}): Promise<Streamed> {
  return readStreamed(await world.chat("steady", { ...request, ...more }), atToken);
}

/** Cuts links when it is told to, the one that carries the most first. */
function scissors() {
  const before = new Map(links().map((link) => [link, link.upBytes]));
  return (told: Told = "both", count = 1): void => {
    const carried = (link: Through): number => link.upBytes - (before.get(link) ?? 0);
    for (const link of links().toSorted((a, b) => carried(b) - carried(a)).slice(0, count)) link.cut(told);
  };
}

describe("row 20: a data link that is cut in the middle of a stream", () => {
  test.each<[string, Told, number[], () => Promise<boolean>]>([
    ["both ends see it", "both", [0, 1, 7, 30, tokens - 2], bothUp],
    // the agent's next connection tells it
    ["its relay does not see it", "near", [1, 30], bothGood],
    // the agent has two links again after 15 s of silence
    ["its agent does not see it", "far", [1, 7, 30], bothUp],
  ])("breaks nothing at any token: one request, no token twice, none missing (%s)", async (_, told, places, ready) => {
    const expected = await oracle();
    for (const cutAt of places) {
      await ready();
      const cut = scissors();
      const { result: got, cost } = await costing(() => streamed((index) => index === cutAt && cut(told)));
      expect({ ...got, ids: got.ids.size, at: undefined }).toEqual({ text: expected, ids: 1, roles: 1, errors: 0, done: true, at: undefined });
      if (told === "both") expect(longestGapMs(got)).toBeLessThan(pauseMsMax);
      expect(cost).toEqual({ requests: 1, tokens, aborted: 0 });
    }
  });

  test("breaks none of many streams", async () => {
    await bothUp();
    const expected = await oracle();
    const cut = scissors();
    let cuts = 0;
    const { result: all, cost } = await costing(() => Promise.all(Array.from({ length: 20 }, async (_, i) => streamed((index) => i === 0 && index === 10 && cuts++ === 0 && cut()))));
    expect(cuts).toBe(1);
    expect(all.filter(({ text, done, errors }) => text !== expected || !done || errors > 0)).toEqual([]);
    expect(Math.max(...all.map((one) => longestGapMs(one)))).toBeLessThan(pauseMsMax);
    expect(cost).toEqual({ requests: 20, tokens: 20 * tokens, aborted: 0 });
  });

  test("breaks nothing when both links are cut at once, streamed or not: the agent is back before answers are given up", async () => {
    await bothGood();
    const expected = await oracle();
    const cut = scissors();
    const { result: [response, got], cost } = await costing(() => Promise.all([world.chat("steady", { ...request, stream: false }), streamed((index) => index === 20 && cut("both", 2))]));
    expect(got).toMatchObject({ text: expected, done: true, errors: 0 });
    expect(response.status).toBe(200);
    expect(((await response.json()) as { choices: { message: { content: string } }[] }).choices[0]?.message.content).toBe(expected);
    expect(cost).toEqual({ requests: 2, tokens: 2 * tokens, aborted: 0 });
  });
});

test("row 37: a stream whose agent stays away ends with one typed error, its engine is let off, and all is well afterwards", async () => {
  await bothUp();
  const expected = await oracle();
  const before = await seen();
  const cut = scissors();
  let cutAt = 0;
  proxy.refuses = true;
  try {
    const got = await streamed((index) => {
      if (index !== 20) return;
      cutAt = Date.now();
      cut("both", 2);
    }, { max_tokens: 2_000 });
    expect(got).toMatchObject({ done: false, errors: 1 });
    expect(got.text.startsWith(expected.slice(0, 40))).toBe(true);
    expect(Date.now() - cutAt).toBeLessThan(4_000);
    await until("the engine's abort", 6_000, async () => (await seen()).aborted === before.aborted + 1);
  } finally {
    proxy.refuses = false;
  }
  await bothUp();
  expect(await streamed()).toMatchObject({ text: expected, done: true, errors: 0 });
});
