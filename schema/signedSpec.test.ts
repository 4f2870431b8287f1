import { expect, test } from "vitest";
import { parseService } from "./service.ts";
import { signedSpecSchema, signedTask } from "./signedSpec.ts";

const task = parseService("service: {}\nresources: {accelerators: L4, infra: aws, use_spot: true}\nrun: a $PORT", { name: "chat" }).service?.task;
const spec = { service: "chat", version: 1, signedAt: 1, replicasMax: 1 };

test("what hubs place by is not signed: an agent that does not know it would refuse all of it", () => {
  if (task === undefined) throw new Error("the file has a task");
  expect(task).toMatchObject({ accelerators: [{ name: "L4", count: 1 }], places: [{ cloud: "aws", spot: true }] });
  const { accelerators: _accelerators, places: _places, ...rest } = task;
  expect(signedTask(task)).toEqual(rest);
  expect(signedSpecSchema.safeParse({ ...spec, task: signedTask(task) }).success).toBe(true);
  expect(signedSpecSchema.safeParse({ ...spec, task }).success).toBe(false);
});
