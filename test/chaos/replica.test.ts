import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { enginesOf } from "../e2e/upstreams.ts";
import { engineYaml, until, World } from "../e2e/world.ts";

let world: World;
const scratch = mkdtempSync(join(tmpdir(), "fairlead-chaos-"));

beforeAll(async () => {
  world = await World.start();
});
afterAll(async () => {
  await world?.stop();
  rmSync(scratch, { recursive: true, force: true });
});

function yaml(name: string, run: string, probe = "{path: /, initial_delay_seconds: 2, timeout_seconds: 1}"): string {
  return `name: ${name}\nservice:\n  readiness_probe: ${probe}\n  replicas: 1\nrun: |\n${run.split("\n").map((line) => `  ${line}`).join("\n")}\n`;
}

describe("a replica that goes wrong", () => {
  test("`run` that exits at once fails after a few tries, with its exit code and last line", async () => {
    await world.apply("quits", yaml("quits", 'echo "no such model" >&2\nexit 3 # $PORT'));
    const replica = await until("the failure", 60_000, async () => (await world.replicas("quits")).find(({ phase }) => phase === "failed"));
    expect(replica.reason).toMatch(/code 3/);
    expect(replica.reason).toContain("no such model");
    const { stdout } = await world.cli(["logs", "quits", "--no-follow"]);
    expect(stdout).toContain("no such model");
    expect((await world.replicas("quits")).filter(({ phase }) => phase !== "failed")).toEqual([]);
    await world.control("DELETE", "/v1/services/quits");
  });

  test("one that never becomes ready fails, and says that it was not ready in time", async () => {
    await world.apply("never", yaml("never", "exec sleep 1000 # $PORT", "{path: /, initial_delay_seconds: 1, timeout_seconds: 1}"));
    const replica = await until("the failure", 60_000, async () => (await world.replicas("never")).find(({ phase }) => phase === "failed"));
    expect(replica.reason).toMatch(/ready/);
    expect(await world.processesOf(replica.id)).toEqual([]);
    const answer = await world.fetch("/s/never/");
    expect(answer.status).toBe(503);
    expect(((await answer.json()) as { error: { code: string } }).error.code).toBe("no_replica");
    await world.control("DELETE", "/v1/services/never");
  });

  test("one that ignores SIGTERM is killed and leaves nothing", async () => {
    await world.apply("stubborn", engineYaml("stubborn", { flags: "--ignore-sigterm" }));
    await world.ready("stubborn", 1);
    const id = (await world.replicas("stubborn"))[0]?.id ?? "";
    const down = await world.cli(["down", "stubborn", "-y"]);
    expect(down.code).toBe(0);
    await until("the end of its processes", 40_000, async () => (await world.processesOf(id)).length === 0);
  });

  test("an engine killed with SIGKILL is started again, and status says why", async () => {
    await world.apply("killed", engineYaml("killed"));
    await world.ready("killed", 1);
    const [engine] = await enginesOf(world, "killed");
    process.kill(engine?.pid ?? expect.fail("no engine"), "SIGKILL");
    const restarted = await until("the restart", 30_000, async () => (await world.replicas("killed")).find(({ restarts, phase }) => restarts > 0 && phase === "ready"));
    expect(restarted.reason ?? "").toMatch(/SIGKILL/);
    expect((await world.chat("killed")).status).toBe(200);
    const { stdout } = await world.cli(["status", "killed", "-v"]);
    expect(stdout).toMatch(/SIGKILL/);
  });

  test("two replicas serve while one of them is killed: every request that follows is answered", async () => {
    await world.apply("pair", engineYaml("pair", { replicas: 2, flags: "--itl 1ms" }));
    await world.ready("pair", 2);
    const [first] = await enginesOf(world, "pair");
    process.kill(first?.pid ?? expect.fail("no engine"), "SIGKILL");
    const statuses = await Promise.all(Array.from({ length: 20 }, async () => (await world.chat("pair")).status));
    expect(statuses.filter((status) => status !== 200)).toEqual([]);
  });

  test("a change of the YAML scales to two and back without touching the first, and a change of `run` replaces it", async () => {
    await world.apply("grow", engineYaml("grow"));
    await world.ready("grow", 1);
    const [one] = await world.replicas("grow");
    await world.apply("grow", engineYaml("grow", { replicas: 2 }));
    await world.ready("grow", 2);
    expect((await world.replicas("grow")).find(({ id }) => id === one?.id)?.restarts).toBe(0);
    await world.apply("grow", engineYaml("grow", { replicas: 1 }));
    await until("one replica", 30_000, async () => (await world.replicas("grow")).filter(({ phase }) => phase !== "stopped").length === 1);
    expect((await world.replicas("grow"))[0]?.id).toBe(one?.id);
    // rolling: the old one answers until the new one is ready
    await world.apply("grow", engineYaml("grow", { replicas: 1, flags: "--seed 7" }));
    for (let swapped = false; !swapped; ) {
      expect((await world.chat("grow")).status).toBe(200);
      const replicas = await world.replicas("grow");
      swapped = replicas.every(({ id }) => id !== one?.id) && replicas.some(({ phase }) => phase === "ready");
    }
  });

  test("four replicas become one under load: no request fails, and every stream ends well", async () => {
    await world.apply("shrink", engineYaml("shrink", { replicas: 4, flags: "--ttft 20ms --itl 10ms" }));
    await world.ready("shrink", 4, 45_000);
    const wrong: string[] = [];
    const load = { over: false, answers: 0 };
    const ask = async (stream: boolean): Promise<void> => {
      while (!load.over) {
        const response = await world.chat("shrink", { stream, max_tokens: 150, ignore_eos: true });
        const text = await response.text().catch((error: unknown) => `broke off: ${String(error)}`);
        load.answers++;
        if (response.status !== 200 || text.includes('"error"') || !(stream ? text.endsWith("data: [DONE]\n\n") : text.includes('"completion_tokens":150'))) wrong.push(`${response.status} ${text.slice(-300)}`);
      }
    };
    const clients = Array.from({ length: 16 }, (_, i) => ask(i % 4 > 0));
    const before = await until("load on all of them", 40_000, async () => {
      const { body } = await world.control("GET", "/v1/status");
      const [service] = (body["services"] as { name: string; replicas: { inFlight: number }[] }[]).filter(({ name }) => name === "shrink");
      return service?.replicas.every(({ inFlight }) => inFlight > 0) === true && load.answers;
    });
    await world.apply("shrink", engineYaml("shrink", { replicas: 1, flags: "--ttft 20ms --itl 10ms" }));
    await until("one replica", 30_000, async () => (await world.replicas("shrink")).length === 1);
    load.over = true;
    await Promise.all(clients);
    expect(wrong).toEqual([]);
    expect(load.answers).toBeGreaterThan(before + clients.length);
    await world.control("DELETE", "/v1/services/shrink");
  });

  test("`setup` runs before `run`, in the folder that is named, with the service's environment", async () => {
    const file = join(scratch, "seen");
    writeFileSync(join(scratch, "here"), "");
    await world.apply("env", `name: env\nservice:\n  readiness_probe: {path: /, timeout_seconds: 1}\n  replicas: 1\nworkdir: ${scratch}\nenvs: {GREETING: hello}\nsetup: |\n  test -f here && echo "$GREETING $SKYPILOT_SERVICE_NAME" > ${file}\nrun: exec node ${join(import.meta.dirname, "../e2e/echo.ts")} $FAIRLEAD_PORT\n`);
    await world.ready("env", 1);
    expect(existsSync(file)).toBe(true);
    const { readFileSync } = await import("node:fs");
    expect(readFileSync(file, "utf8")).toBe("hello env\n");
  });
});
