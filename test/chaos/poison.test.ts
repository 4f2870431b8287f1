import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { enginesOf } from "../e2e/upstreams.ts";
import { engineYaml, until, World } from "../e2e/world.ts";
import { DEADLY_TEXT } from "../engine/failures.ts";

let world: World;
const service = "trio";

beforeAll(async () => {
  world = await World.start();
  await world.apply(service, engineYaml(service, { replicas: 3, flags: "--itl 1ms --fail die" }));
  await world.ready(service, 3);
});
afterAll(() => world?.stop());

/** The engines' processes: those that are gone have died. */
async function engines(): Promise<number[]> {
  return (await enginesOf(world, service)).map(({ pid }) => pid);
}

/** How many engines have died by now. */
let deaths = 0;

/** The three engines, when all that have died are back: the roster counts their restarts, and may be older than the last death. */
function living(): Promise<number[]> {
  return until(`three engines after ${deaths} deaths`, 60_000, async () => {
    const replicas = await world.replicas(service);
    if (replicas.filter(({ phase }) => phase === "ready").length !== 3 || replicas.reduce((sum, { restarts }) => sum + restarts, 0) !== deaths) return false;
    const pids = await engines();
    return pids.length === 3 && pids;
  });
}

async function survivorsOf(before: number[]): Promise<number[]> {
  const now = await engines();
  return before.filter((pid) => now.includes(pid));
}

interface Told {
  status: number;
  code: string | undefined;
  attempts: string | null;
  again: string | null;
}

async function told(response: Response): Promise<Told> {
  const body = (await response.json()) as { error?: { code: string } };
  return { status: response.status, code: body.error?.code, attempts: response.headers.get("x-fairlead-attempts"), again: response.headers.get("x-should-retry") };
}

/** Harmless requests, each with a text of its own, for as long as something else goes on. */
async function beside<T>(work: () => Promise<T>, everyMs = 50): Promise<{ result: T; statuses: number[] }> {
  const asked: Promise<number>[] = [];
  const timer = setInterval(() => asked.push(world.chat(service, { max_tokens: 2, user: `u${asked.length}` }).then(async (response) => (await response.arrayBuffer(), response.status))), everyMs);
  try {
    const result = await work();
    return { result, statuses: await Promise.all(asked) };
  } finally {
    clearInterval(timer);
  }
}

const deadly = { max_tokens: 8, messages: [{ role: "user", content: `Say ${DEADLY_TEXT}` }] };
const refused = { status: 422, code: "poison_request", again: "false" };

test("row 33: a request that kills replicas stops after two, is refused at once after that, and the third replica serves all others", async () => {
  const before = await living();
  let id = "";
  const { statuses } = await beside(async () => {
    const response = await world.chat(service, deadly);
    id = response.headers.get("x-request-id") ?? "";
    expect(await told(response)).toEqual({ ...refused, attempts: "2" });
    expect(await survivorsOf(before)).toHaveLength(1);
    // at once, at no replica's cost
    for (let i = 0; i < 5; i++) expect(await told(await world.chat(service, deadly))).toEqual({ ...refused, attempts: "0" });
    await wait(500);
    expect(await survivorsOf(before)).toHaveLength(1);
    deaths += 2;
  });
  expect(statuses.length).toBeGreaterThan(5);
  expect(statuses.filter((status) => status !== 200)).toEqual([]);
  const { stdout } = await world.cli(["explain", id]);
  expect(stdout).toMatch(/status 422[\s\S]*replicas were lost while they had it[\s\S]*lost[\s\S]*lost/);
});

test("row 33: what is refused stays refused when the replicas are back, and another account's is judged by itself", async () => {
  const before = await living();
  expect(await told(await world.chat(service, deadly))).toEqual({ ...refused, attempts: "0" });
  const { body } = await world.control("POST", "/v1/keys", { name: "other", account: "other" });
  const authorization = `Bearer ${String(body["key"])}`;
  const chat = (more: object): Promise<Response> => fetch(`${world.router}/v1/chat/completions`, { method: "POST", headers: { authorization, "content-type": "application/json" }, body: JSON.stringify({ model: service, ...more }) });
  await until("the other account's key", 40_000, async () => (await chat({ max_tokens: 1, messages: [{ role: "user", content: "Hello" }] })).status === 200);
  // the same bytes as the first account's
  const same = { messages: deadly.messages, max_tokens: deadly.max_tokens };
  expect(await told(await chat(same))).toEqual({ ...refused, attempts: "2" });
  expect(await survivorsOf(before)).toHaveLength(1);
  deaths += 2;
  expect(await told(await chat(same))).toEqual({ ...refused, attempts: "0" });
  expect((await world.chat(service, { max_tokens: 1 })).status).toBe(200);
});

test("row 33: a request that kills in the middle of its stream stops after two replicas too", async () => {
  const before = await living();
  const body = { max_tokens: 32, stream: true, messages: [{ role: "user", content: "Tell me a tale" }] };
  const fail = { headers: { "x-sim-fail": "die@5" } };
  const texts: string[] = [];
  // one that is not gone on with elsewhere is asked for again by its client
  while (texts.length < 3 && texts.at(-1)?.includes("poison_request") !== true) texts.push(await (await world.chat(service, body, fail)).text());
  expect(texts.at(-1)).toMatch(/data: \{"error":\{[^\n]*"code":"poison_request"\}\}\n\n$/);
  expect(texts.at(-1)).toContain('"choices"');
  expect(await survivorsOf(before)).toHaveLength(1);
  expect(await told(await world.chat(service, body, fail))).toEqual({ ...refused, attempts: "0" });
  expect(await survivorsOf(before)).toHaveLength(1);
  deaths += 2;
});

test("row 33: a harmless request is answered, and never refused, though the replicas that have it are killed again and again", async () => {
  const harmless = { max_tokens: 20, messages: [{ role: "user", content: "the same for everybody" }] };
  const answers: Promise<Told>[] = [];
  const ask = setInterval(() => answers.push(world.chat(service, harmless).then(told)), 100);
  try {
    for (let i = 0; i < 5; i++) {
      const [victim] = await living();
      process.kill(victim ?? 0, "SIGKILL");
      deaths++;
    }
    await living();
  } finally {
    clearInterval(ask);
  }
  const all = await Promise.all(answers);
  expect(all.length).toBeGreaterThan(50);
  expect(all.filter(({ status }) => status === 422)).toEqual([]);
  // now and then one is told 502, which is not its fault; why the others were not asked for it is not known
  expect(all.filter(({ status }) => status === 200).length).toBeGreaterThan(0.95 * all.length);
  expect((await world.chat(service, harmless)).status).toBe(200);
});
