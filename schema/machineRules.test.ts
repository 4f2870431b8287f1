import { expect, test } from "vitest";
import { parseService } from "./service.ts";

/** `LEVEL FIELD: MESSAGE`, one a problem, of a service whose resources are the given YAML. */
function problems(resources: string, strict = false): string[] {
  return parseService(`service: {}\nresources: ${resources}\nrun: serve --port ${strict ? "8080" : "$PORT"}\n`, { name: "chat", strict }).problems.map(({ level, field, message }) => `${level} ${field}: ${message}`);
}

test.each([
  "{cpus: 4, memory: 16}", "{cpus: 4+, memory: 16+}", "{cpus: 0.5, memory: 512MB}", "{memory: 3x}", "{memory: 16Gi+}", "{disk_size: 256, disk_tier: Best, network_tier: standard}", "{disk_size: 1TB}",
  "{infra: aws}", "{infra: GCP/*/us-central1-a}", "{infra: '*'}", "{infra: '*/*/z'}", "{infra: k8s/context/with/slashes}", "{cloud: AWS, region: us-east-1, zone: us-east-1a}", "{use_spot: yes}", "{use_spot: Off}",
  "{accelerators: L4:8}", "{accelerators: {L4:8, A10g:8, a100}}", "{accelerators: [H100:8, A100:8]}", "{accelerators: {L4: 2}}", "{gpus: L4}", "{accelerators: 24GB+}", "{accelerators: 'nvidia:24GB+:2'}", "{accelerators: tpu-v5e-8}",
  "{any_of: [{infra: aws}, {infra: gcp}], accelerators: {L4, A100}}", "{ordered: [{accelerators: H100}, {accelerators: A100:2}]}", "{image_id: {docker: a/b}}", "{image_id: ami-1}", "{labels: {a: b}, priority: 10, autostop: 10m, max_hourly_cost: 1.5}",
])("resources as %s are taken", (resources) => {
  expect(problems(resources).filter((line) => line.startsWith("error"))).toEqual([]);
});

test.each<[string, string]>([
  ["{cpus: x}", "resources.cpus: must be a number such as 4, or 4+ for at least so many"],
  ["{cpus: 0}", "resources.cpus: must be a number such as 4"],
  ["{memory: 8 bytes}", "resources.memory: must be a size such as 16 (GiB), 16GB, or 16+"],
  ["{disk_size: 1.5}", "resources.disk_size: must be"],
  ["{disk_size: big}", "resources.disk_size: must be a size such as 256 (GiB) or 1TB"],
  ["{disk_tier: fast}", "resources.disk_tier: must be one of low, medium, high, ultra, best"],
  ["{disk_tier: hgh}", "did you mean high?"],
  ["{network_tier: fast}", "resources.network_tier: must be one of standard, best"],
  ["{use_spot: maybe}", "resources.use_spot: must be true or false"],
  ["{instance_type: 5}", "resources.instance_type: must be text"],
  ["{labels: {a: 1}}", "resources.labels.a: must be text"],
  ["{priority: 2000}", "resources.priority: must be at most 1000"],
  ["{infra: aws/a/b/c}", "resources.infra: must be cloud, cloud/region or cloud/region/zone"],
  ["{infra: aws//z}", "resources.infra: must be cloud, cloud/region or cloud/region/zone"],
  ["{infra: /us-east-1}", 'resources.infra: "" is no cloud that SkyPilot knows'],
  ["{infra: aws, region: us-east-1}", "resources.infra: cannot stand beside cloud, region and zone"],
  ["{region: us-east-1, any_of: [{infra: aws}]}", "resources.infra: cannot stand beside cloud, region and zone"],
  ["{accelerators: L4:x}", 'resources.accelerators: "L4:x" has no number above 0 after the colon'],
  ["{accelerators: {L4: 0}}", 'resources.accelerators: "L4:0" has no number above 0'],
  ["{any_of: [{accelerators: L4:x}]}", 'resources.any_of[0].accelerators: "L4:x"'],
  ["{gpus: L4, accelerators: L4}", "resources.gpus: is another name of accelerators"],
  ["{accelerators: {L4, A100}, ordered: [{cpus: 2}]}", "resources.accelerators: names several beside ordered"],
  ["{accelerators: [L4, A100], any_of: [{cpus: 2}]}", "resources.accelerators: is a list, which is an order, beside any_of"],
  ["{any_of: [{cpu: 4}]}", "resources.any_of[0].cpu: is not a known field; did you mean cpus?"],
  ["{use_spt: true}", "resources.use_spt: is not a known field; did you mean use_spot?"],
  ["{autostop: soon}", "resources.autostop: must be a time such as 10m or 2h"],
])("resources as %s are refused: %s", (resources, words) => {
  expect(problems(resources).filter((line) => line.startsWith("error")).join("\n")).toContain(words);
});

test("a cloud that nobody knows yet is a warning, with the one that was meant", () => {
  expect(problems("{infra: asw/us-east-1}")).toContain('warning resources.infra: "asw" is no cloud that SkyPilot knows; did you mean aws?');
  expect(problems("{infra: asw/us-east-1, ports: 8080}", true)).toContain('error resources.infra: "asw" is no cloud that SkyPilot knows; did you mean aws?');
});

test.each([["k8s as a cloud", "{cloud: k8s, ports: 8080}"], ["counts as text", '{accelerators: {L4: "1"}, ports: 8080}'], ["several accelerators within an entry", "{any_of: [{accelerators: {L4: 1, A100: 1}}], ports: 8080}"]])("%s is refused in strict mode only, as SkyServe does", (_name, resources) => {
  expect(problems(resources).filter((line) => line.startsWith("error"))).toEqual([]);
  expect(problems(resources, true).filter((line) => line.startsWith("error"))).toHaveLength(1);
});

test.each<[string, object]>([
  ["{gpus: L4:2}", { gpus: 2, accelerators: [{ name: "L4", count: 2 }] }],
  ["{accelerators: 'nvidia:24GB:2'}", { gpus: 2 }],
  ["{accelerators: 80GB+}", { gpus: 1 }],
  ["{image_id: {us-east-1: ami-1, docker: 'docker:a/b:1'}}", { image: "a/b:1" }],
])("resources as %s give a task", (resources, expected) => {
  const { service } = parseService(`service: {}\nresources: ${resources}\nrun: a $PORT`, { name: "chat" });
  expect(service?.task).toMatchObject(expected);
  expect(service?.task).toHaveProperty("gpus");
});

test("accelerators that are named by their memory only may be any", () => {
  expect(parseService("service: {}\nresources: {accelerators: [L4, 80GB+]}\nrun: a $PORT", { name: "chat" }).service?.task).not.toHaveProperty("accelerators");
});

test.each([["an order of machines", "{ordered: [{cpus: 2}]}"], ["an order of accelerators", "{accelerators: [L4, A100]}"], ["ports", "{ports: 8080}"]])("a pool has no %s", (_name, resources) => {
  const { problems: found } = parseService(`pool: {workers: 1}\nresources: ${resources}\n`, { name: "batch" });
  expect(found.filter(({ level }) => level === "error").map(({ message }) => message).join()).toContain("cannot be used with a pool of workers");
});
