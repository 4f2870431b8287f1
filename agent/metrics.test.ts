import { expect, test } from "vitest";
import { exposition } from "../test/exposition.ts";
import type { ReplicaState } from "../schema/protocol.ts";
import { createLog } from "./log.ts";
import { agentMetrics, serveMetrics, type AgentFigures } from "./metrics.ts";

const state = (more: Partial<ReplicaState>): ReplicaState => ({ id: "chat.local.1", service: "chat", number: 1, version: 1, digest: "d", phase: "ready", since: 0, restarts: 0, wasReady: true, inFlight: 0, ...more });
const figures: AgentFigures = {
  agentVersion: "1.2.3", linkUp: () => true, sessions: () => 3, relays: () => 2, carried: () => ({ requests: 7, bytes: 900 }), linesDropped: () => 4,
  replicas: () => [state({ inFlight: 2, restarts: 1 }), state({ id: "chat.local.2", phase: "failed", restarts: 2 })],
  readings: () => ({ ageMs: 1_500, gpus: [{ index: 0, uuid: "GPU-1", utilisation: 0.5, memoryUsedBytes: 0 }, { index: 1 }], host: { cpus: 4, diskFreeBytes: 10 } }),
};

test("the agent's metrics are valid, and what is not known has no sample", async () => {
  const samples = exposition((await agentMetrics(figures, 0.002)).text);
  const of = (name: string): unknown[] => samples.filter((sample) => sample.name === `fairlead_agent_${name}`).map(({ labels, value }) => [labels, value]);
  expect(of("reconnects_total")).toEqual([[{}, 2]]);
  expect(of("replicas")).toEqual([[{ service: "chat", status: "ready" }, 1], [{ service: "chat", status: "failed" }, 1]]);
  expect([of("restarts_total"), of("requests_in_flight"), of("requests_total"), of("answer_bytes_total"), of("log_lines_dropped_total")]).toEqual([[[{ service: "chat" }, 3]], [[{}, 2]], [[{}, 7]], [[{}, 900]], [[{}, 4]]]);
  expect(of("gpu_memory_bytes")).toEqual([[{ gpu: "0", uuid: "GPU-1", status: "used" }, 0]]);
  expect(of("gpu_utilisation")).toEqual([[{ gpu: "0", uuid: "GPU-1" }, 0.5]]);
  expect([of("gpu_power_watts"), of("host_load1")]).toEqual([[], []]);
  expect(of("host_bytes")).toEqual([[{ of: "disk", status: "free" }, 10]]);
});

test("they are served on loopback, under one path", async () => {
  const lines: string[] = [];
  const log = createLog({ level: "info", clock: { now: () => 0 }, write: (line) => lines.push(line) });
  const server = await serveMetrics({ ...figures, port: 0, log });
  try {
    const answer = await fetch(`http://127.0.0.1:${server.port}/metrics`);
    expect(answer.headers.get("content-type")).toContain("text/plain; version=0.0.4");
    expect(exposition(await answer.text()).find(({ name }) => name === "fairlead_agent_link_up")?.value).toBe(1);
    expect((await fetch(`http://127.0.0.1:${server.port}/other`)).status).toBe(404);
    await expect(serveMetrics({ ...figures, port: server.port, log })).rejects.toThrow(`Cannot serve the agent's metrics on 127.0.0.1:${server.port}`);
  } finally {
    await server.close();
  }
});
