import { expect, test } from "vitest";
import { parseService } from "../schema/service.ts";
import { signedTask } from "../schema/signedSpec.ts";
import { unsignedParts } from "./signing.ts";

function specOf(yaml: string) {
  const { service } = parseService(yaml, { name: "chat" });
  if (service?.task === undefined) throw new Error(yaml);
  return { spec: service, task: service.task };
}

const yaml = "service: {replica_policy: {min_replicas: 1, max_replicas: 4, target_qps_per_replica: 1}}\nresources: {accelerators: L4, infra: aws}\nrun: a $PORT";
const { task } = specOf(yaml);
const signed = { spec: { service: "chat", version: 1, signedAt: 1, replicasMax: 4, task: signedTask(task) }, keyId: "k" };

test.each<[string, string, string[]]>([
  ["nothing", yaml, []],
  ["where it may run", yaml.replace("aws", "gcp"), []],
  ["which accelerators it may have", yaml.replace("L4", "A100"), []],
  ["how it scales, within what was signed", yaml.replace("target_qps_per_replica: 1", "target_qps_per_replica: 9"), []],
  ["how many there may be", yaml.replace("max_replicas: 4", "max_replicas: 5"), ["replicas"]],
  ["how many there may be at times", yaml.replace("target_qps", "schedule: [{cron: '0 8 * * *', duration: 1h, max_replicas: 9}], target_qps"), ["replicas"]],
  ["how many GPUs it has", yaml.replace("L4", "L4:2"), ["gpus"]],
  ["what it runs", yaml.replace("run: a", "run: b"), ["run"]],
])("a signature tells of a change of %s", async (_name, changed, parts) => {
  expect(await unsignedParts(signed, specOf(changed).spec, { replica: {}, apiKeys: {} }, undefined)).toEqual(parts);
});
