import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { delegatedCgroups } from "./cgroup.ts";

/** A folder in place of the kernel's: it keeps what is written to it, and refuses nothing. */
async function mountOf(controllers: string): Promise<string> {
  const mount = await mkdtemp(join(tmpdir(), "fairlead-cgroup-"));
  onTestFinished(() => rm(mount, { recursive: true, force: true }));
  await mkdir(join(mount, "system.slice/fairlead.service"), { recursive: true });
  await writeFile(join(mount, "system.slice/fairlead.service/cgroup.controllers"), controllers);
  return mount;
}
const self = "9:name=systemd:/x\n0::/system.slice/fairlead.service\n";

test("delegatedCgroups() moves the agent to a leaf and gives each replica one with its limits", async () => {
  const mount = await mountOf("cpuset cpu io memory pids\n");
  const own = join(mount, "system.slice/fairlead.service");
  const read = (...path: string[]): Promise<string> => readFile(join(own, ...path), "latin1");
  const cgroups = await delegatedCgroups(mount, self);
  expect(await read("fairlead-agent/cgroup.procs")).toBe(String(process.pid));
  expect(await read("cgroup.subtree_control")).toBe("+memory +pids +cpu");
  const group = await cgroups?.open("chat.local.1", { memoryBytes: 1000, cpus: 1.5, pids: undefined });
  expect([await read("fairlead-chat.local.1/memory.max"), await read("fairlead-chat.local.1/cpu.max"), await read("fairlead-chat.local.1/pids.max")]).toEqual(["1000", "150000 100000", "max"]);
  expect(group?.procs).toBe(join(own, "fairlead-chat.local.1/cgroup.procs"));
  expect(await group?.killedForMemory()).toBe(false);
  await writeFile(join(own, "fairlead-chat.local.1/memory.events"), "low 0\noom 1\noom_kill 1\n");
  expect(await group?.killedForMemory()).toBe(true);
});

test.each([
  ["lacks controllers", "cpuset cpu\n", self],
  ["is of version 1", "memory pids cpu\n", "4:memory:/x\n"],
])("delegatedCgroups() does without a tree that %s", async (_, controllers, said) => {
  expect(await delegatedCgroups(await mountOf(controllers), said)).toBeUndefined();
});
