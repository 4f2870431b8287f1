import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { engineSchema, type Engine } from "../../schema/protocol.ts";
import { parseService } from "../../schema/service.ts";

const folder = join(import.meta.dirname, "../../examples");
const files = readdirSync(folder).filter((name) => name.endsWith(".yaml"));
const read = (file: string): string => readFileSync(join(folder, file), "utf8");

/** `scripts/test all` gives every example to `fairlead validate` as well. */
test.each(files)("examples/%s is valid, says how it is started and what it needs", (file) => {
  const { problems, service } = parseService(read(file), { file });
  expect(problems.filter(({ level }) => level === "error")).toEqual([]);
  expect(service?.name).toBe(file.replace(/\.yaml$/, ""));
  const comment = read(file).split("\n").filter((line) => line.startsWith("#"));
  expect(comment).toContainEqual(expect.stringMatching(new RegExp(`^#   fairlead up examples/${file}\\b`)));
  expect(comment.length).toBeGreaterThan(1);
});

test("there is an example for each engine that the agent knows", () => {
  const named: Record<Engine, string> = { vllm: "vllm", sglang: "sglang", llamacpp: "llamacpp", tgi: "tgi", trtllm: "tensorrt-llm", triton: "triton", ollama: "ollama" };
  expect(engineSchema.options.map((engine) => `${named[engine]}.yaml`).filter((file) => !files.includes(file))).toEqual([]);
});

test.each<[string, object]>([
  ["autoscale", { policy: { autoscaler: "adaptive", min: 0, max: 4, targetQps: 4, schedule: [{ min: 1, max: 8 }] }, fromZero: { holdMs: 60_000, fallback: false }, rollout: { mode: "rolling" } }],
  ["canary", { policy: { autoscaler: "fixed", min: 2 }, rollout: { mode: "canary", steps: [{ share: 0.05 }, { share: 0.25 }, { share: 0.5, forMs: 300_000 }], errorRateMax: 0.02, latencyRatioMax: 1.5 } }],
  ["spot", { policy: { min: 2, max: 6, overprovision: 1, spot: { baseOnDemand: 1, dynamicOnDemand: true, placer: "spothedge" } }, fromZero: { fallback: true } }],
])("examples/%s.yaml scales and rolls out as it says", (name, expected) => {
  expect(parseService(read(`${name}.yaml`), { file: `${name}.yaml` }).service).toMatchObject(expected);
});
