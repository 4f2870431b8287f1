import { describe, expect, test } from "vitest";
import { agentMessageSchema, assignSchema, enrolText, helloText, hubMessageSchema, linkTimes, protocol, protocolMin, replicaStateSchema, type Heartbeat, type ReplicaState } from "./protocol.ts";

const replica: ReplicaState = { id: "chat.local.1", service: "chat", number: 1, version: 1, digest: "d", phase: "ready", since: 1, restarts: 0, wasReady: true, inFlight: 0 };
const heartbeat: Heartbeat = { type: "heartbeat", epoch: 1, generation: 1, relays: [0, 1], draining: false, replicas: [replica] };
const task = {
  service: "chat", version: 1, digest: "d", run: "serve", envs: {}, drainMs: 0, gpus: 0,
  probe: { path: "/health", initialDelayMs: 0, timeoutMs: 1, intervalMs: 1, failureThresholdMs: 0, headers: {} },
};

const accepted = (message: unknown): boolean => agentMessageSchema.safeParse(message).success;

describe("what a Hub reads", () => {
  test.each([
    ["hello", { type: "hello", host: "host_1", region: "local", protocol: 1, agentVersion: "1", nonce: "", signature: "" }],
    ["heartbeat", heartbeat],
    ["report", { type: "report", epoch: 1, replica }],
    ["goodbye", { type: "goodbye", epoch: 1 }],
    ["tickets", { type: "tickets", epoch: 1 }],
  ])("%s, with fields that it does not know ignored", (_, message) => {
    expect(accepted(message)).toBe(true);
    expect(agentMessageSchema.parse({ ...message, later: true })).not.toHaveProperty("later");
  });

  test.each<[string, unknown]>([
    ["a type it does not know", { type: "reboot" }],
    ["what is for agents", { type: "assign", generation: 1, tasks: [], replicas: [] }],
    ["no object", "hello"],
    ["a heartbeat without an epoch", { ...heartbeat, epoch: undefined }],
    ["a heartbeat with an epoch that is no integer", { ...heartbeat, epoch: 1.5 }],
    ["more than 1,000 replicas", { ...heartbeat, replicas: Array.from({ length: 1_001 }, () => replica) }],
    ["more than 16 relays", { ...heartbeat, relays: Array.from({ length: 17 }, (_, i) => i) }],
    ["a reason without bound", { ...heartbeat, replicas: [{ ...replica, reason: "x".repeat(501) }] }],
    ["a report's reason without bound", { type: "report", epoch: 1, replica: { ...replica, reason: "x".repeat(501) } }],
    ["a phase that is none", { ...heartbeat, replicas: [{ ...replica, phase: "great" }] }],
    ["a negative count", { ...heartbeat, replicas: [{ ...replica, inFlight: -1 }] }],
    ["a KV usage beyond 1", { ...heartbeat, replicas: [{ ...replica, load: { running: 0, queueDepth: 0, kvUsage: 1.01 } }] }],
    ["a load that is no number", { ...heartbeat, replicas: [{ ...replica, load: { running: Number.NaN, queueDepth: 0 } }] }],
    ["a version of 0", { ...heartbeat, replicas: [{ ...replica, version: 0 }] }],
    ["a host name without bound", { type: "hello", host: "h".repeat(65), region: "local", protocol: 1, agentVersion: "1", nonce: "", signature: "" }],
  ])("not %s", (_, message) => {
    expect(accepted(message)).toBe(false);
  });

  test("a load that could not be read stays absent", () => {
    expect(replicaStateSchema.parse(replica).load).toBeUndefined();
  });
});

describe("what an agent reads", () => {
  test("an assignment with its tasks", () => {
    const assign = { type: "assign", generation: 3, tasks: [task], replicas: [{ id: "chat.local.1", service: "chat", number: 1, version: 1, digest: "d" }] };
    expect(hubMessageSchema.parse(assign)).toEqual(assign);
  });

  test.each([
    ["a port out of range", { ...task, fixedPort: 65_536 }],
    ["a probe of a relative path", { ...task, probe: { ...task.probe, path: "health" } }],
    ["a fraction of a GPU", { ...task, gpus: 0.5 }],
    ["no command", { ...task, run: undefined }],
  ])("not %s", (_, bad) => {
    expect(assignSchema.safeParse({ type: "assign", generation: 3, tasks: [bad], replicas: [] }).success).toBe(false);
  });

  test.each(["", ".", "..", "../chat", "a/b", "a\\b", "a\n", "A", "-rf", "a b", "a".repeat(161)])("no replica whose name is no safe file name: %j", (id) => {
    expect(assignSchema.safeParse({ type: "assign", generation: 3, tasks: [], replicas: [{ id, service: "chat", number: 1, version: 1, digest: "d" }] }).success).toBe(false);
  });
});

describe("signed texts", () => {
  const challenge = { nonce: "n1", protocol: 2, protocolMin: 1, region: "local" };
  const hello = { host: "host_1", nonce: "n2", protocol: 3 };

  test("a hello's text binds region, both nonces, host and both offers", () => {
    const text = helloText(challenge, hello);
    expect(text).toBe("fairlead-link\nlocal\nn1\nn2\nhost_1\n1\n2\n3");
    for (const change of [{ nonce: "x" }, { protocol: 9 }, { protocolMin: 9 }, { region: "weur" }]) expect(helloText({ ...challenge, ...change }, hello)).not.toBe(text);
    for (const change of [{ nonce: "x" }, { protocol: 9 }, { host: "x" }]) expect(helloText(challenge, { ...hello, ...change })).not.toBe(text);
  });

  test("an enrolment's text is for enrolment only, and binds token and both keys", () => {
    expect(enrolText("t", "p", "s")).toBe("fairlead-enrol\nt\np\ns");
  });
});

test("the numbers hold together", () => {
  expect(protocolMin).toBeLessThanOrEqual(protocol);
  expect(linkTimes.heartbeatMs * 2).toBeLessThan(linkTimes.leaseMs);
});
