import { describe, expect, test } from "vitest";
import { ConfigError, parseConfig } from "./config.ts";

describe("parseConfig()", () => {
  test("gives every default for an empty file", () => {
    expect(parseConfig("", "agent.yaml", "/state")).toEqual({
      state: "/state", trust: "templates", trustPlace: "agent.yaml", drainMs: 30_000, killAfterMs: 5_000, name: undefined, fleetUrl: undefined, relays: 2, reclaim: { cloud: "auto", baseUrl: undefined }, logLevel: "info",
      executors: { limits: {}, disk_free: 256 * 1024 * 1024 },
    });
  });

  test("takes an engine with its defaults, folders to read and to write, and sizes", () => {
    const { executors } = parseConfig("executors: {docker: {mounts: [/srv/models, {path: /srv/cache, writable: true}]}, limits: {memory: 1.5GiB}}", "agent.yaml", "/state");
    expect(executors).toMatchObject({
      docker: { socket: "/var/run/docker.sock", network: "bridge", mounts: [{ path: "/srv/models", writable: false }, { path: "/srv/cache", writable: true }] },
      limits: { memory: 1.5 * 2 ** 30 },
    });
    expect(parseConfig("executors: {docker: {}}", "agent.yaml", "/state").executors.docker?.mounts).toEqual([]);
  });

  test("reads JSON and says where trust is written", () => {
    expect(parseConfig('{"state": "/x",\n "trust": "unsigned", "drain": "2m", "log": {"level": "debug"}}', "a.json", "/state")).toMatchObject({
      state: "/x", trust: "unsigned", trustPlace: "a.json line 2", drainMs: 120_000, logLevel: "debug",
    });
  });

  test("says what kind of host it is, its price in micro-USD", () => {
    expect(parseConfig("zone: us-east-1a\nspot: true\naccelerator: A100-80GB\nprice: 3.67", "a.yaml", "/state")).toMatchObject({ zone: "us-east-1a", spot: true, accelerator: "A100-80GB", priceMicroUsd: 3_670_000 });
  });

  test("says where the agent's metrics are, and where a DCGM exporter is", () => {
    expect(parseConfig("metrics: {port: 9464}\ndcgm: {url: http://127.0.0.1:9400/metrics}", "a.yaml", "/state")).toMatchObject({ metricsPort: 9464, dcgmUrl: "http://127.0.0.1:9400/metrics" });
  });

  test.each([
    ["trust: everything", 'agent.yaml:1: trust: '],
    ["state: /x\ncolour: red", "agent.yaml:2: colour: is not a field"],
    ["log:\n  level: info\n  file: x", "agent.yaml:3: log.file: is not a field"],
    ["state: /x\n\ndrain: soon", 'agent.yaml:3: drain: "soon" is not a duration'],
    ["relays: 0", "agent.yaml:1: relays: "],
    ["reclaim: {cloud: ibm}", "agent.yaml:1: reclaim.cloud: "],
    ["reclaim:\n  cloud: aws\n  base_url: file:///x", "agent.yaml:3: reclaim.base_url: is not an http address"],
    ["transport: pigeon", 'agent.yaml:1: transport: is neither "relay" nor {direct'],
    ["drain: 30", "agent.yaml:1: drain: is not a duration: write 250ms"],
    ["transport:\n  direct: {listen: nowhere, url: https://gpu.example.com}", 'agent.yaml:2: transport.direct.listen: "nowhere" is not an address'],
    ["transport:\n  direct: {listen: 0.0.0.0:8443, url: https://gpu.example.com/v1}", "agent.yaml:2: transport.direct.url: names a path"],
    ["transport:\n  direct: {listen: 0.0.0.0:8443}", "agent.yaml:2: transport.direct.url: "],
    ["executors: {docker: {mounts: [models]}}", "agent.yaml:1: executors.docker.mounts.0: is not a whole path"],
    ["fleet_url: ftp://x", "agent.yaml:1: fleet_url: is not an http"],
    ["executors: {docker: {socket: docker.sock}}", "agent.yaml:1: executors.docker.socket: is not a whole path"],
    ["executors:\n  docker:\n    mount: [/srv]", "agent.yaml:3: executors.docker.mount: is not a field"],
    ["executors: {limits: {memory: much}}", 'agent.yaml:1: executors.limits.memory: "much" is not a size'],
    ["metrics: {port: 70000}", "agent.yaml:1: metrics.port: "],
    ["metrics: {host: 0.0.0.0, port: 9464}", "agent.yaml:1: metrics.host: is not a field"],
    ["dcgm: {url: file:///etc/passwd}", "agent.yaml:1: dcgm.url: is not an http"],
    ["zone: us east", "agent.yaml:1: zone: is not a zone's name"],
    ["spot: maybe", "agent.yaml:1: spot: is neither true nor false"],
    ["accelerator: ''", "agent.yaml:1: accelerator: is not a GPU's name"],
    ["price: -1", "agent.yaml:1: price: is less than nothing"],
    ["price: cheap", "agent.yaml:1: price: is not a number of USD per hour"],
    ["a: [1", "agent.yaml:"],
    ["- list", "agent.yaml:1: "],
  ])("names file, line and field of %j", (text, message) => {
    expect(() => parseConfig(text, "agent.yaml", "/state")).toThrow(ConfigError);
    expect(() => parseConfig(text, "agent.yaml", "/state")).toThrow(message);
  });
});
