import { describe, expect, test } from "vitest";
import type { Task } from "../schema/task.ts";
import { ConfigError, parseYaml } from "./config.ts";
import { overrideSchema, overruled } from "./override.ts";
import { expand, templatesSchema, type Templates } from "./templates.ts";

const read = (yaml: string): Templates => parseYaml(yaml, "t.yaml", templatesSchema, "templates").value.templates;
const digest = `sha256:${"a".repeat(64)}`;

const task = (more: Partial<Task> & { image?: string } = {}): Task => ({
  service: "chat", version: 1, digest: "d", run: "", envs: {}, drainMs: 0, gpus: 0, template: { name: "t", parameters: {} },
  probe: { path: "/", initialDelayMs: 0, timeoutMs: 1, intervalMs: 1, failureThresholdMs: 0, headers: {} }, ...more,
});

test.each([
  ["templates:\n  t:\n    argv: []", "t.yaml:3: templates.t.argv: "],
  ["templates:\n  t:\n    argv: [x, '{y}']", "t.yaml:3: templates.t.argv: refers to {y}, which is no parameter"],
  ["templates:\n  t:\n    argv: [x]\n    parameters:\n      y: {type: integer, min: 1, max: 2}", "t.yaml:5: templates.t.parameters.y: is used nowhere in argv"],
  ["templates:\n  t:\n    argv: [x, '{y}']\n    parameters:\n      y: {type: string}", "t.yaml:5: templates.t.parameters.y.pattern: "],
  ["templates:\n  t:\n    argv: [x, '{y}']\n    parameters:\n      y: {type: string, pattern: '('}", "templates.t.parameters.y.pattern: is not a regular expression"],
  ["templates:\n  t:\n    argv: [x, '{y}']\n    parameters:\n      y: {type: integer, min: 1, max: 2, default: 3}", "templates.t.parameters.y.default: must be from 1 to 2"],
  ["templates:\n  t:\n    argv: [x]\n    shell: true", "t.yaml:4: templates.t.shell: is not a field of templates"],
  ["templates:\n  t:\n    argv: [x]\n    images: [latest]", "templates.t.images.0: is not a digest"],
])("a templates file is refused by line and field: %j", (yaml, message) => {
  expect(() => read(yaml)).toThrow(ConfigError);
  expect(() => read(yaml)).toThrow(message);
});

describe("expand()", () => {
  test("makes each argument one word, with the port for the agent to fill in", () => {
    const templates = read("templates:\n  t:\n    argv: [vllm, 'it''s', '--port={port}', '{\"json\": 1}', '{m}-{m}', '$HOME `x`']\n    parameters:\n      m: {type: string, pattern: '.*'}");
    const made = expand(templates, task({ template: { name: "t", parameters: { m: "a'b" } } }));
    expect("task" in made && made.task.run).toBe(`exec 'vllm' 'it'\\''s' '--port='"$PORT"'' '{"json": 1}' 'a'\\''b-a'\\''b' '$HOME \`x\`'`);
  });

  test("takes over of a task only what it names", () => {
    const templates = read("templates:\n  t: {argv: [x], env: {A: own}, allow_env: [A, B], port: 9000, workdir: /srv, gpus: 1}");
    const made = expand(templates, { ...task({ envs: { A: "theirs", B: "theirs" }, gpus: 1, fixedPort: 22, gate: "any", signed: "x" }), ofTomorrow: 1 } as Task);
    if (!("task" in made)) throw new Error(made.reason);
    const { digest: _digest, service: _service, version: _version, drainMs: _drainMs, probe: _probe, ...rest } = made.task;
    expect([rest, made.secretNames]).toEqual([{ run: "exec 'x'", envs: { A: "own", B: "theirs" }, gpus: 1, gate: "openai", workdir: "/srv", fixedPort: 9000 }, ["A", "B"]]);
  });

  test.each([
    [`vllm/vllm-openai@${digest}`, true], ["vllm/vllm-openai:latest", false], [`vllm/vllm-openai@sha256:${"b".repeat(64)}`, false], [digest, false], [`x@${digest}:tag`, false],
  ])("lets an image through by digest only: %s", (image, expected) => {
    expect("task" in expand(read(`templates:\n  t: {argv: [x], images: ["${digest}"]}`), task({ image }))).toBe(expected);
  });

  test.each([["constructor"], ["__proto__"], ["toString"]])("has no template or parameter called %s", (name) => {
    expect(expand(read("templates:\n  t: {argv: [x]}"), task({ template: { name, parameters: {} } }))).toMatchObject({ reason: expect.stringContaining("no template") as string });
    expect(expand(read("templates:\n  t: {argv: [x]}"), task({ template: { name: "t", parameters: Object.fromEntries([[name, "x"]]) } }))).toMatchObject({ reason: expect.stringContaining("no parameter") as string });
  });
});

test.each([
  [{}, "chat", 100, undefined],
  [{ stop: true }, "chat", 0, "has stopped it"],
  [{ max_replicas: 2 }, "chat", 1, undefined],
  [{ max_replicas: 2 }, "chat", 2, "allows 2 replicas here, and 2 run"],
  [{ max_replicas: 0 }, "chat", 0, "allows 0 replicas"],
  [{ allowed_services: ["chat"] }, "chat", 0, undefined],
  [{ allowed_services: ["chat"] }, "chatty", 0, "does not allow service chatty"],
  [{ allowed_services: ["ch*"] }, "chatty", 0, undefined],
  [{ allowed_services: [] }, "chat", 0, "does not allow"],
])("overruled(%j, %s, %i)", (override, service, alive, message) => {
  const reason = overruled(overrideSchema.parse(override), service, alive);
  expect(message === undefined ? reason : (reason ?? "").includes(message)).toBe(message === undefined ? undefined : true);
});
