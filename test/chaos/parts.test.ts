import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { StatusAnswer } from "../../control/routes/status.ts";
import { engineYaml, until, World } from "../e2e/world.ts";

let world: World;

beforeAll(async () => {
  world = await World.start();
  await world.apply("steady", engineYaml("steady", { replicas: 2 }));
  await world.ready("steady", 2);
});
afterAll(() => world?.stop());

async function code(response: Response): Promise<string | null> {
  return ((await response.json()) as { error: { code: string | null } }).error.code;
}

test("the agent of the only host stopped for three seconds: what is asked meanwhile waits for it", async () => {
  const pid = world.pids()["agent"] ?? 0;
  process.kill(pid, "SIGSTOP");
  const asked = world.chat("steady");
  // two replicas, by two relays and then by one, were silent for a second each
  await wait(3_200);
  process.kill(pid, "SIGCONT");
  const response = await asked;
  expect(response.status).toBe(200);
});

describe("a part that dies", () => {
  test("control stopped: requests go on, and a change waits for it", async () => {
    const pid = world.pids()["control"] ?? 0;
    process.kill(pid, "SIGSTOP");
    try {
      for (let i = 0; i < 10; i++) expect((await world.chat("steady")).status).toBe(200);
    } finally {
      process.kill(pid, "SIGCONT");
    }
    process.kill(pid, "SIGKILL");
    for (let i = 0; i < 10; i++) expect((await world.chat("steady")).status).toBe(200);
    await until("control's return", 40_000, async () => (await world.control("GET", "/v1/status")).status === 200);
  });

  test("workerd killed: agents come back, the state is as before, replicas were not touched", async () => {
    const before = await world.replicas("steady");
    process.kill(world.pids()["workerd"] ?? 0, "SIGKILL");
    await until("answers again", 30_000, async () => (await world.chat("steady")).status === 200);
    await until("both replicas", 30_000, async () => (await world.replicas("steady")).filter(({ phase }) => phase === "ready").length === 2);
    const after = await world.replicas("steady");
    expect(after.map(({ id, restarts }) => ({ id, restarts }))).toEqual(before.map(({ id, restarts }) => ({ id, restarts })));
    expect((await world.fetch("/v1/models")).status).toBe(200);
  });

  test("the agent killed: its replicas leave routing within its lease, no child stays, and all comes back", async () => {
    const ids = (await world.replicas("steady")).map(({ id }) => id);
    process.kill(world.pids()["agent"] ?? 0, "SIGKILL");
    const killed = Date.now();
    const refused = await until("the end of routing", 15_000, async () => {
      const response = await world.chat("steady");
      return response.status === 200 ? false : response;
    });
    expect(await code(refused)).toMatch(/no_replica|provider_unreachable/);
    expect(Date.now() - killed).toBeLessThan(15_000);
    await until("the end of its children", 40_000, async () => {
      const left = await Promise.all(ids.map(async (id) => world.processesOf(id)));
      // the agent is started again by scripts/up and may have started them anew: those are not the old ones
      return left.flat().length === 0 || (await world.replicas("steady")).some(({ phase }) => phase === "ready");
    });
    // ready is the word of the agent that was started after it, not what was known of the one before
    await until("its host's return", 30_000, async () => {
      const { hosts, services } = (await world.control("GET", "/v1/status")).body as unknown as StatusAnswer;
      const up = hosts.every(({ linkUp, relays }) => linkUp && relays.length === 2);
      const replicas = services.find(({ name }) => name === "steady")?.replicas ?? [];
      return up && replicas.filter(({ phase, since }) => phase === "ready" && since > killed).length === 2;
    });
    expect((await world.chat("steady")).status).toBe(200);
  });
});

describe("keys and bodies", () => {
  test("a revoked key is refused within seconds, a malformed one at once, neither with detail", async () => {
    const created = (await world.control("POST", "/v1/keys", { name: "short-lived" })).body;
    const ask = (key: string): Promise<Response> => fetch(`${world.up.endpoint}/models`, { headers: { authorization: `Bearer ${key}` } });
    expect((await ask(String(created["key"]))).status).toBe(200);
    await world.control("DELETE", `/v1/keys/${String(created["id"])}`);
    const refused = await until("the refusal", 5_000, async () => {
      const response = await ask(String(created["key"]));
      return response.status === 401 && response;
    });
    const malformed = await ask("fl_nonsense");
    expect(malformed.status).toBe(401);
    expect(await refused.text()).toBe(await malformed.text());
  });

  test("a body over the limit is 413, declared or not", async () => {
    const big = "x".repeat(21 * 1024 * 1024);
    const declared = await world.fetch("/v1/chat/completions", { method: "POST", body: big });
    expect(declared.status).toBe(413);
    const stream = new ReadableStream({
      start(controller) {
        for (let i = 0; i < 21; i++) controller.enqueue(new Uint8Array(1024 * 1024));
        controller.close();
      },
    });
    const undeclared = await world.fetch("/v1/chat/completions", { method: "POST", body: stream, duplex: "half" } as RequestInit);
    expect(undeclared.status).toBe(413);
    expect(await code(undeclared)).toBe("body_too_large");
  });

  test("a service YAML that is wrong is refused with line and field, and nothing changes", async () => {
    const { status, body } = await world.control("PUT", "/v1/services/steady", { yaml: "name: steady\nservice:\n  replica: 2\nrun: exec serve --port $PORT\n" });
    expect(status).toBe(400);
    expect(JSON.stringify(body)).toMatch(/3:\d+/);
    expect(JSON.stringify(body)).toContain("replicas");
    expect((await world.chat("steady")).status).toBe(200);
  });
});
