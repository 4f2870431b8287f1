import { describe, expect, test } from "vitest";
import { ConfigError, parseConfig } from "./config.ts";

describe("parseConfig()", () => {
  test("gives every default for an empty file", () => {
    expect(parseConfig("", "agent.yaml", "/state")).toEqual({
      state: "/state", trust: "templates", trustPlace: "agent.yaml", drainMs: 30_000, killAfterMs: 5_000, name: undefined, fleetUrl: undefined, relays: 2, reclaim: { cloud: "auto", baseUrl: undefined }, logLevel: "info",
      executors: { limits: {}, disk_free: 256 * 1024 * 1024 },
    });
  });

  test("reads JSON and says where trust is written", () => {
    expect(parseConfig('{"state": "/x",\n "trust": "unsigned", "drain": "2m", "log": {"level": "debug"}}', "a.json", "/state")).toMatchObject({
      state: "/x", trust: "unsigned", trustPlace: "a.json line 2", drainMs: 120_000, logLevel: "debug",
    });
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
    ["transport:\n  direct: {listen: nowhere, url: https://gpu.example.com}", "agent.yaml:2: transport"],
    ["transport:\n  direct: {listen: 0.0.0.0:8443, url: https://gpu.example.com/v1}", "agent.yaml:2: transport"],
    ["fleet_url: ftp://x", "agent.yaml:1: fleet_url: is not an http"],
    ["metrics: {port: 70000}", "agent.yaml:1: metrics.port: "],
    ["metrics: {host: 0.0.0.0, port: 9464}", "agent.yaml:1: metrics.host: is not a field"],
    ["dcgm: {url: file:///etc/passwd}", "agent.yaml:1: dcgm.url: is not an http"],
    ["a: [1", "agent.yaml:"],
    ["- list", "agent.yaml:1: "],
  ])("names file, line and field of %j", (text, message) => {
    expect(() => parseConfig(text, "agent.yaml", "/state")).toThrow(ConfigError);
    expect(() => parseConfig(text, "agent.yaml", "/state")).toThrow(message);
  });
});
