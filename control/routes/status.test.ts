import { expect, test, vi } from "vitest";
import type { StatusReplica } from "../../schema/snapshot.ts";
import { caller, controlUnderTest, yaml } from "../../test/control.ts";

const control = controlUnderTest();
const call = caller(control);

function ready(...replicas: { number: number; since: number }[]): void {
  const rows = replicas.map((one): StatusReplica => ({ ...one, id: `chat.local.${one.number}`, service: "chat", version: 1, phase: "ready", host: "h", hostName: "box", inFlight: 0, region: "local", restarts: 0 }));
  control.edge.regions = [{ region: "local", takenAt: 0, bundleVersion: 1, hosts: [], replicas: rows, unplaced: [] }];
}

async function readySince(): Promise<number | undefined> {
  const { body } = await call("GET", "/v1/status");
  return (body as unknown as { services: { readySince?: number }[] }).services[0]?.readySince;
}

test("a service's uptime goes on while its replicas are replaced, and begins anew with a service of the same name", async () => {
  await call("PUT", "/v1/services/chat", { yaml });
  ready();
  expect(await readySince()).toBeUndefined();
  ready({ number: 1, since: 50 }, { number: 2, since: 70 });
  expect(await readySince()).toBe(50);
  ready({ number: 3, since: 900 });
  await vi.waitFor(async () => expect(await readySince()).toBe(50), { timeout: 20_000 });
  ready();
  expect(await readySince()).toBeUndefined();
  await call("PUT", "/v1/services/chat", { yaml: yaml.replace("run:", "setup: b\nrun:") });
  ready({ number: 4, since: 1_000 });
  expect(await readySince()).toBe(50);
  await call("DELETE", "/v1/services/chat");
  await call("PUT", "/v1/services/chat", { yaml });
  ready({ number: 5, since: 2_000 });
  expect(await readySince()).toBe(2_000);
});
