import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import type { Task } from "../../schema/task.ts";
import type { Executor, Exit } from "../executor.ts";
import { executorsSchema } from "./config.ts";
import { hostExecutor } from "./executors.ts";

let state: string;
let executor: Executor;
let mounted = false;
const id = "chat.local.1";

beforeEach(async () => {
  state = await mkdtemp(join(tmpdir(), "fairlead-executors-"));
});
afterEach(async () => {
  await executor.killAll();
  if (mounted) execFileSync("umount", [state]);
  mounted = false;
  await rm(state, { recursive: true, force: true });
});

const open = (config: unknown = {}): Promise<Executor> =>
  hostExecutor({ state, owner: "me", environment: process.env, openSecrets: async () => ({}), config: executorsSchema.parse(config), log: { info() {}, warn() {} } });
const task = (run: string, more: Partial<Task> = {}): Task => ({
  service: "chat", version: 1, digest: "d", run, envs: {}, drainMs: 0, gpus: 0,
  probe: { path: "/", initialDelayMs: 1, timeoutMs: 1, intervalMs: 1, failureThresholdMs: 1, headers: {} }, ...more,
});
async function start(given: Task): Promise<Exit[]> {
  const exits: Exit[] = [];
  await executor.start({ id, number: 1, task: given, onPreparing() {}, onStage() {}, onRefused: (error) => expect.unreachable(error.message), onExit: (exit) => exits.push(exit) });
  return exits;
}
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 30_000; !(await condition()); await new Promise((resolve) => setTimeout(resolve, 10))) {
    if (Date.now() > deadline) throw new Error(`not so in time: ${condition.toString()}`);
  }
}

/** A disk of its own in place of the state folder. @returns whether this user may make one */
function smallDisk(bytes: number): boolean {
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", state], { stdio: "ignore" });
    mounted = true;
    return true;
  } catch {
    return false;
  }
}

/** A control group with little memory, where this user may make one. */
function smallMemory(bytes: number): string | undefined {
  for (const [root, bound] of [["/sys/fs/cgroup/memory", "memory.limit_in_bytes"], ["/sys/fs/cgroup", "memory.max"]] as const) {
    const group = `${root}/fairlead-test-${process.pid}`;
    try {
      mkdirSync(group);
      if (existsSync(`${group}/${bound}`)) {
        writeFileSync(`${group}/${bound}`, String(bytes));
        onTestFinished(() => rmdirSync(group));
        return group;
      }
      rmdirSync(group);
    } catch {
      // not ours to make
    }
  }
  return undefined;
}

describe("hostExecutor()", () => {
  test("refuses an image where the host offers no containers, once and for all", async () => {
    executor = await open();
    expect(executor.refusal(task("true", { image: "x:1" }))).toMatch(/^it needs the image x:1, and this host runs no containers/);
    expect(executor.refusal(task("true"))).toBeUndefined();
  });

  test("starts nothing while less is free on its disk than its owner wants, and says how much that is", async () => {
    executor = await open({ disk_free: "1000TiB" });
    await expect(start(task("true"))).rejects.toMatchObject({ wait: true, message: expect.stringMatching(/^the disk of .* is full: \d+ MiB of \d+ MiB are free, and nothing is started below 1048576000 MiB$/) });
    expect((await executor.capacity()).disk?.freeBytes).toBeGreaterThan(0);
  });

  test("row 38: a disk that fills up ends nothing, what runs goes on, logs are cut to make room, and starts wait until there is some", async ({ skip }) => {
    if (!smallDisk(24 * 1024 * 1024)) skip("only root can mount a small disk");
    executor = await open({ disk_free: "8MiB" });
    const exits = await start(task("while :; do head -c 100000 /dev/zero; done"));
    // to the last page
    await until(async () => ((await executor.capacity()).disk?.freeBytes ?? Number.NaN) < 8192);
    await expect(executor.start({ id: "other.local.1", number: 1, task: task("true"), onPreparing() {}, onStage() {}, onRefused() {}, onExit() {} })).rejects.toMatchObject({ wait: true, message: expect.stringContaining("is full") });
    expect([exits, executor.status(id), (await executor.logs.tail(id, 1)).length > 0]).toEqual([[], "run", true]);
    await executor.stop(id, 1_000);
    await executor.logs.trim(id);
    expect((await executor.capacity()).disk?.freeBytes).toBeGreaterThan(20 * 1024 * 1024);
    expect(await start(task("echo there is room; exit 3")).then(async (ended) => (await until(() => ended.length > 0), ended[0]))).toMatchObject({ code: 3, lastLine: "there is room" });
  });

  test("row 38: a replica that the kernel kills for want of memory says so, and the executor goes on", async ({ skip }) => {
    const group = smallMemory(64 * 1024 * 1024);
    if (group === undefined) skip("no control group can be made here");
    executor = await open();
    const exits = await start(task(`echo $$ > ${group}/cgroup.procs; exec ${JSON.stringify(process.execPath)} -e 'const all = []; for (;;) all.push(Buffer.alloc(1 << 24, 1))'`));
    await until(() => exits.length > 0);
    expect(exits[0]).toMatchObject({ signal: "SIGKILL", outOfMemory: "likely" });
    expect(await start(task("exit 0")).then(async (ended) => (await until(() => ended.length > 0), ended[0]))).toMatchObject({ code: 0 });
  });
});
