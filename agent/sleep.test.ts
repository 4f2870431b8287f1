import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { startEngine, type Running } from "../test/engine/server.ts";
import { settings, type Settings } from "../test/engine/settings.ts";
import type { Probe } from "../schema/task.ts";
import { putToSleep, wakeUp } from "./sleep.ts";

const probe: Probe = { path: "/v1/models", initialDelayMs: 0, timeoutMs: 1_000, intervalMs: 1, failureThresholdMs: 0, headers: {} };

async function engine(given: Partial<Settings> = {}): Promise<{ running: Running; port: number }> {
  const running = await startEngine(settings({ model: "m", devMode: true, ttftMs: 0, itlMs: 0, ...given }));
  onTestFinished(() => running.stop());
  return { running, port: Number(new URL(running.url).port) };
}

test("an engine sleeps, and wakes with an answer to a request of its own", async () => {
  const { running, port } = await engine();
  expect(await putToSleep(port)).toEqual({});
  expect(running.engine.sleeping).toBe(true);
  expect(await wakeUp(port, probe)).toEqual({});
  expect(running.engine.sleeping).toBe(false);
  expect(running.engine.log.last.at(-1)).toMatchObject({ path: "/v1/completions", status: 200, tokens: 1 });
});

test("the readiness probe is the first request where it is one", async () => {
  const { running, port } = await engine();
  await putToSleep(port);
  expect(await wakeUp(port, { ...probe, path: "/v1/chat/completions", postBody: '{"model":"m","messages":[{"role":"user","content":"Hello"}],"max_tokens":1}' })).toEqual({});
  expect(running.engine.log.last.at(-1)).toMatchObject({ path: "/v1/chat/completions", status: 200 });
});

test("an engine that wakes and cannot answer is a problem; one that embeds is none", async () => {
  const { running, port } = await engine();
  await putToSleep(port);
  running.engine.failures.order({ status: { code: 500, retryAfter: undefined } }, 1);
  expect(await wakeUp(port, probe)).toEqual({ problem: "its first answer failed with 500" });
  await putToSleep(port);
  running.engine.failures.order({ status: { code: 400, retryAfter: undefined } }, 1);
  expect(await wakeUp(port, probe)).toEqual({});
});

test.each<[string, Partial<Settings>, string]>([
  ["was not started for it", { devMode: false }, "/sleep?level=1&mode=abort answered 404: it needs --enable-sleep-mode and VLLM_SERVER_DEV_MODE=1 in its environment"],
  ["has no sleep that keeps its weights", { metricsAs: "sglang" }, "SGLang cannot sleep"],
  ["is not known", { metricsAs: "none", model: "m" }, "Ollama cannot sleep"],
])("an engine that %s stays awake, and says why", async (_, given, problem) => {
  const { running, port } = await engine(given);
  expect(await putToSleep(port)).toEqual({ problem, awake: true });
  expect(running.engine.sleeping).toBe(false);
});

test("when an engine failed at falling asleep nobody knows whether it is awake", async () => {
  const { running, port } = await engine();
  running.engine.failures.order({ status: { code: 500, retryAfter: undefined } }, 1, "/sleep");
  expect(await putToSleep(port)).toEqual({ problem: "/sleep?level=1&mode=abort answered 500", awake: false });
});

/** vLLM 0.32.0 in its own words, where it was started with VLLM_SERVER_DEV_MODE=1: it says that it sleeps, whether it can or not. */
async function realVllm(enabled: boolean): Promise<{ port: number; asked: string[] }> {
  const asked: string[] = [];
  const awake = (): string => (asked.includes("/sleep?level=1&mode=abort") ? "0.0" : "1.0");
  const answers: Record<string, () => string> = {
    "/metrics": () => `vllm:num_requests_running{engine="0",model_name="tiny"} 0.0\nvllm:num_requests_waiting{engine="0",model_name="tiny"} 0.0\nvllm:engine_sleep_state{engine="0",model_name="tiny",sleep_state="awake"} ${awake()}\n`,
    "/server_info?config_format=json": () => `{"vllm_config":{"model_config":{"enable_sleep_mode":${enabled},"sleep_preserve_parameter_names":[],"sleep_mode_backend":"cumem","sleep_mode_offload_cudagraph":false}},"vllm_env":{},"system_env":{}}`,
    "/sleep?level=1&mode=abort": () => '{"status":"sleeping","level":1}',
    "/is_sleeping": () => `{"is_sleeping":${awake() === "0.0"}}`,
  };
  const server = createServer(({ url = "" }, response) => {
    asked.push(url);
    const answer = answers[url];
    response.writeHead(answer === undefined ? 404 : 200).end(answer?.() ?? '{"detail":"Not Found"}');
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return { port: (server.address() as AddressInfo).port, asked };
}

test("vLLM that was not started to sleep stays awake: it would say that it sleeps, and let go of nothing", async () => {
  const { port, asked } = await realVllm(false);
  expect(await putToSleep(port)).toEqual({ problem: "its /server_info says that it was not started to sleep: it needs --enable-sleep-mode and VLLM_SERVER_DEV_MODE=1 in its environment", awake: true });
  expect(asked).not.toContain("/sleep?level=1&mode=abort");
});

test("vLLM that was started to sleep sleeps", async () => {
  const { port, asked } = await realVllm(true);
  expect(await putToSleep(port)).toEqual({});
  expect(asked).toContain("/sleep?level=1&mode=abort");
});
