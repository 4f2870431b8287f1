import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { claimPort } from "../../scripts/local/ports.ts";
import { engineYaml, until, World } from "../e2e/world.ts";
import { Proxy } from "../proxy/proxy.ts";

const tokens = 60;
/** A router learns of a host's gate with its next view. */
const viewMs = 3_000;

let world: World;
let gate: Proxy;
let engine = "";

const ask = { stream: true, max_tokens: tokens, seed: 1, ignore_eos: true };
const requests = async (): Promise<number> => ((await (await fetch(`${engine}/_sim/stats`)).json()) as { last: { path: string }[] }).last.filter(({ path }) => path === "/v1/chat/completions").length;
const throughGate = (): number => gate.open.filter(({ path }) => path === "/v1/chat/completions").length;

/** The text of a stream; `begun` is called when its first chunk is here. */
async function streamed(begun: () => void = () => undefined): Promise<{ text: string; done: boolean }> {
  const response = await world.chat("steady", ask);
  expect(response.status).toBe(200);
  let raw = "";
  const decoder = new TextDecoder();
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    if (raw === "") begun();
    raw += decoder.decode(chunk, { stream: true });
  }
  const events = raw.split("\n").filter((line) => line.startsWith("data: {")).map((line) => JSON.parse(line.slice(6)) as { choices?: { delta?: { content?: string } }[] });
  return { text: events.map(({ choices }) => choices?.[0]?.delta?.content ?? "").join(""), done: raw.includes("data: [DONE]") };
}

async function oracle(): Promise<string> {
  const body = { model: "steady", messages: [{ role: "user", content: "Hello" }], ...ask, stream: false };
  const response = await fetch(`${engine}/v1/chat/completions`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  return ((await response.json()) as { choices: { message: { content: string } }[] }).choices[0]?.message.content ?? "";
}

beforeAll(async () => {
  world = await World.start();
  const { port, release } = await claimPort();
  gate = await Proxy.start(port);
  const file = join(world.state, "agent.yaml");
  writeFileSync(file, `${readFileSync(file, "utf8")}\ntransport:\n  direct: {listen: "127.0.0.1:${port}", url: "http://127.0.0.1:${gate.port}"}\n`);
  await release();
  process.kill(world.pids()["agent"] ?? 0, "SIGKILL");
  await world.apply("steady", engineYaml("steady", { flags: "--itl 15ms --ttft 5ms" }));
  await world.ready("steady", 1);
  engine = await until("the engine's address", 40_000, async () => /engine listening on (http:\S+)/.exec((await world.cli(["logs", "steady", "--no-follow"])).stdout)?.[1]);
  await until("a router that knows the gate", 40_000, async () => {
    let seen = 0;
    await streamed(() => (seen = throughGate()));
    return seen > 0;
  });
});
afterAll(async () => {
  await world?.stop();
  await gate?.stop();
});

describe("transport: direct", () => {
  test("a stream comes through the gate, and one whose gate is lost in the middle goes on through a relay: the engine answers once", async () => {
    const text = await oracle();
    expect(text.length).toBeGreaterThan(tokens);
    const before = await requests();
    let through = 0;
    expect(await streamed(() => (through = throughGate()))).toEqual({ text, done: true });
    expect(through).toBe(1);
    expect(await streamed(() => setTimeout(() => gate.open.forEach((one) => one.cut()), 300))).toEqual({ text, done: true });
    expect(await requests()).toBe(before + 2);
  });

  test("a gate of which nothing comes any more in the middle of a stream is left for a relay: the engine answers once", async () => {
    const text = await oracle();
    const before = await requests();
    let heldAt = 0;
    let through = 0;
    const hold = (): void => {
      through = throughGate();
      gate.silent = true;
      gate.open.forEach((one) => one.hold());
      heldAt = Date.now();
    };
    try {
      expect(await streamed(() => setTimeout(hold, 300))).toEqual({ text, done: true });
      expect(through).toBe(1);
      // far below the limit of its silence, 15 s
      expect(Date.now() - heldAt).toBeLessThan(10_000);
      expect(await requests()).toBe(before + 1);
      expect(await streamed()).toEqual({ text, done: true });
    } finally {
      gate.silent = false;
      gate.open.forEach((one) => one.cut());
    }
    await until("a stream through the gate", 40_000, async () => {
      let seen = 0;
      await streamed(() => (seen = throughGate()));
      return seen > 0;
    });
  });

  test("a gate that cannot be reached costs nobody an answer: the relays carry it", async () => {
    const text = await oracle();
    gate.refuses = true;
    gate.open.forEach((one) => one.cut());
    try {
      for (let i = 0; i < 3; i++) expect(await streamed()).toEqual({ text, done: true });
    } finally {
      gate.refuses = false;
    }
    // and is used again when it is back, by breaker's time
    await until("a stream through the gate", 15_000 + viewMs, async () => {
      let seen = 0;
      await streamed(() => (seen = throughGate()));
      return seen > 0;
    });
  });
});

describe("row 27: a client that stops reading", () => {
  const rssKiB = (part: string): number => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${world.pids()[part]}/status`, "utf8"))?.[1]);
  const told = async (): Promise<number> => ((await (await fetch(`${fast}/_sim/stats`)).json()) as { tokens: number }).tokens;
  let fast = "";

  test.each([["gate", false], ["relay", true]])("stops its engine, and nothing grows meanwhile (by %s)", async (_, refuses) => {
    if (fast === "") {
      await world.apply("fast", engineYaml("fast", { flags: "--itl 0ms --ttft 1ms" }));
      await world.ready("fast", 1);
      fast = await until("the engine's address", 40_000, async () => /engine listening on (http:\S+)/.exec((await world.cli(["logs", "fast", "--no-follow"])).stdout)?.[1]);
    }
    gate.refuses = refuses;
    if (refuses) gate.open.forEach((one) => one.cut());
    const stop = new AbortController();
    try {
      // some 100 MB, were it all read
      const response = await world.chat("fast", { stream: true, max_tokens: 500_000, ignore_eos: true }, { signal: stop.signal });
      const reader = (response.body as ReadableStream<Uint8Array>).getReader();
      await reader.read();
      expect(throughGate() > 0).toBe(!refuses);
      let before = -1;
      const stopped = await until("the engine's stop", 40_000, async () => {
        await new Promise((done) => setTimeout(done, 400));
        const now = await told();
        const same = now === before;
        before = now;
        return same && now;
      });
      expect(stopped).toBeLessThan(250_000);
      const held = ["workerd", "agent"].map(rssKiB);
      await new Promise((done) => setTimeout(done, 1_000));
      expect(await told()).toBe(stopped);
      for (const [i, part] of ["workerd", "agent"].entries()) expect(rssKiB(part) - (held[i] ?? 0)).toBeLessThan(8 * 1024);
    } finally {
      stop.abort();
      gate.refuses = false;
    }
  });
});
