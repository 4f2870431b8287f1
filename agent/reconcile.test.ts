import { describe, expect, test } from "vitest";
import type { Phase } from "../schema/replica.ts";
import type { Task } from "../schema/task.ts";
import { reconcile, type Actual } from "./reconcile.ts";

const task = (digest: string): Task => ({
  service: "chat", version: 1, digest, run: "true", envs: {}, drainMs: 1000, gpus: 0,
  probe: { path: "/", initialDelayMs: 1, timeoutMs: 1, intervalMs: 1, failureThresholdMs: 1, headers: {} },
});
const wanted = (id: string, { version = 1, digest = "d1" } = {}) => ({ id, service: "chat", number: 1, version, digest });
const actual = (id: string, phase: Phase, { version = 1, digest = "d1", since = 0 } = {}): Actual => ({ id, version, digest, phase, since });
const assign = (...replicas: ReturnType<typeof wanted>[]) => ({ tasks: [task("d1"), task("d2")], replicas });

describe("reconcile()", () => {
  test("starts what is assigned and not there", () => {
    expect(reconcile(assign(wanted("a")), [], 0)).toEqual([{ do: "start", replica: wanted("a"), task: task("d1") }]);
  });

  test("starts it once when it is listed twice", () => {
    expect(reconcile(assign(wanted("a"), wanted("a")), [], 0)).toHaveLength(1);
  });

  test("does nothing when all is as it should be", () => {
    expect(reconcile(assign(wanted("a"), wanted("b")), [actual("a", "ready"), actual("b", "unhealthy")], 0)).toEqual([]);
  });

  test.each(["failed", "stopped", "reclaimed"] as const)("leaves an assigned replica that is %s as it is", (phase) => {
    expect(reconcile(assign(wanted("a")), [actual("a", phase)], 1e9)).toEqual([]);
  });

  test.each(["pending", "starting", "ready", "unhealthy", "draining"] as const)("drains a %s replica that is not assigned", (phase) => {
    expect(reconcile(assign(), [actual("a", phase)], 0)).toMatchObject([{ do: "drain", id: "a" }]);
  });

  test("keeps the processes when only the version changed", () => {
    expect(reconcile(assign(wanted("a", { version: 2 })), [actual("a", "ready")], 0)).toEqual([{ do: "relabel", id: "a", version: 2 }]);
  });

  test.each<[string, Phase, boolean | undefined, string | undefined]>([
    ["puts one to sleep that should sleep and is ready", "ready", true, "sleep"],
    ["wakes one that should be awake", "sleeping", undefined, "wake"],
    ["wakes one that should not sleep any more", "sleeping", false, "wake"],
    ["leaves one that sleeps as it should", "sleeping", true, undefined],
    ["leaves one that is awake as it should be", "ready", false, undefined],
    ["waits for one that should sleep and is not ready yet", "starting", true, undefined],
    ["does not put one to sleep that drains", "draining", true, undefined],
  ])("%s", (_, phase, sleeping, step) => {
    const next = assign({ ...wanted("a"), ...(sleeping === undefined ? {} : { sleeping }) });
    expect(reconcile(next, [actual("a", phase)], 0)).toEqual(step === undefined ? [] : [{ do: step, id: "a" }]);
  });

  test("drains first and starts anew then when the digest changed", () => {
    const next = assign(wanted("a", { version: 2, digest: "d2" }));
    expect(reconcile(next, [actual("a", "ready")], 0)).toMatchObject([{ do: "drain", id: "a" }]);
    expect(reconcile(next, [actual("a", "stopped")], 0)).toMatchObject([{ do: "start", task: { digest: "d2" } }]);
  });

  test("forgets what is over after its hub had time to hear of it", () => {
    expect(reconcile(assign(), [actual("a", "stopped", { since: 100 })], 200, { rememberMs: 1000 })).toEqual([]);
    expect(reconcile(assign(), [actual("a", "stopped", { since: 100 })], 1100, { rememberMs: 1000 })).toEqual([{ do: "forget", id: "a" }]);
  });

  test("refuses everything where the host allows nothing, and starts nothing when the agent leaves", () => {
    expect(reconcile(assign(wanted("a")), [], 0, { refusal: "no" })).toEqual([{ do: "refuse", replica: wanted("a"), reason: "no" }]);
    expect(reconcile(assign(wanted("a")), [], 0, { leaving: true })).toEqual([]);
  });

  test.each(["../x", "a/b", "", ".hidden", "a\0b", "x".repeat(200)])("takes no notice of the id %j", (id) => {
    expect(reconcile(assign(wanted(id)), [], 0)).toEqual([]);
    expect(reconcile(assign(wanted(id)), [], 0, { refusal: "no" })).toEqual([]);
  });

  test("refuses a replica whose task is missing", () => {
    expect(reconcile({ tasks: [], replicas: [wanted("a")] }, [], 0)).toMatchObject([{ do: "refuse" }]);
  });
});
