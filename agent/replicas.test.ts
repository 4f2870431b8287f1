import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock } from "../schema/clock.ts";
import type { RequestHead } from "../schema/frames.ts";
import type { AssignedReplica, ReplicaState } from "../schema/protocol.ts";
import type { Task } from "../schema/task.ts";
import { expectedAnswer } from "../test/engine/text.ts";
import type { Wire } from "./carry.ts";
import type { Executor } from "./executor.ts";
import { processExecutor } from "./executors/process.ts";
import { createLog } from "./log.ts";
import { probe } from "./probe.ts";
import { keepRecent } from "./recent.ts";
import { keepReplicas, type Replicas } from "./replicas.ts";
import { createScrubber } from "./scrub.ts";
import { putToSleep, wakeUp } from "./sleep.ts";
import { systemTimers } from "./timers.ts";

const id = "chat.local.1";
const simulator = join(import.meta.dirname, "../test/engine/main.ts");

let state = "";
let executor: Executor;
let replicas: Replicas;
const reported: ReplicaState[] = [];

beforeEach(async () => {
  state = await mkdtemp(join(tmpdir(), "fairlead-replicas-"));
  reported.length = 0;
  executor = await processExecutor({ state, environment: { PATH: process.env["PATH"] }, openSecrets: async () => ({}) });
  replicas = keepReplicas({
    executor, putToSleep, recent: keepRecent(), scrubber: createScrubber(),
    probe: async (port, task) => probe(port, task.probe),
    wakeUp: async (port, task) => wakeUp(port, task.probe),
    toldBy: () => ({}),
    killAfterMs: 5_000, onChange: () => {}, onPhase: (one) => reported.push(one),
    clock: systemClock, random: Math.random, timers: systemTimers, log: createLog({ level: "error", clock: systemClock, write: console.error }),
    rules: { startProbeMs: 100 },
  });
});

afterEach(async () => {
  replicas.close();
  await executor.killAll();
  await rm(state, { recursive: true, force: true });
});

const now = (): ReplicaState | undefined => replicas.states().find((one) => one.id === id);
const phases = (): string[] => reported.map(({ phase }) => phase);

/** The simulator cuts what is in flight at SIGTERM, unless it is told not to, and at `/sleep`. */
function assign(generation: number, wanted: Partial<AssignedReplica> | undefined, flags = "--dev-mode", drainMs = 20_000): void {
  const task: Task = {
    service: "chat", version: 1, digest: "d1", run: `exec ${JSON.stringify(process.execPath)} ${JSON.stringify(simulator)} --model m --ttft 0ms --itl 20ms --port $PORT ${flags}`, envs: {}, drainMs, gpus: 0,
    probe: { path: "/v1/models", initialDelayMs: 60_000, timeoutMs: 2_000, intervalMs: 500, failureThresholdMs: 60_000, headers: {} },
  };
  replicas.apply({ assign: { type: "assign", generation, tasks: [task], replicas: wanted === undefined ? [] : [{ id, service: "chat", number: 1, version: 1, digest: "d1", ...wanted }] }, refuses: () => undefined });
}

const body = { model: "m", messages: [{ role: "user", content: "hello" }] };

/** A streamed chat by way of the agent: its text so far, and how it ended. */
function chat(): { text: () => string; end: () => string | undefined } {
  let raw = "";
  let end: string | undefined;
  const head: RequestHead = { target: id, method: "POST", path: "/v1/chat/completions", headers: [["content-type", "application/json"]], requestId: "r" };
  const wire: Wire = {
    head: () => {},
    body(payload) {
      raw += Buffer.from(payload).toString();
      return true;
    },
    end: () => (end = "end"),
    reset: (code) => (end = code),
    granted: () => {},
  };
  const answerer = replicas.answererOf(head);
  if ("refuse" in answerer) return { text: () => "", end: () => answerer.refuse.code };
  const carried = answerer.carry(head, wire);
  carried.body(Buffer.from(JSON.stringify({ ...body, stream: true })), "data");
  carried.end({ code: 0, reason: "" });
  const text = (): string => raw.split("\n\n").filter((event) => event.startsWith("data: {")).map((event) => (JSON.parse(event.slice(6)) as { choices: { delta: { content?: string } }[] }).choices[0]?.delta.content ?? "").join("");
  return { text, end: () => (end === "end" && !raw.endsWith("data: [DONE]\n\n") ? "cut" : end) };
}

const answer = expectedAnswer(body, { model: "m" }).choices[0]?.content;
const ready = async (): Promise<void> => expect.poll(() => now()?.phase, { timeout: 60_000 }).toBe("ready");

test("an engine that cuts its streams at SIGTERM gets it when they are over", { timeout: 120_000 }, async () => {
  assign(1, {});
  await ready();
  const stream = chat();
  await expect.poll(stream.text).not.toBe("");
  assign(2, undefined);
  expect(now()?.phase).toBe("draining");
  await expect.poll(() => now()?.phase, { timeout: 60_000 }).toBe("stopped");
  expect([stream.end(), stream.text()]).toEqual(["end", answer]);
});

// as vLLM does while a client is connected: it says nothing more and waits for the client to leave
test("what outlives the drain time is cut at once, however long the engine takes to end", { timeout: 120_000 }, async () => {
  assign(1, {}, "--ignore-sigterm", 100);
  await ready();
  const stream = chat();
  await expect.poll(stream.text).not.toBe("");
  assign(2, undefined, "--ignore-sigterm", 100);
  await expect.poll(stream.end, { timeout: 60_000, interval: 20 }).toBe("cancelled");
  expect(now()).toMatchObject({ phase: "stopping", inFlight: 0 });
  await expect.poll(() => now()?.phase, { timeout: 60_000 }).toBe("stopped");
});

test("a replica that should sleep ends its streams, refuses others, keeps its process, and answers again when it should be awake", { timeout: 120_000 }, async () => {
  assign(1, {});
  await ready();
  const pid = now()?.pid;
  const stream = chat();
  await expect.poll(stream.text).not.toBe("");
  assign(2, { sleeping: true });
  expect(now()).toMatchObject({ phase: "sleeping", inFlight: 1 });
  await expect.poll(() => now()?.reason, { timeout: 60_000 }).toBe("its weights are in the host's memory");
  expect([stream.end(), stream.text()]).toEqual(["end", answer]);
  expect(chat().end()).toBe("no_target");
  assign(3, {});
  await ready();
  expect(now()).toMatchObject({ pid, restarts: 0 });
  const again = chat();
  await expect.poll(again.end, { timeout: 60_000 }).toBe("end");
  expect(again.text()).toBe(answer);
  expect(phases()).toEqual(["starting", "ready", "sleeping", "ready"]);
});

test("a replica that should sleep from its beginning, and whose engine cannot, serves and says why", { timeout: 120_000 }, async () => {
  assign(1, { sleeping: true }, "");
  await expect.poll(() => now()?.reason, { timeout: 60_000 }).toContain("it cannot be put to sleep: /sleep?level=1&mode=abort answered 404");
  expect(now()?.phase).toBe("ready");
});
