import { expect, test } from "vitest";
import { parseService } from "../../schema/service.ts";
import { describeChanges } from "./changes.ts";

function spec(yaml: string) {
  const { service, problems } = parseService(yaml, { name: "chat" });
  if (service === undefined) throw new Error(JSON.stringify(problems));
  return service;
}

const base = "service: {model: m}\nrun: a $PORT";

test.each<[string, string | undefined, string, string]>([
  ["a new service", undefined, base, "Service chat will be created: 1 replica; model m."],
  ["a new service with GPUs", undefined, `${base}\nresources: {accelerators: L4:2}`, "1 replica with 2 GPUs each"],
  ["a new service of providers", undefined, "service: {providers: [{name: p, endpoint: 'https://a.example'}]}", "created: providers p; model chat."],
  ["nothing", base, base, "stays as it is, unless a secret has changed."],
  ["more replicas", base, "service: {model: m, replicas: 3}\nrun: a $PORT", "  replicas: 1 → 3"],
  ["another model", base, "service: {model: [m, n]}\nrun: a $PORT", "  models: m → m, n"],
  ["another strategy", base, "service: {model: m, routing: {strategy: least_load}}\nrun: a $PORT", "  strategy: availability_first → least_load"],
  ["timeouts", base, "service: {model: m, routing: {timeouts: {idle: 3s}}}\nrun: a $PORT", "  timeouts: first byte 2m 0s, idle 15s, total 10m 0s → first byte 2m 0s, idle 3s, total 10m 0s"],
  ["a hedge", base, "service: {model: m, routing: {hedge: {after: 1s}}}\nrun: a $PORT", "  hedge after: none → 1s"],
  ["fewer attempts", base, "service: {model: m, routing: {retries: {attempts: 1}}}\nrun: a $PORT", "  attempts: 3 → 1"],
  ["what becomes of lost streams", base, "service: {model: m, routing: {on_stream_loss: error}}\nrun: a $PORT", "  on stream loss: continue → error"],
  ["what restarts", base, "service: {model: m}\nrun: b $PORT\nsetup: x", "  setup, run changed: replicas are replaced one after another"],
  ["what restarts nothing", base, "service: {model: m, limits: {max_body_bytes: 5}}\nrun: a $PORT", "  settings that restart nothing"],
])("describeChanges() of %s", (_name, before, after, expected) => {
  expect(describeChanges("chat", before === undefined ? undefined : spec(before), spec(after)).join("\n")).toContain(expected);
});

test("a spec whose fields come in another order is no change", () => {
  const reversed = (value: unknown): unknown => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
    return Object.fromEntries(Object.entries(value).toReversed().map(([key, inner]) => [key, reversed(inner)]));
  };
  const stored = reversed(JSON.parse(JSON.stringify(spec(base)))) as ReturnType<typeof spec>;
  expect(describeChanges("chat", stored, spec(base))).toEqual(["Service chat stays as it is, unless a secret has changed."]);
});
