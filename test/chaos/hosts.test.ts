import { spawn } from "node:child_process";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Agent } from "../e2e/agent.ts";
import { engineYaml, until, World } from "../e2e/world.ts";
import { Metadata } from "../metadata/metadata.ts";

let world: World;
let metadata: Metadata;
let other: Agent;
let spot: Agent;

interface Replica {
  id: string;
  phase: string;
  host: string;
  reason?: string;
}
const replicas = async (service: string): Promise<Replica[]> => (await world.replicas(service)) as unknown as Replica[];
const on = async (service: string, host: string): Promise<Replica | undefined> => (await replicas(service)).find((one) => one.host === host && one.phase !== "reclaimed");

beforeAll(async () => {
  world = await World.start();
  metadata = await Metadata.start("aws");
  spot = await Agent.join(world, "spot", { config: [`reclaim: {cloud: auto, base_url: "${metadata.url}"}`, "drain: 4s", "kill_after: 1s"] });
  other = await Agent.join(world, "other", { config: ["drain: 20s"] });
});
afterAll(async () => {
  await Promise.all([spot?.stop(), other?.stop()]);
  await metadata?.stop();
  await world?.stop();
});

/** Everything that a stream brought: its text, and how it ended. */
async function readWhole(response: Response): Promise<{ text: string; isDone: boolean; isError: boolean }> {
  const all = await response.text();
  const events = all.split("\n\n").filter((part) => part.startsWith("data: {")).map((part) => JSON.parse(part.slice(6)) as { error?: unknown; choices?: { delta?: { content?: string } }[] });
  return { text: events.map(({ choices }) => choices?.[0]?.delta?.content ?? "").join(""), isDone: all.includes("data: [DONE]"), isError: events.some(({ error }) => error !== undefined) };
}

/** Which replica answers a request. */
async function answeredBy(): Promise<string | undefined> {
  const answer = await world.chat("chat", { max_tokens: 2 });
  expect(answer.status).toBe(200);
  await answer.text();
  const id = answer.headers.get("x-request-id") ?? "";
  return until("the decision", 40_000, async () => (await world.control("GET", `/v1/explain/${id}`)).body["upstream"] as string | undefined);
}

/** What the model says, from an engine that says it at once. */
async function oracle(): Promise<string> {
  const engine = spawn(process.execPath, ["test/engine/main.ts", "--port", "0", "--model", "chat", "--itl", "0ms", "--ttft", "0ms", ...flags], { cwd: join(import.meta.dirname, "../.."), stdio: ["ignore", "pipe", "inherit"] });
  try {
    let said = "";
    engine.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
    const url = await until("the engine's address", 40_000, () => /engine listening on (http:\S+)/.exec(said)?.[1]);
    const response = await fetch(`${url}/v1/chat/completions`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ model: "chat", messages: [{ role: "user", content: "Hello" }], ...request }) });
    return (await readWhole(response)).text;
  } finally {
    engine.kill("SIGKILL");
  }
}

const flags = ["--seed", "5"];
const request = { stream: true, max_tokens: 300, seed: 3, ignore_eos: true };

