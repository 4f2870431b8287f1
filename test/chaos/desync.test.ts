import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until, World } from "../e2e/world.ts";
import { faults, startLiar } from "./liar.ts";

let world: World;
let vendor: Awaited<ReturnType<typeof startLiar>>;
let keys: Record<"alice" | "bob", string>;
let liars: Record<"owned" | "rented", string>;

/** Before the first byte, and between two: no request lives longer than both, and a busy machine's second. */
const limitMs = 1_000;
const patienceMs = 2 * limitMs + 1_000;

const timeouts = `  routing: {timeouts: {ttft: ${limitMs}ms, idle: ${limitMs}ms, total: 10s}}`;

async function keyFor(account: string): Promise<string> {
  const { status, body } = await world.control("POST", "/v1/keys", { name: account, account });
  if (status >= 300) throw new Error(JSON.stringify(body));
  return String(body["key"]);
}

beforeAll(async () => {
  world = await World.start();
  vendor = await startLiar();
  await world.apply("rented", `name: rented\nservice:\n  model: rented\n  providers:\n    - {type: external, name: vendor, endpoint: "${vendor.url}/v1", api_key: sk-none}\n${timeouts}\n`);
  await world.apply("owned", `name: owned\nservice:\n  model: owned\n  readiness_probe: /health\n  replicas: 1\n${timeouts}\nrun: exec node ${join(import.meta.dirname, "liar.ts")} $PORT\n`);
  await world.ready("owned", 1);
  const owned = await until("the replica's address", 40_000, async () => /listening on (http:\S+)/.exec((await world.cli(["logs", "owned", "--no-follow"])).stdout)?.[1]);
  liars = { owned, rented: vendor.url };
  keys = { alice: await keyFor("alice"), bob: await keyFor("bob") };
  await until("the new keys", 40_000, async () => {
    const answers = await Promise.all(Object.values(keys).map((key) => fetch(`${world.up.endpoint}/models`, { headers: { authorization: `Bearer ${key}` } })));
    return answers.every(({ status }) => status === 200);
  });
});
afterAll(async () => {
  await world?.stop();
  await vendor?.stop();
});

let asked = 0;

interface Told {
  /** Its own mark. */
  mark: string;
  status: number;
  text: string;
  ms: number;
  /** The body broke off: of a body that is no stream, the one way to say that it is not whole. */
  broken: boolean;
}

async function ask(model: string, tenant: "alice" | "bob", stream: boolean, fault: string): Promise<Told> {
  const mark = `${tenant}-${++asked}`;
  const at = Date.now();
  const response = await fetch(`${world.up.endpoint}/chat/completions`, {
    method: "POST",
    headers: { "authorization": `Bearer ${keys[tenant]}`, "content-type": "application/json" },
    body: JSON.stringify({ model, stream, messages: [{ role: "user", content: `mark:${mark}` }, { role: "user", content: `fault:${fault}` }] }),
    signal: AbortSignal.timeout(20_000),
  });
  let broken = false;
  const text = await response.text().catch(() => ((broken = true), ""));
  return { mark, status: response.status, text, ms: Date.now() - at, broken };
}

/** What may be told: an answer that is whole, or an error in our own words. */
function isTyped({ status, text, broken }: Told, stream: boolean): boolean {
  if (broken) return status === 200 && !stream;
  const events = text.replaceAll(/^:.*\n\n/gm, "").split("\n\n").filter((event) => event !== "");
  const last = stream && status === 200 ? (events.at(-1) ?? "").replace(/^data: /, "") : text;
  if (stream && status === 200 && last === "[DONE]") return true;
  const { error, choices } = JSON.parse(last) as { error?: { code?: unknown; type?: unknown }; choices?: unknown };
  if (status === 200 && !stream) return Array.isArray(choices);
  return typeof error?.code === "string" && typeof error.type === "string";
}

describe.each(["rented", "owned"] as const)("row 7: two tenants through one pooled upstream connection (%s)", (model) => {
  const wrong = Object.keys(faults).filter((name) => name !== "good" && !name.startsWith("a large body"));
  let reused = 0;

  test.each(wrong.flatMap((fault) => [[fault, false], [fault, true]] as const))("that answers with %s (streamed: %s): no byte crosses", async (fault, stream) => {
    const answers: Told[] = [];
    // one lie, then both at once over what it left behind
    for (const round of [1, 2]) {
      answers.push(...(await Promise.all([ask(model, "alice", stream, fault), ask(model, "bob", stream, "good")])));
      // What comes on an idle connection ends its use. It must be idle: HTTP/1.1 cannot tell an unasked response that passes the
      // next request on the wire from that request's answer.
      await until("all unasked responses", 10_000, async () => (await (await fetch(liars[model])).text()) === "0");
      for (let i = 0; i <= round; i++) answers.push(...(await Promise.all([ask(model, "bob", stream, "good"), ask(model, "alice", !stream, "good")])));
    }
    for (const told of answers) {
      const marks = [...told.text.matchAll(/mark:([\w-]+)/g)].map(([, mark]) => mark);
      expect(new Set(marks)).toEqual(new Set(marks.length > 0 ? [told.mark] : []));
      expect(told.ms).toBeLessThan(patienceMs);
    }
    const [lied] = answers;
    expect(lied === undefined || isTyped(lied, stream), JSON.stringify(lied)).toBe(true);
    // whoever asked for nothing wrong gets a whole answer
    const others = answers.filter((_, at) => at !== 0 && at !== 6);
    expect(others.filter(({ status, text, mark }) => status !== 200 || !text.includes(`mark:${mark} `) || text.includes('"error"'))).toEqual([]);
    reused += others.filter(({ text }) => text.includes("reused connection")).length;
  });

  test("connections were shared, without which none of this says anything", () => {
    expect(reused).toBeGreaterThan(wrong.length);
  });

  test("a large answer that is cut is told as broken", async () => {
    const told = await ask(model, "alice", false, "a large body, and RST");
    expect(told.ms).toBeLessThan(patienceMs);
    expect(told.broken || told.status >= 500, JSON.stringify(told).slice(0, 200)).toBe(true);
    expect(await ask(model, "bob", false, "good")).toMatchObject({ status: 200, broken: false });
  });
});
