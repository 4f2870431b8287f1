import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { processesWith, World } from "./world.ts";

const root = join(import.meta.dirname, "../..");

async function run(args: string[]): Promise<{ code: number | null; output: string }> {
  const child = spawn(join(root, "scripts/up"), args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, output };
}

describe("scripts/up", () => {
  test("shows a streamed answer of the example, stops within five seconds, leaves no process, and goes on with its state", async () => {
    const first = await World.start([]);
    const file = join(first.state, "up.json");
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({ endpoint: expect.stringMatching(/\/v1$/), apiKey: expect.stringMatching(/^fl_/), adminKey: expect.stringMatching(/^fla_/), pid: expect.any(Number), hosts: [expect.anything()] });
    expect(first.output).toMatch(/hello: \S+/);
    expect(first.output).toContain("curl -N");
    const models = (await (await first.fetch("/v1/models")).json()) as { data: { id: string }[] };
    expect(models.data.map(({ id }) => id)).toEqual(["hello"]);
    const metrics = await (await fetch(first.up.metrics)).text();
    expect(metrics).toMatch(/fairlead_replica_status\{service="hello",replica="hello\.local\.\d+",region="local",status="ready"\} 1/);

    const stopped = await first.stop({ keep: true });
    expect(stopped.code).toBe(0);
    expect(stopped.ms).toBeLessThan(5_000);
    expect(await processesWith(first.state)).toEqual([]);
    expect(existsSync(file)).toBe(false);

    const second = await World.start(["--no-example"], first.state);
    try {
      expect(second.up.apiKey).toBe(first.up.apiKey);
      await second.ready("hello", 1);
      expect((await second.chat("hello")).status).toBe(200);
    } finally {
      await second.stop();
    }
  });

  test.each([
    ["--port", "the router's"],
    ["--control-port", "control's"],
  ])("a taken port is one clear line and exit 1 (%s)", async (option) => {
    const blocker = createServer();
    await new Promise<void>((resolve) => blocker.listen(0, "127.0.0.1", resolve));
    const { port } = blocker.address() as { port: number };
    const state = mkdtempSync(join(tmpdir(), "fairlead-port-"));
    try {
      const { code, output } = await run(["--no-example", "--port", "0", "--control-port", "0", "--fleet-port", "0", "--state", state, option, String(port)]);
      expect(code).toBe(1);
      expect(output.trim().split("\n")).toEqual([`fairlead: Cannot listen on 127.0.0.1:${port}: the port is in use (choose another with ${option})`]);
      expect(await processesWith(state)).toEqual([]);
    } finally {
      blocker.close();
      rmSync(state, { recursive: true, force: true });
    }
  });

  test.each([
    [["--port", "many"], "--port many"],
    [["--nonsense"], "--nonsense"],
  ])("an option that makes no sense is one clear line (%j)", async (args, named) => {
    const { code, output } = await run(args);
    expect(code).toBe(1);
    expect(output).toContain(named);
    expect(output.trim().split("\n")).toHaveLength(1);
  });
});
