import { createServer } from "node:http";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { Counter, Gauge, Registry } from "prom-client";
import type { ReplicaState } from "../schema/protocol.ts";
import type { Readings } from "../schema/readings.ts";
import { phases } from "../schema/replica.ts";
import type { Log } from "./log.ts";

/** What the agent says of itself at the moment of a scrape. */
export interface AgentFigures {
  agentVersion: string;
  linkUp: () => boolean;
  /** How often the control link has been up. */
  sessions: () => number;
  relays: () => number;
  replicas: () => readonly ReplicaState[];
  carried: () => { requests: number; bytes: number };
  readings: () => Readings | undefined;
  linesDropped: () => number;
}

export interface MetricsOptions extends AgentFigures {
  /** On loopback; 0 takes a free one. */
  port: number;
  log: Log;
}

/** The event loop's delay is looked at this often. */
const lagStepMs = 20;

export interface MetricsServer {
  port: number;
  close(): Promise<void>;
}

/** The agent's figures in Prometheus text. What is not known has no sample: an empty reading is never 0. */
export async function agentMetrics({ agentVersion, linkUp, sessions, relays, replicas, carried, readings, linesDropped }: AgentFigures, lagSeconds: number): Promise<{ text: string; contentType: string }> {
  const registry = new Registry();
  const registers = [registry];
  const gauge = (name: string, help: string, labelNames: string[] = []): Gauge => new Gauge({ name: `fairlead_agent_${name}`, help, labelNames, registers });
  const counter = (name: string, help: string, labelNames: string[] = []): Counter => new Counter({ name: `fairlead_agent_${name}_total`, help, labelNames, registers });

  gauge("info", "1, with the agent's version", ["version"]).set({ version: agentVersion }, 1);
  gauge("link_up", "Whether the control link is open").set(linkUp() ? 1 : 0);
  counter("reconnects", "Times the control link was opened again since the agent began").inc(Math.max(0, sessions() - 1));
  gauge("relays", "Data links that are open").set(relays());
  const states = replicas();
  const inPhase = gauge("replicas", "Replicas by service and phase", ["service", "status"]);
  const restarts = counter("restarts", "Starts of replicas after their first, of those on this host now", ["service"]);
  for (const service of new Set(states.map((state) => state.service))) {
    const own = states.filter((state) => state.service === service);
    for (const phase of phases) {
      const count = own.filter((state) => state.phase === phase).length;
      if (count > 0) inPhase.set({ service, status: phase }, count);
    }
    restarts.inc({ service }, own.reduce((sum, state) => sum + state.restarts, 0));
  }
  gauge("requests_in_flight", "Requests that are being carried").set(states.reduce((sum, { inFlight }) => sum + inFlight, 0));
  counter("requests", "Requests carried to replicas since the agent began").inc(carried().requests);
  counter("answer_bytes", "Bytes of replicas' answers carried since the agent began").inc(carried().bytes);
  counter("log_lines_dropped", "Own log lines that are no longer kept").inc(linesDropped());
  gauge("event_loop_lag_seconds", "Median delay of the event loop since the last scrape").set(lagSeconds);

  const read = readings();
  const gpuLabels = ["gpu", "slice", "uuid"];
  const gpuMemory = gauge("gpu_memory_bytes", "GPU memory", [...gpuLabels, "status"]);
  const gpuShare = gauge("gpu_utilisation", "GPU utilisation, 0..1", gpuLabels);
  const gpuCelsius = gauge("gpu_temperature_celsius", "GPU temperature", gpuLabels);
  const gpuWatts = gauge("gpu_power_watts", "GPU power draw", gpuLabels);
  for (const { index, slice, uuid, memoryUsedBytes, memoryTotalBytes, utilisation, temperatureC, powerW } of read?.gpus ?? []) {
    const labels = { gpu: String(index), ...(slice === undefined ? {} : { slice: String(slice) }), ...(uuid === undefined ? {} : { uuid }) };
    if (memoryUsedBytes !== undefined) gpuMemory.set({ ...labels, status: "used" }, memoryUsedBytes);
    if (memoryTotalBytes !== undefined) gpuMemory.set({ ...labels, status: "total" }, memoryTotalBytes);
    if (utilisation !== undefined) gpuShare.set(labels, utilisation);
    if (temperatureC !== undefined) gpuCelsius.set(labels, temperatureC);
    if (powerW !== undefined) gpuWatts.set(labels, powerW);
  }
  const host = read?.host;
  if (read !== undefined) gauge("readings_age_seconds", "Age of the readings of GPUs and host").set(read.ageMs / 1000);
  if (host?.load1 !== undefined) gauge("host_load1", "Load average of a minute").set(host.load1);
  const bytes = gauge("host_bytes", "Memory, and the disk of the state folder", ["of", "status"]);
  for (const [of, status, value] of [["memory", "used", host?.memoryUsedBytes], ["memory", "total", host?.memoryTotalBytes], ["disk", "free", host?.diskFreeBytes], ["disk", "total", host?.diskTotalBytes]] as const) {
    if (value !== undefined) bytes.set({ of, status }, value);
  }
  return { text: await registry.metrics(), contentType: registry.contentType };
}

/**
 * Serves them at `/metrics`, on loopback only: what scrapes it is on this host.
 *
 * @throws Error when the port cannot be had
 */
export async function serveMetrics({ port, log, ...figures }: MetricsOptions): Promise<MetricsServer> {
  const delay = monitorEventLoopDelay({ resolution: lagStepMs });
  delay.enable();
  const server = createServer((request, response) => {
    if (request.method !== "GET" || request.url?.split("?")[0] !== "/metrics") return void response.writeHead(404, { "content-type": "text/plain" }).end("GET /metrics\n");
    // what it takes down is the time between two ticks of its timer
    const lagSeconds = Math.max(0, delay.percentile(50) / 1e9 - lagStepMs / 1000);
    delay.reset();
    agentMetrics(figures, lagSeconds).then(
      ({ text, contentType }) => response.writeHead(200, { "content-type": contentType }).end(text),
      (error: unknown) => {
        log.error("the agent's metrics could not be told", { problem: String(error) });
        response.writeHead(500).end();
      },
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => reject(new Error(`Cannot serve the agent's metrics on 127.0.0.1:${port}: ${error.message}`, { cause: error })));
    server.listen({ port, host: "127.0.0.1" }, resolve);
  });
  const address = server.address();
  const at = typeof address === "object" && address !== null ? address.port : port;
  log.info("the agent's metrics are served", { address: `http://127.0.0.1:${at}/metrics` });
  return {
    port: at,
    close() {
      delay.disable();
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
