import { spawnSync } from "node:child_process";
import { mkdirSync, rmdirSync, writeFileSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Task } from "../schema/task.ts";
import { startHub, type HubStandIn } from "./hubStandIn.ts";

/** The whole agent on a host that has run out of something. */

let hub: HubStandIn;
/** Undoes what a test has made. */
let restore: (() => void) | undefined;

beforeEach(async () => {
  hub = await startHub();
});
afterEach(async () => {
  restore?.();
  restore = undefined;
  await hub.close();
});

const node = JSON.stringify(process.execPath);
const serve = `exec ${node} -e 'require("node:http").createServer((request, response) => response.end("here")).listen(process.env.PORT, "127.0.0.1")'`;
const task = (run: string): Task => ({
  service: "chat", version: 1, digest: "d1", run, envs: {}, drainMs: 100, gpus: 0,
  probe: { path: "/", initialDelayMs: 60_000, timeoutMs: 2_000, intervalMs: 500, failureThresholdMs: 60_000, headers: {} },
});
const replica = (number: number) => ({ id: `chat.local.${number}`, service: "chat", number, version: 1, digest: "d1" });
const disk = () => hub.heard.findLast((message) => message.type === "heartbeat")?.facts?.disk;
const freeBytes = (): number | undefined => disk()?.freeBytes;

describe("row 38", { timeout: 120_000 }, () => {
  test("on a full disk the agent lives, tells how full it is, starts nothing new, and does when there is room", async ({ skip }) => {
    const folder = join(hub.folder, "s");
    await mkdir(folder);
    if (spawnSync("mount", ["-t", "tmpfs", "-o", `size=${32 * 1024 * 1024}`, "tmpfs", folder]).status !== 0) skip("only root can mount a small disk");
    restore = () => void spawnSync("umount", ["--lazy", folder]);
    await hub.agent("trust: unsigned\nexecutors: {disk_free: 16MiB}\n");
    hub.assign([task(serve)], [replica(1)]);
    await hub.until(() => hub.replicas.get("chat.local.1")?.phase === "ready");
    await writeFile(join(folder, "fill"), Buffer.alloc(32 * 1024 * 1024)).catch(() => {});
    hub.assign([task(serve)], [replica(1), replica(2)]);
    await hub.until(() => hub.replicas.get("chat.local.2")?.reason?.includes("is full"));
    expect(hub.replicas.get("chat.local.2")).toMatchObject({ phase: "pending", restarts: 0 });
    await hub.until(() => (freeBytes() ?? Number.NaN) < 1024 * 1024);
    expect(disk()?.full).toBe(true);
    expect(await hub.ask("chat.local.1", "GET", "/")).toBe("200 here<end>");
    await rm(join(folder, "fill"));
    await hub.until(() => hub.replicas.get("chat.local.2")?.phase === "ready");
    await hub.until(() => (freeBytes() ?? 0) > 16 * 1024 * 1024);
    expect(disk()?.full).toBeUndefined();
    expect(hub.replicas.get("chat.local.1")).toMatchObject({ phase: "ready", restarts: 0 });
  });

  test("without memory the kernel takes the replica and not the agent, which says so and goes on", async ({ skip }) => {
    const group = `/sys/fs/cgroup/memory/fairlead-agent-test-${process.pid}`;
    try {
      mkdirSync(group);
      writeFileSync(`${group}/memory.limit_in_bytes`, String(512 * 1024 * 1024));
    } catch {
      skip("no control group with a bound on memory can be made here");
    }
    const agent = await hub.agent("trust: unsigned\n");
    writeFileSync(`${group}/cgroup.procs`, String(agent.child.pid));
    restore = () => {
      writeFileSync("/sys/fs/cgroup/memory/cgroup.procs", String(agent.child.pid));
      rmdirSync(group);
    };
    hub.assign([task(`exec ${node} -e 'const all = []; setInterval(() => all.push(Buffer.alloc(1 << 26, 1)), 10)'`)], [replica(1)]);
    await hub.until(() => hub.reasons.some((reason) => reason.startsWith("was killed by SIGKILL (out of memory?)")), 30_000);
    hub.assign([task(serve)], [replica(2)]);
    await hub.until(() => hub.replicas.get("chat.local.2")?.phase === "ready");
    hub.assign([], []);
    await hub.until(() => hub.replicas.get("chat.local.2")?.phase === "stopped");
    expect(agent.child.exitCode).toBeNull();
  });
});