describe("a host that its cloud takes back", () => {
  test("has a replacement before it goes, takes no new request once that is ready, and its streams end well", async () => {
    // the world's own host is emptied first: what follows is between the two others, and `hosts drain` is seen on the way
    await world.apply("chat", engineYaml("chat", { flags: `--itl 40ms ${flags.join(" ")}` }));
    await world.ready("chat", 1);
    const { body } = await world.control("GET", "/v1/status");
    const [first] = body["hosts"] as { id: string; name: string }[];
    await spot.run();
    const drained = await world.cli(["hosts", "drain", first?.id ?? "", "--json"]);
    expect(drained.stderr).toMatch(/chat\.local\.2 on spot: ready/);
    expect(JSON.parse(drained.stdout)).toMatchObject({ id: first?.id, draining: true, empty: true });
    expect((await replicas("chat")).map(({ host, phase }) => [host, phase])).toEqual([[spot.id, "ready"]]);
    await other.run();

    const streaming = await world.chat("chat", request);
    const before = readWhole(streaming);
    const noticed = Date.now();
    metadata.takeBack(12_000);
    // told at once: where it goes and why, and another one is started while the old one serves
    const leaving = await until("the notice to be heard of", 8_000, async () => {
      const seen = await spot.seen();
      return seen?.state === "draining" && seen;
    });
    expect(leaving.reason).toMatch(/^AWS terminates this spot instance at \d\d:\d\d:\d\d UTC$/);
    const replacement = await until("a replacement", 10_000, () => on("chat", other.id));
    expect((await on("chat", spot.id))?.phase).toMatch(/ready|draining/);
    await until("the replacement to be ready", 15_000, async () => (await on("chat", other.id))?.phase === "ready");
    expect(Date.now() - noticed).toBeLessThan(12_000);

    // an isolate that was idle has an old view: once it knows, nothing new goes there
    await until("the old one to drain", 10_000, async () => (await on("chat", spot.id))?.phase !== "ready");
    await until("an answer from the replacement", 40_000, async () => (await answeredBy()) === replacement.id);
    expect(new Set(await Promise.all(Array.from({ length: 10 }, answeredBy)))).toEqual(new Set([replacement.id]));
    // it was cut with its host, and another went on with it: nothing is missing, nothing came twice
    expect(await before).toEqual({ text: await oracle(), isDone: true, isError: false });
    const ended = await until("its end", 40_000, async () => (await replicas("chat")).find(({ host, phase }) => host === spot.id && phase === "reclaimed"));
    expect(ended.reason).toMatch(/AWS terminates this spot instance|requests were still in flight/);
    const { stdout } = await world.cli(["hosts", "list"]);
    expect(stdout).toMatch(/spot.*draining: AWS terminates this spot instance/);
  }, 240_000);

  test("SIGTERM asks for the replacement at once, too", async () => {
    const { body } = await world.control("GET", "/v1/status");
    const [first] = body["hosts"] as { id: string; name: string }[];
    expect((await world.cli(["hosts", "drain", first?.id ?? "", "--undo"])).stdout).toContain("takes replicas again");
    const streaming = world.chat("chat", request);
    await until("the stream", 40_000, async () => (await on("chat", other.id)) !== undefined && (await streaming).status === 200);
    const ended = other.kill("SIGTERM");
    // while it still carries the stream
    await until("a replacement", 5_000, () => on("chat", first?.id ?? ""));
    expect((await on("chat", other.id))?.phase).toBe("draining");
    expect((await readWhole(await streaming)).isError).toBe(false);
    await world.ready("chat", 1);
    await ended;
  });
});

describe("row 13: an agent that is killed", () => {
  test("is out of rotation within a second of traffic, no request fails, and its replicas end with it", async () => {
    await other.run();
    await world.apply("pair", engineYaml("pair", { replicas: 2, flags: "--itl 1ms" }));
    await world.ready("pair", 2);
    const lost = await on("pair", other.id);
    expect(lost?.phase).toBe("ready");
    const told: { at: number; status: number; attempts: number }[] = [];
    const stopping = new AbortController();
    const requests = Promise.all(Array.from({ length: 4 }, async () => {
      while (!stopping.signal.aborted) {
        const at = Date.now();
        const answer = await world.chat("pair", { max_tokens: 2 });
        await answer.arrayBuffer();
        told.push({ at, status: answer.status, attempts: Number(answer.headers.get("x-fairlead-attempts")) });
      }
    }));
    await until("traffic", 40_000, () => told.length > 20);
    await other.kill();
    const killed = Date.now();
    await until("its replica to leave", 15_000, async () => (await on("pair", other.id))?.phase !== "ready");
    await until("some seconds of traffic", 40_000, () => Date.now() - killed > 3_000);
    stopping.abort();
    await requests;
    expect(told.filter(({ status }) => status !== 200)).toEqual([]);
    expect(told.filter(({ at }) => at > killed + 1_000).length).toBeGreaterThan(10);
    expect(told.filter(({ at, attempts }) => at > killed + 1_000 && attempts > 1)).toEqual([]);
    await until("the end of its children", 40_000, async () => (await other.processesOf(lost?.id ?? "")).length === 0);
  });
});
