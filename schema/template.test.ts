import { describe, expect, test } from "vitest";
import { formatProblem } from "./problem.ts";
import { parseService } from "./service.ts";

const yaml = (service: string, rest = ""): string => `service:\n  model: m\n${service}${rest}`;
const template = "  template: {name: vllm, parameters: {model: Qwen/Qwen3-8B, context: 8192, fast: true}}\n";

describe("service.template", () => {
  test("stands in place of run, and leaves port and command to the host", () => {
    const { service, problems } = parseService(yaml(template, "resources: {accelerators: {L4: 1}}\n"), { name: "chat", purpose: "up" });
    expect([service?.task, problems]).toEqual([expect.objectContaining({ run: "", template: { name: "vllm", parameters: { model: "Qwen/Qwen3-8B", context: 8192, fast: true } }, gpus: 1, gate: "openai" }), []]);
    expect(service?.task).not.toHaveProperty("fixedPort");
  });

  test.each([
    [yaml(template, "run: serve\n"), "run: cannot stand beside service.template"],
    [yaml(template, "setup: install\n"), "setup: cannot stand beside service.template"],
    [yaml(template, "workdir: /x\n"), "workdir: cannot stand beside service.template"],
    [yaml(`${template}  ports: 80\n`), "service.ports: cannot stand beside service.template"],
    [yaml("  template: {parameters: {}}\n"), "service.template.name: is missing"],
    [yaml("  template: {name: vllm, parameter: {}}\n"), "service.template.parameter: is not a known field; did you mean parameters?"],
    [yaml("  template: {name: vllm, parameters: {model: [a]}}\n"), "service.template.parameters.model: must be"],
    [yaml("  template: vllm\n"), "service.template: must be a group of fields"],
    [yaml(""), "run: is missing: a service with replicas needs a command to run, or service.template"],
  ])("%j is an error: %s", (text, message) => {
    const { service, problems } = parseService(text, { name: "chat" });
    expect([service, problems.map((problem) => formatProblem(problem, "f")).join("\n")]).toEqual([undefined, expect.stringContaining(message)]);
  });

  test("SkyServe does not know it", () => {
    expect(parseService(yaml(template), { name: "chat", strict: true }).problems.map(({ field }) => field)).toContain("service.template");
  });
});

test.each([
  ["service: {model: m}\nrun: a $PORT", "openai"], ["service: {readiness_probe: /v1/models}\nrun: a $PORT", "openai"], ["service: {}\nrun: a $PORT", "any"],
])("what the gate guards is an engine: %j is %s", (text, gate) => {
  expect(parseService(text, { name: "chat" }).service?.task?.gate).toBe(gate);
});
