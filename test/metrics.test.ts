import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { fleetMetrics } from "../edge/hub/metrics.ts";
import type { RegionStatus } from "../schema/snapshot.ts";
import { exposition, type Sample } from "./exposition.ts";
import { full } from "./traffic.ts";

const status: RegionStatus = {
  region: "local", takenAt: 10_000, bundleVersion: 1, unplaced: [],
  hosts: [{ id: "host_1", name: 'box "7"\\', region: "local", relays: [0], heardAt: 9_000, linkUp: true, draining: false, generation: 1, appliedGeneration: 1 }],
  replicas: [{ id: "chat.local.1", service: "chat", number: 1, version: 1, phase: "ready", host: "host_1", hostName: "box", since: 0, inFlight: 4, load: { running: 1, queueDepth: 2, kvUsage: 0.5 }, region: "local", restarts: 0 }],
};

const text = async (): Promise<string> => (await fleetMetrics([{ status, counted: full().counted(11_000) }, { status: { ...status, region: "weur", hosts: [], replicas: [] } }])).text;
const valuesOf = (samples: readonly Sample[], name: string): Record<string, number> => Object.fromEntries(samples.filter((sample) => sample.name === name).map(({ labels, value }) => [Object.values(labels).join(" "), value]));

describe("fleetMetrics()", () => {
  test("is valid by a strict reader, and by promtool where it is installed", async () => {
    const all = await text();
    for (const one of [all, (await fleetMetrics([])).text]) {
      exposition(one);
      const checked = spawnSync("promtool", ["check", "metrics"], { input: one, encoding: "utf8" });
      if (checked.error !== undefined) return console.info("promtool is not installed: the metrics were read by our own reader only");
      expect([checked.stdout + checked.stderr, checked.status]).toEqual(["", 0]);
    }
  });

  test("tells what isolates told, with the labels that apply", async () => {
    const samples = exposition(await text());
    expect(valuesOf(samples, "fairlead_request_count_total")).toMatchObject({ "chat gpus local 2xx": 1, "chat gpus local broken": 1, "local 4xx": 1 });
    expect(valuesOf(samples, "fairlead_upstream_attempts_total")).toEqual({ "chat gpus local answer": 1, "chat gpus local lost": 1 });
    expect(valuesOf(samples, "fairlead_tokens_total")).toEqual({ "chat gpus local input": 3, "chat gpus local output": 3, "chat gpus local cached": 3 });
    expect(valuesOf(samples, "fairlead_stream_resumes_total")).toEqual({ "chat gpus local exact": 1 });
    expect(valuesOf(samples, "fairlead_breaker_state")).toEqual({ "chat vendor local open": 1, "chat chat.local.1 local half_open": 1 });
    expect(valuesOf(samples, "fairlead_requests_in_flight")).toEqual({ "chat chat.local.1 local": 4, "chat vendor local": 2 });
    expect(valuesOf(samples, "fairlead_capacity_lacks_total")).toEqual({ "chat gpus local refused": 1, "chat gpus local spilled": 1 });
    expect([valuesOf(samples, "fairlead_held_requests"), valuesOf(samples, "fairlead_spilled_requests")]).toEqual([{ "chat local": 3 }, { "chat local": 1 }]);
    expect(valuesOf(samples, "fairlead_replica_qps")).toEqual({ "chat chat.local.1 local": 5 });
    expect(valuesOf(samples, "fairlead_autoscaler_decisions_total")).toEqual({ "chat local place": 1 });
    expect(valuesOf(samples, "fairlead_request_latency_seconds_sum")).toEqual({ "chat gpus local": 100.015 });
    expect(valuesOf(samples, "fairlead_request_latency_seconds_bucket")).toMatchObject({ "chat gpus local 0.01": 1, "chat gpus local 0.02": 2, "chat gpus local 81.92": 2, "chat gpus local +Inf": 3 });
  });

  test("has every metric of the contract that has a source, and what the dashboard and the docs name", async () => {
    const names = new Set([...(await text()).matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name));
    const contract = ["request_latency_seconds", "request_count_total", "requests_in_flight", "replica_status", "replica_qps", "autoscaler_decisions_total", "ttft_seconds", "itl_seconds", "tokens_total", "upstream_attempts_total", "stream_resumes_total", "breaker_state", "queue_depth", "kv_usage", "prefix_hits_total", "snapshot_age_seconds", "link_up"];
    expect(contract.filter((name) => !names.has(`fairlead_${name}`))).toEqual([]);
    const root = join(import.meta.dirname, "..");
    const dashboard = JSON.parse(readFileSync(join(root, "deploy/grafana/fairlead.json"), "utf8")) as { panels: { targets?: { expr: string }[] }[] };
    const queried = dashboard.panels.flatMap(({ targets = [] }) => targets.flatMap(({ expr }) => [...expr.matchAll(/fairlead_\w+/g)].map(([name]) => name.replace(/_(bucket|sum|count)$/, (suffix) => (names.has(name) ? suffix : "")))));
    expect(queried.length).toBeGreaterThan(10);
    expect(queried.filter((name) => !names.has(name))).toEqual([]);
    expect([...names].filter((name) => !queried.includes(name ?? ""))).toEqual([]);
    const actions = dashboard.panels.flatMap(({ targets = [] }) => targets.flatMap(({ expr }) => /autoscaler_decisions_total\{[^}]*action=~"([^"]+)"/.exec(expr)?.[1]?.split("|") ?? []));
    const docs = readFileSync(join(root, "docs/metrics.md"), "utf8");
    expect([...names].filter((name) => !docs.includes(`\`${name}\``))).toEqual([]);
    // what Scalers and Hubs decide stands in three panels: each action in one of them
    const decided = /^\| `fairlead_autoscaler_decisions_total`.*$/m.exec(docs)?.[0].split("of a Scaler:")[1] ?? "";
    expect(new Set(actions)).toEqual(new Set([...decided.matchAll(/`(\w+)`/g)].map(([, action]) => action)));
    expect(new Set(actions).size).toBe(actions.length);
  });

  test("tells nothing of what it does not know", async () => {
    const samples = exposition((await fleetMetrics([{ status: { ...status, replicas: [], hosts: [] } }])).text);
    expect(samples.map(({ name }) => name)).toEqual(["fairlead_snapshot_age_seconds"]);
  });
});
