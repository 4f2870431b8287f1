import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Agent } from "../e2e/agent.ts";
import { engineYaml, until, World } from "../e2e/world.ts";
import { Namespace, noNamespaces } from "./namespace.ts";

/** A lease, the look that finds it over, and a start elsewhere. */
const replacedMs = 40_000;
const lacking = noNamespaces();
if (lacking !== undefined) console.warn(`Network faults are not tried: ${lacking}`);

let world: World;
let far: Agent;
let wire: Namespace;

interface Seen {
  id: string;
  phase: string;
  host: string;
}
const replicas = async (service: string): Promise<Seen[]> => (await world.replicas(service)) as unknown as Seen[];
const ready = async (service: string): Promise<Seen[]> => (await replicas(service)).filter(({ phase }) => phase === "ready");

beforeAll(async () => {
  if (lacking !== undefined) return;
  world = await World.start();
  const ports = [world.up.control, world.fleet].map((url) => Number(new URL(url).port));
  wire = new Namespace(ports);
  const [control = 0, fleet = 0] = ports;
  far = await Agent.join(world, "far", { within: wire.within, control: `http://${wire.outside}:${control}`, fleet: `http://${wire.outside}:${fleet}` });
  await far.run();
});
afterAll(async () => {
  wire?.heal();
  await far?.stop();
  wire?.remove();
  await world?.stop();
});

/** Requests, one after the other, until told to stop. */
function traffic(service: string): { stop(): Promise<{ status: number; ms: number }[]> } {
  const stopping = new AbortController();
  const told: { status: number; ms: number }[] = [];
  const all = (async () => {
    while (!stopping.signal.aborted) {
      const since = Date.now();
      const answer = await world.chat(service, { max_tokens: 2 });
      await answer.arrayBuffer();
      told.push({ status: answer.status, ms: Date.now() - since });
    }
  })();
  return {
    async stop() {
      stopping.abort();
      await all;
      return told;
    },
  };
}

describe.runIf(lacking === undefined)("a second host in a network of its own, to which nobody can connect", () => {
  test("row 14: joins, serves, and takes nothing but what it dialled out for", async () => {
    await world.apply("first", engineYaml("first", { replicas: 2, flags: "--itl 1ms" }));
    await world.ready("first", 2);
    expect(new Set((await ready("first")).map(({ host }) => host)).size).toBe(2);
    const answers = await Promise.all(Array.from({ length: 20 }, async () => (await world.chat("first", { max_tokens: 2 })).status));
    expect(new Set(answers)).toEqual(new Set([200]));
    await world.control("DELETE", "/v1/services/first");

    const listener = spawn(wire.within[0] ?? "", [...wire.within.slice(1), process.execPath, "-e", 'require("node:http").createServer((q, r) => r.end("in")).listen(18000, () => console.log("up"))'], { stdio: ["ignore", "pipe", "inherit"] });
    try {
      await once(listener.stdout, "data");
      await expect(fetch(`http://${wire.inside}:18000/`, { signal: AbortSignal.timeout(1_500) })).rejects.toThrow();
    } finally {
      listener.kill("SIGKILL");
    }
  });

  test.each(["both ways", "to the host", "from the host"] as const)("row 14: a partition %s: requests go on, the host keeps what runs, its lease expires, and there is one owner afterwards", async (direction) => {
    const service = `pair-${direction.replaceAll(" ", "-")}`;
    await world.apply(service, engineYaml(service, { replicas: 2, flags: "--itl 1ms" }));
    await world.ready(service, 2);
    const cutOff = (await ready(service)).find(({ host }) => host === far.id)?.id ?? "";
    expect(cutOff).not.toBe("");
    const requests = traffic(service);
    wire.cut(direction);
    const since = Date.now();
    try {
      await until("its replica to be taken for lost", 20_000, async () => (await replicas(service)).some(({ id, phase }) => id === cutOff && phase !== "ready"));
      // until then its lease holds: nobody else has its place
      expect(Date.now() - since).toBeLessThan(20_000);
      await until("another in its place", replacedMs, async () => (await ready(service)).filter(({ host }) => host !== far.id).length === 2);
      // the host itself changes nothing
      expect(await far.processesOf(cutOff)).not.toEqual([]);
    } finally {
      wire.heal();
    }
    await until("its return", 40_000, async () => (await far.seen())?.state === "up");
    await until("the end of what it had", 30_000, async () => (await far.processesOf(cutOff)).length === 0);
    const told = await requests.stop();
    expect((await ready(service)).map(({ id }) => id)).not.toContain(cutOff);
    expect(await ready(service)).toHaveLength(2);
    expect(told.length).toBeGreaterThan(20);
    expect(told.filter(({ status }) => status !== 200)).toEqual([]);
    // a request that went there is on its way elsewhere after a second without a word (row 13's bound)
    expect(Math.max(...told.map(({ ms }) => ms))).toBeLessThan(4_000);
    await world.control("DELETE", `/v1/services/${service}`);
  }, 180_000);

  test("row 15: with 30 % of packets lost each way its state changes at most once in 30 s, and requests are answered", async () => {
    await world.apply("lossy", engineYaml("lossy", { replicas: 2, flags: "--itl 1ms" }));
    await world.ready("lossy", 2);
    const requests = traffic("lossy");
    const changes: string[] = [];
    let last = "";
    wire.lose(30);
    const lossyMs = 60_000;
    const started = Date.now();
    try {
      await until("a minute", lossyMs + 5_000, async () => {
        const host = await far.seen();
        const now = JSON.stringify([host?.state, (await replicas("lossy")).filter((one) => one.host === far.id).map(({ id, phase }) => [id, phase])]);
        if (last !== "" && now !== last) changes.push(`${last} → ${now}`);
        last = now;
        return Date.now() - started > lossyMs;
      });
    } finally {
      wire.heal();
    }
    const told = await requests.stop();
    expect(changes.length, changes.join("\n")).toBeLessThanOrEqual(lossyMs / 30_000);
    expect(told.filter(({ status }) => status !== 200)).toEqual([]);
  }, 150_000);
});
