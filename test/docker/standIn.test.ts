import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import type { Exit, StartError } from "../../agent/executor.ts";
import { executorsSchema } from "../../agent/executors/config.ts";
import { hostExecutor } from "../../agent/executors/executors.ts";
import { startHub } from "../../agent/hubStandIn.ts";
import { startStandIn, type StandIn } from "./standIn.ts";
import { dockerSuite, until } from "./suite.ts";

let standIn: StandIn;
let pulls = 0;
const pullable = Array.from({ length: 10 }, (_, i) => `registry.example/fairlead/app:${i}`);

beforeAll(async () => {
  standIn = await startStandIn({ images: ["fairlead-test:1"], pullable });
});
afterAll(() => standIn.close());

const node = JSON.stringify(process.execPath);

dockerSuite("dockerExecutor(), with a stand-in that speaks the Engine API", () => ({
  socket: standIn.socket,
  image: "fairlead-test:1",
  pullable: () => pullable[pulls++] ?? "",
  serve: `exec ${node} -e 'require("node:http").createServer((request, response) => response.end("hello")).listen(process.env.PORT, process.env.HOST)'`,
  stubborn: "trap '' TERM; echo armed; while :; do sleep 0.05; done",
}));

test("waits while its engine is away, keeps what runs, and hears of its end when the engine is back", async () => {
  const state = await mkdtemp(join(tmpdir(), "fairlead-docker-"));
  const engine = await startStandIn({ images: ["app:1"], pullable: [] });
  onTestFinished(async () => {
    await engine.close();
    await rm(state, { recursive: true, force: true });
  });
  const warnings: string[] = [];
  await engine.goAway();
  const executor = await hostExecutor({
    state, owner: "me", environment: process.env, openSecrets: async () => ({}), config: executorsSchema.parse({ docker: { socket: engine.socket } }),
    log: { info() {}, warn: (text) => warnings.push(text) },
  });
  const away = `the container engine does not answer at ${engine.socket}: there is no such socket`;
  expect(warnings).toEqual([away]);
  const [refusals, stages, exits]: [StartError[], string[], Exit[]] = [[], [], []];
  const start = (run: string): Promise<void> =>
    executor.start({
      id: "chat.local.1", number: 1,
      task: { service: "chat", version: 1, digest: "d", image: "app:1", run, envs: {}, drainMs: 0, gpus: 0, probe: { path: "/", initialDelayMs: 1, timeoutMs: 1, intervalMs: 1, failureThresholdMs: 1, headers: {} } },
      onPreparing() {}, onRefused: (error) => refusals.push(error), onStage: (stage) => stages.push(stage), onExit: (exit) => exits.push(exit),
    });
  await start("true");
  await until(() => refusals.length > 0);
  expect(refusals[0]).toMatchObject({ wait: true, message: away });

  await engine.comeBack();
  await start('until [ -e "$TMPDIR/go" ]; do sleep 0.02; [ -n "$begun" ] || { begun=1; echo "at=$TMPDIR"; }; done; exit 7');
  await until(async () => (await executor.logs.tail("chat.local.1", 10)).includes("at="));
  await engine.goAway();
  const at = /^at=(.*)$/m.exec(await executor.logs.tail("chat.local.1", 10))?.[1] ?? "";
  await writeFile(join(at, "go"), "");
  expect([exits, executor.status("chat.local.1")]).toEqual([[], "run"]);
  await engine.comeBack();
  await until(() => exits.length > 0);
  expect(exits).toEqual([expect.objectContaining({ during: "run", code: 7 })]);
});

test("an agent whose host offers an engine pulls, starts, carries requests, and leaves no container behind", { timeout: 120_000 }, async () => {
  const engine = await startStandIn({ images: [], pullable: ["registry.example/app:1"], pullEveryMs: 100 });
  const hub = await startHub();
  onTestFinished(async () => {
    await hub.close();
    await engine.close();
  });
  const agent = await hub.agent(`trust: unsigned\nexecutors: {docker: {socket: ${engine.socket}}}\n`);
  const serve = `exec ${node} -e 'require("node:http").createServer((request, response) => response.end("from " + process.env.FAIRLEAD_REPLICA)).listen(process.env.PORT, process.env.HOST)'`;
  const task = {
    service: "chat", version: 1, digest: "d1", image: "registry.example/app:1", setup: "echo preparing", run: serve, envs: {}, drainMs: 100, gpus: 0,
    probe: { path: "/", initialDelayMs: 60_000, timeoutMs: 2_000, intervalMs: 500, failureThresholdMs: 60_000, headers: {} },
  };
  hub.assign([task], [{ id: "chat.local.1", service: "chat", number: 1, version: 1, digest: "d1" }]);
  await hub.until(() => hub.replicas.get("chat.local.1")?.phase === "provisioning");
  await hub.until(() => hub.replicas.get("chat.local.1")?.phase === "ready");
  expect(hub.reasons.some((reason) => /^pulling registry\.example\/app:1: \d+ %$/.test(reason))).toBe(true);
  expect(await hub.ask("chat.local.1", "GET", "/")).toBe("200 from chat.local.1<end>");
  expect(await hub.ask("agent", "GET", "/logs/chat.local.1?tail=100")).toContain("preparing");
  expect(engine.containers).toBe(1);
  agent.child.kill("SIGTERM");
  expect(await agent.exit).toBe(0);
  expect(engine.containers).toBe(0);
});
