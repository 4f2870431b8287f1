import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { readEngine } from "../../agent/engine.ts";
import { signal } from "../../agent/executors/strays.ts";
import { until, World } from "../e2e/world.ts";
import { Streamed } from "./answer.ts";
import type { Trial } from "./found.ts";
import { busyOne, named, processesOf, type Processes } from "./replicas.ts";

const engines = inject("engines");

/** An engine that loads Python and a model on a busy machine takes long to start. */
const startMs = 300_000;

let world: World;

beforeAll(async () => {
  world = await World.start();
});
afterAll(() => world?.stop());

/** Long enough that a simulator which repeats it is busy for seconds. */
const question = Array.from({ length: 6 }, (_, i) => `Line ${i} of a story about a ship, a rope and a fairlead.`).join(" ");
/** Seconds of the tiny models on one core, about a hundred tokens each. */
const long = 300;

describe.each(engines)("$name", { timeout: startMs }, ({ name, version, absent, trial }) => {
  if (trial === undefined) {
    test(`is skipped: ${absent}`, ({ skip }) => skip(absent));
    return;
  }
  const service = name.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
  const chat = (tokens: number): object => ({ model: trial.model, messages: [{ role: "user", content: question }], max_tokens: tokens, temperature: 0 });
  const ask = (path: string, body: object): Promise<Response> => world.fetch(path, { method: "POST", body: JSON.stringify(body) });
  const stream = (tokens: number): Streamed => new Streamed(ask("/v1/chat/completions", { ...chat(tokens), stream: true }));
  let replicas: Processes[] = [];
  /** The whole answer to the long question, undisturbed. */
  let whole = "";

  const running = async (): Promise<Processes[]> => {
    await world.ready(service, 2, startMs);
    // what a replica can goes by what it is, which is read when it is ready
    await until("what they are", 60_000, async () => ((await world.replicas(service)) as { engine?: string }[]).every(({ engine }) => engine === trial.engine));
    replicas = await processesOf(world.state, (await world.replicas(service)).map(({ id }) => id));
    return replicas;
  };
  /** A request to one engine, past the router. */
  const own = (path: string, body: object): Promise<Response> => fetch(`http://127.0.0.1:${replicas[0]?.port}${path}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

  beforeAll(async () => {
    await world.apply(service, yaml(service, trial));
    await running();
  }, startMs);
  // the next one has the same name for its model
  afterAll(() => world.cli(["down", service, "-y"], { timeoutMs: startMs }), startMs);

  test(`is started by the agent, which knows it for what it is (${version})`, async () => {
    const status = await until("the agent's reading", 60_000, async () => {
      const rows = (await world.replicas(service)) as { engine?: string; engineVersion?: string; load?: { running: number }; loadProblem?: string }[];
      return rows.every(({ engine, load }) => engine === trial.engine && (load !== undefined) === trial.tellsLoad) && rows;
    });
    for (const row of status) {
      expect(row.loadProblem).toBeUndefined();
      console.log(`${name} ${version}: ${JSON.stringify({ engine: row.engine, version: row.engineVersion, load: row.load })}`);
    }
  });

  test("streams the answer that it gives as a whole", async () => {
    const streamed = stream(40);
    await streamed.over;
    const { choices } = (await (await ask("/v1/chat/completions", chat(40))).json()) as { choices: { message: { content: string } }[] };
    expect(streamed.text).not.toBe("");
    expect({ text: streamed.text, done: streamed.done, errors: streamed.errors }).toEqual({ text: choices[0]?.message.content, done: 1, errors: [] });
    const undisturbed = stream(long);
    await undisturbed.over;
    whole = undisturbed.text;
  });

  test.runIf(trial.tellsLoad)("tells that it is running a request, and that it is not any more", async () => {
    const answer = stream(long);
    const load = async (): Promise<number> => (await Promise.all(replicas.map(async ({ port }) => (await readEngine(port, undefined, 2_000)).reading.load))).reduce((sum, one) => sum + (one?.running ?? Number.NaN), 0);
    await expect.poll(load, { timeout: 30_000, interval: 50 }).toBe(1);
    await answer.over;
    await expect.poll(load, { timeout: 30_000 }).toBe(0);
  });

  test(trial.ids ? "goes on exactly from token ids" : "tells no token ids of a streamed chat, so none can be gone on with", async () => {
    const begun = new Streamed(own("/v1/chat/completions", { ...chat(40), stream: true, return_token_ids: true }));
    if (!trial.ids) {
      // some refuse what they do not know
      await begun.over.catch(() => {});
      expect(begun.ids).toEqual([]);
      return;
    }
    await begun.over;
    expect(begun.promptIds).toBeDefined();
    const rest = new Streamed(own("/v1/completions", { model: trial.model, prompt: [...(begun.promptIds ?? []), ...begun.ids.slice(0, 20)], max_tokens: 20, temperature: 0, add_special_tokens: false, return_token_ids: true, stream: true }));
    await rest.over;
    expect(rest.ids).toEqual(begun.ids.slice(20));
    expect(begun.text.endsWith(rest.text)).toBe(true);
  });

  test(trial.prefill ? "goes on with a last message of the assistant's" : "does not go on with a last message of the assistant's", async () => {
    // between words, where every tokeniser has a boundary
    const half = whole.slice(0, Math.max(8, whole.lastIndexOf(" ", whole.length / 2))).trimEnd();
    // streamed, as the router asks: llama.cpp gives the message once more with a whole answer
    const begun = new Streamed(own("/v1/chat/completions", { ...chat(60), messages: [{ role: "user", content: question }, { role: "assistant", content: half }], continue_final_message: true, add_generation_prompt: false, stream: true }));
    // some refuse what they do not know
    if (trial.prefill) await begun.over;
    else await begun.over.catch(() => {});
    const rest = begun.text;
    // engines differ in whether the space at the seam is theirs
    const goesOn = rest !== "" && (whole.slice(half.length).startsWith(rest) || whole.slice(half.length).trimStart().startsWith(rest.trimStart()));
    expect(goesOn).toBe(trial.prefill);
  });

  // a replica whose runner died starts another, and looks as if it were busy: that comes last
  test.each(["replica", ...(trial.runner === undefined ? [] : [trial.runner])])(`a stream whose %s is killed goes on by ${trial.resumes}`, async (what) => {
    await running();
    const answer = stream(long);
    await expect.poll(() => answer.text.length, { timeout: 60_000, interval: 20 }).toBeGreaterThan(5);
    const busy = await busyOne(replicas, trial.tellsLoad);
    const killed = what === "replica" ? (busy?.pids ?? []) : await named(busy?.pids ?? [], what);
    expect(killed).not.toEqual([]);
    for (const pid of killed) signal(pid, "SIGKILL");
    await answer.over;
    expect({ text: answer.text, done: answer.done, errors: answer.errors, resumed: answer.resumed }).toEqual({ text: whole, done: 1, errors: [], resumed: `1 ${trial.resumes}` });
  });

  test("is stopped when its streams are over", async () => {
    await running();
    const answer = stream(long);
    await expect.poll(() => answer.text.length, { timeout: 60_000, interval: 20 }).toBeGreaterThan(5);
    // it waits until the stream is over
    const { code, stderr } = await world.cli(["down", service, "-y"], { timeoutMs: startMs });
    expect([code, stderr]).toEqual([0, expect.any(String)]);
    await answer.over;
    expect({ text: answer.text, done: answer.done, errors: answer.errors, resumed: answer.resumed }).toEqual({ text: whole, done: 1, errors: [], resumed: undefined });
    await until("the end of its processes", 60_000, async () => (await processesOf(world.state, replicas.map(({ id }) => id))).every(({ pids }) => pids.length === 0));
  });
});

function yaml(service: string, { command, envs = {}, model, ready = "/v1/models", resumes }: Trial): string {
  const probe = ready !== "chat" ? { path: ready, initial_delay_seconds: 240 } : { path: "/v1/chat/completions", post_data: { model, messages: [{ role: "user", content: "Hello" }], max_tokens: 1 }, timeout_seconds: 60, initial_delay_seconds: 240 };
  const own = resumes === "regenerate" ? { providers: [{ type: "self-hosted", name: "own", supports: { continuation: "none" } }] } : {};
  return JSON.stringify({ name: service, envs, service: { model, readiness_probe: probe, replicas: 2, ...own, routing: { timeouts: { idle: "30s", ttft: "60s", total: "200s" } } }, run: command });
}
