import { mkdtemp, mkdir, realpath, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Docker from "dockerode";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Exit, StartError, Executor } from "../../agent/executor.ts";
import { executorsSchema } from "../../agent/executors/config.ts";
import { dockerExecutor } from "../../agent/executors/docker/docker.ts";
import { logFiles } from "../../agent/executors/logs.ts";
import { keepPlaces, type Places } from "../../agent/executors/places.ts";
import type { Task } from "../../schema/task.ts";

/** An engine, and what is there for it to run. */
export interface Engine {
  socket: string;
  /** Is there. */
  image: string;
  /** A registry has it, under a name that the engine has not seen yet. */
  pullable: () => string;
  /** A command that answers "hello" at / on $PORT, wherever it is reached from. */
  serve: string;
  /** A command that ignores SIGTERM and writes "armed". */
  stubborn: string;
}

const id = "chat.local.1";

/**
 * What the executor promises, of whichever engine.
 *
 * @param greedy a command that takes ever more memory, where the engine bounds memory
 */
export function dockerSuite(name: string, engineOf: () => Engine, greedy?: string): void {
  describe(name, { timeout: 120_000 }, () => {
    let state: string;
    let engine: Engine;
    let docker: Docker;
    let executor: Executor;
    let owners = 0;
    const used: Executor[] = [];

    beforeEach(async () => {
      state = await realpath(await mkdtemp(join(tmpdir(), "fairlead-docker-")));
      engine = engineOf();
      docker = new Docker({ socketPath: engine.socket });
      executor = await open();
    });
    afterEach(async () => {
      for (const one of used.splice(0)) await one.killAll();
      await rm(state, { recursive: true, force: true });
    });

    async function open({ owner = `test-${process.pid}-${++owners}`, mounts = [] as unknown[], limits = {}, places = keepPlaces({ listGpus: async () => [] }) as Places } = {}): Promise<Executor> {
      const logs = join(state, "logs");
      await mkdir(logs, { recursive: true });
      const config = executorsSchema.parse({ docker: { socket: engine.socket, mounts } }).docker;
      if (!config) throw new Error("no docker");
      const one = await dockerExecutor({ state, owner, config, limits, places, logs: logFiles(logs, { everyMs: 20 }), openSecrets: async () => ({ WORD: "hunter2-secret" }), onProblem: (problem) => expect.unreachable(problem), progressEveryMs: 0 });
      used.push(one);
      return one;
    }

    const task = (run: string, more: Partial<Task> = {}): Task => ({
      service: "chat", version: 1, digest: "d", run, envs: {}, drainMs: 0, gpus: 0, image: engine.image,
      probe: { path: "/", initialDelayMs: 1, timeoutMs: 1, intervalMs: 1, failureThresholdMs: 1, headers: {} }, ...more,
    });

    /** Orders a replica and collects what is told of it. */
    async function order(run: string, more: Partial<Task> = {}, by = executor) {
      const told = { preparing: [] as string[], stages: [] as [string, number][], exits: [] as Exit[], refusals: [] as StartError[] };
      await by.start({
        id, number: 1, task: task(run, more),
        onPreparing: (what) => told.preparing.push(what),
        onStage: (stage, port) => told.stages.push([stage, port]),
        onExit: (exit) => told.exits.push(exit),
        onRefused: (error) => told.refusals.push(error),
      });
      return told;
    }

    const inspected = async () => {
      const [found] = await docker.listContainers({ all: true, filters: { label: [`fairlead.replica=${id}`] } });
      return docker.getContainer(found?.Id ?? "none").inspect();
    };
    const logOf = (): Promise<string> => executor.logs.tail(id, 1000);

    test("runs setup, then run in the same container, and serves on a loopback port", async () => {
      const told = await order(`echo "installed: $(cat "\${TMPDIR:-/tmp}/installed") $WORD"; ${engine.serve}`, { setup: "echo tool > \"${TMPDIR:-/tmp}/installed\"; echo preparing >&2" });
      await until(() => told.stages.length === 2);
      expect(told.stages.map(([stage]) => stage)).toEqual(["setup", "run"]);
      const port = told.stages[1]?.[1];
      await until(async () => (await fetch(`http://127.0.0.1:${port}/`).then((response) => response.text()).catch(() => "")).includes("hello"));
      await until(async () => (await logOf()).includes("installed: tool"));
      expect(await logOf()).toMatch(/setup of version 1 begins in .*\npreparing\n.*setup exited with code 0\n.*run of version 1 begins.*\ninstalled: tool hunter2-secret\n/);
      expect(executor.status(id)).toBe("run");
      await executor.stop(id, 5_000);
      expect(executor.status(id)).toBe("absent");
      expect(told.exits).toEqual([]);
    });

    test("runs one that insists on a port on another of the host, so that two fit on it", async () => {
      const told = await order(engine.serve, { fixedPort: 18080, envs: { PORT: "18080" } });
      await until(() => told.stages.length === 1);
      const port = told.stages[0]?.[1] ?? 0;
      expect(port).not.toBe(18080);
      await until(async () => (await fetch(`http://127.0.0.1:${port}/`).then((response) => response.text()).catch(() => "")).includes("hello"));
    });

    test.each([
      ["exit 0", { code: 0, signal: undefined }],
      ["echo 'no such model' >&2; exit 3", { code: 3, signal: undefined, lastLine: "no such model" }],
      ["echo \"cannot log in with $WORD\"; exit 1", { code: 1, lastLine: "cannot log in with ***" }],
      ["kill -KILL $$", { code: undefined, signal: "SIGKILL" }],
    ])("says how %j ended, and leaves nothing of it", async (run, expected) => {
      const told = await order(run);
      await until(() => told.exits.length > 0);
      expect(told.exits).toEqual([expect.objectContaining({ during: "run", ...expected })]);
      expect(await docker.listContainers({ all: true, filters: { label: [`fairlead.replica=${id}`] } })).toEqual([]);
    });

    if (greedy !== undefined) {
      test("says that it was killed for want of memory", async () => {
        const told = await order(greedy, { limits: { memoryBytes: 32 * 1024 * 1024 } });
        await until(() => told.exits.length > 0);
        expect(told.exits[0]).toMatchObject({ outOfMemory: "certain" });
      });
    }

    test("does not run setup again where it went well, and tells of one that failed", async () => {
      const first = await order("echo ran; exit 4", { setup: "echo preparing" });
      await until(() => first.exits.length > 0);
      const second = await order("echo ran; exit 4", { setup: "echo preparing" });
      await until(() => second.exits.length > 0);
      expect(second.stages).toEqual([["run", first.stages[0]?.[1]]]);
      expect((await logOf()).match(/^(preparing|ran)$/gm)).toEqual(["preparing", "ran", "ran"]);
      // another digest is another container
      const failing = await order("true", { setup: "exit 9", digest: "d2" });
      await until(() => failing.exits.length > 0);
      expect(failing.exits[0]).toMatchObject({ during: "setup", code: 9 });
      expect(await docker.listContainers({ all: true, filters: { label: [`fairlead.replica=${id}`] } })).toEqual([]);
    });

    test("pulls an image that is not there, and says how far that is", async () => {
      const image = engine.pullable();
      const told = await order("echo from the registry", { image });
      await until(() => told.exits.length + told.refusals.length > 0, 50_000);
      expect(told.refusals).toEqual([]);
      expect(told.preparing[0]).toBe(`pulling ${image}`);
      const percents = told.preparing.flatMap((text) => (text.startsWith(`pulling ${image}: `) ? [Number(/(\d+) %$/.exec(text)?.[1])] : []));
      expect(percents.some((percent) => percent > 0 && percent < 100)).toBe(true);
      expect(percents).toEqual(percents.toSorted((a, b) => a - b));
      expect(told.preparing.at(-1)).toMatch(/^unpacking /);
      expect(await logOf()).toContain("from the registry");
    });

    test("refuses for good an image that its registry has not", async () => {
      const image = `${engine.pullable().replace(/[:@][^/]*$/, "")}-that-is-not:1`;
      const told = await order("true", { image });
      await until(() => told.refusals.length > 0);
      expect(told.refusals[0]).toMatchObject({ wait: false });
      expect(told.refusals[0]?.message).toContain(`its image ${image} cannot be pulled: `);
      expect(executor.status(id)).toBe("absent");
    });

    test("gives up a pull when it is stopped meanwhile", async () => {
      const told = await order("true", { image: engine.pullable() });
      await until(() => told.preparing.length > 1);
      await executor.stop(id, 5_000);
      expect(executor.status(id)).toBe("absent");
      expect([told.stages, told.refusals, told.exits]).toEqual([[], [], []]);
    });

    test("asks with SIGTERM, and kills what does not hear", async () => {
      const polite = await order(`trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done`);
      await until(async () => (await logOf()).includes("up"));
      await executor.stop(id, 10_000);
      expect(await logOf()).toContain("bye");
      expect(polite.exits).toEqual([]);

      await order(engine.stubborn);
      await until(async () => (await logOf()).includes("armed"));
      const began = performance.now();
      await executor.stop(id, 300);
      expect(performance.now() - began).toBeLessThan(8_000);
      expect(await docker.listContainers({ all: true, filters: { label: [`fairlead.replica=${id}`] } })).toEqual([]);
    });

    test("removes at its start what an agent that died has left, and nobody else's", async () => {
      const [mine, other] = [await open({ owner: "dead" }), await open({ owner: "alive" })];
      const lost = await order("sleep 300", {}, mine);
      const stays = await order("sleep 300", {}, other);
      await until(() => lost.stages.length + stays.stages.length === 2);
      await open({ owner: "dead" });
      const left = await docker.listContainers({ all: true, filters: { label: [`fairlead.replica=${id}`] } });
      expect(left.map(({ Labels }) => Labels["fairlead.owner"])).toEqual(["alive"]);
      await until(() => lost.exits.length > 0);
    });

    test("gives a container what its host allows and no more", async () => {
      const shared = join(state, "shared");
      await mkdir(join(shared, "models"), { recursive: true });
      const bounded = await open({ mounts: [shared], limits: { memoryBytes: 512 * 1024 * 1024, pids: 100 } });
      const told = await order("sleep 300", { mounts: { "/models": join(shared, "models") }, limits: { memoryBytes: 64 * 1024 * 1024, cpus: 0.5 } }, bounded);
      await until(() => told.stages.length + told.refusals.length > 0);
      expect(told.refusals).toEqual([]);
      const { HostConfig: host, Config: config } = await inspected();
      expect(host).toMatchObject({ CapDrop: ["ALL"], SecurityOpt: ["no-new-privileges"], PidsLimit: 100, Memory: 64 * 1024 * 1024, MemorySwap: 64 * 1024 * 1024, NanoCpus: 5e8, IpcMode: "private", OomScoreAdj: 500 });
      expect(Object.values(host.PortBindings as Record<string, unknown>)).toEqual([[{ HostIp: "127.0.0.1", HostPort: String(told.stages[0]?.[1]) }]]);
      expect(host.Mounts).toEqual([expect.objectContaining({ Source: join(shared, "models"), Target: "/models", ReadOnly: true })]);
      // nothing of the agent's own environment, nor of what marks processes of the host
      expect(config.Env.filter((entry) => /^(HOME|USER|FAIRLEAD_STATE|FAIRLEAD_SHARED_KEY)=/.test(entry))).toEqual([]);
    });

    test("gives no folder that the host's owner does not name, by whatever way", async () => {
      const shared = join(state, "shared");
      await mkdir(shared);
      await mkdir(join(state, "shared-not"));
      await symlink("/etc", join(shared, "way-out"));
      const bounded = await open({ mounts: [shared] });
      for (const source of ["/etc", "/", join(shared, "..", "shared-not"), join(shared, "way-out"), join(shared, "missing")]) {
        const told = await order("true", { mounts: { "/x": source } }, bounded);
        await until(() => told.refusals.length > 0);
        expect(told.refusals[0]).toMatchObject({ wait: false });
        expect(told.refusals[0]?.message).toMatch(/is none that this host gives to containers|is not on this host/);
      }
    });

    test("waits for GPUs that other replicas have", async () => {
      const places = keepPlaces({ listGpus: async () => [0, 1].map((index) => ({ vendor: "nvidia" as const, index, uuid: `GPU-${index}` })) });
      const withGpus = await open({ places });
      await places.take("other.local.1", { gpus: 1 });
      await expect(order("true", { gpus: 2 }, withGpus)).rejects.toMatchObject({ wait: true, message: "it needs 2 GPUs, and of this host's 2 one is free; other.local.1 has the others" });
      expect(withGpus.status(id)).toBe("absent");
    });
  });
}

export async function until(condition: () => boolean | Promise<boolean>, ms = 20_000): Promise<void> {
  for (const deadline = Date.now() + ms; !(await condition()); await new Promise((resolve) => setTimeout(resolve, 20))) {
    if (Date.now() > deadline) throw new Error(`not so within ${ms} ms: ${condition.toString()}`);
  }
}
