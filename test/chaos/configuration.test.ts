import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { engineYaml, until, World } from "../e2e/world.ts";

let world: World;

beforeAll(async () => {
  world = await World.start();
  await world.apply("steady", engineYaml("steady", { replicas: 2, flags: "--itl 1ms --ttft 1ms" }));
  await world.ready("steady", 2);
});
afterAll(() => world?.stop());

/** Two requests at a time until told to stop; what those came to that were not answered well. */
function load(): { stop: () => Promise<{ answered: number; failed: unknown[] }> } {
  const over = new AbortController();
  let answered = 0;
  const failed: unknown[] = [];
  const one = async (): Promise<void> => {
    while (!over.signal.aborted) {
      try {
        const response = await world.chat("steady", { max_tokens: 2 });
        const text = await response.text();
        if (response.status === 200) answered++;
        else failed.push([response.status, text]);
      } catch (error) {
        failed.push(error);
      }
    }
  };
  const work = Promise.all([one(), one()]);
  return {
    stop: async () => {
      over.abort();
      await work;
      return { answered, failed };
    },
  };
}

describe("row 24: control's database is not to be had", () => {
  test("requests are answered as before, keys are good as before, and changes are refused with 503 until it is back", async () => {
    // control may be in the middle of a change, which this waits for
    const other = new DatabaseSync(join(world.state, "control.db"), { timeout: 10_000 });
    other.exec("BEGIN EXCLUSIVE");
    const requests = load();
    try {
      const started = Date.now();
      const changes = await Promise.all([world.control("POST", "/v1/keys", { name: "late" }), world.control("PUT", "/v1/services/late", { yaml: engineYaml("late") })]);
      for (const { status, body } of changes) expect({ status, body }).toMatchObject({ status: 503, body: { error: { code: "not_ready", type: "server_error" } } });
      expect(Date.now() - started).toBeLessThan(20_000);
      expect((await world.fetch("/v1/models")).status).toBe(200);
    } finally {
      other.exec("ROLLBACK");
      other.close();
    }
    const { answered, failed } = await requests.stop();
    expect(failed).toEqual([]);
    expect(answered).toBeGreaterThan(50);
    await until("changes are taken again", 40_000, async () => (await world.control("POST", "/v1/keys", { name: "late" })).status === 201);
  });
});

describe("row 25: a configuration that is too large", () => {
  test("is told to who made it, the last good one stays in use, and the next good one is taken", async () => {
    const names = Array.from({ length: 3 }, (_, i) => `huge-${i}`);
    const large = (name: string): string => `name: ${name}\nservice:\n  readiness_probe: /\n  replicas: 0\nrun: |\n  # ${"x".repeat(900_000)}\n  exec sleep 1 # $PORT\n`;
    const requests = load();
    const answers = [];
    for (const name of names) answers.push((await world.control("PUT", `/v1/services/${name}`, { yaml: large(name) })).body);
    expect(answers.at(-1)).toMatchObject({ published: false, refused: true, reason: expect.stringContaining("bytes") as unknown });
    const key = await world.control("POST", "/v1/keys", { name: "unpublished" });
    expect(key.body).toMatchObject({ published: false, reason: expect.stringContaining("bytes") as unknown });
    for (const name of names) await world.control("DELETE", `/v1/services/${name}`);
    await until("the next configuration", 40_000, async () => (await fetch(`${world.up.endpoint}/models`, { headers: { authorization: `Bearer ${String(key.body["key"])}` } })).status === 200);
    const { answered, failed } = await requests.stop();
    expect(failed).toEqual([]);
    expect(answered).toBeGreaterThan(50);
    expect((await world.replicas("steady")).map(({ restarts }) => restarts)).toEqual([0, 0]);
  });
});
