import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Task } from "../../schema/task.ts";
import { StartError, type Executor, type Exit } from "../executor.ts";
import type { Gpu } from "../gpu.ts";
import { keepPlaces, type Places } from "./places.ts";
import { replicaEnvironment } from "./environment.ts";
import { exitOf } from "./exit.ts";
import { processExecutor } from "./process.ts";
import { findMarked, signal } from "./strays.ts";

let state: string;
let executor: Executor;
const parents: ChildProcess[] = [];

beforeEach(async () => {
  state = await mkdtemp(join(tmpdir(), "fairlead-process-"));
});

afterEach(async () => {
  for (const parent of parents.splice(0)) parent.kill("SIGKILL");
  for (const pid of await findMarked({ state })) signal(pid, "SIGKILL");
  await until(async () => (await findMarked({ state })).length === 0);
  await rm(state, { recursive: true, force: true });
});

async function until(condition: () => boolean | Promise<boolean>, ms = 30_000): Promise<void> {
  for (const deadline = Date.now() + ms; !(await condition()); await new Promise((resolve) => setTimeout(resolve, 20))) {
    if (Date.now() > deadline) throw new Error(`not so within ${ms} ms: ${condition.toString()}`);
  }
}

const task = (run: string, more: Partial<Task> = {}): Task => ({
  service: "chat", version: 1, digest: "d", run, envs: {}, drainMs: 1000, gpus: 2,
  probe: { path: "/", initialDelayMs: 1, timeoutMs: 1, intervalMs: 1, failureThresholdMs: 1, headers: {} }, ...more,
});

const id = "chat.local.1";

/** What a process never tells. */
const untold = { onPreparing() {}, onRefused() {} };
const gpus: Gpu[] = [0, 1, 2, 3].map((index) => ({ vendor: "nvidia", index, uuid: `GPU-${index}` }));
const places = (): Places => keepPlaces({ listGpus: async () => gpus });

/** Starts a replica and collects what is heard of it. */
async function start(run: string, more: Partial<Task> = {}, name = id) {
  executor = await processExecutor({ state, environment: process.env, openSecrets: async () => ({ SECRET_WORD: "hunter2-secret" }), places: places() });
  const stages: [string, number][] = [];
  const exits: Exit[] = [];
  await executor.start({ id: name, number: 1, task: task(run, more), ...untold, onStage: (stage, port) => stages.push([stage, port]), onExit: (exit) => exits.push(exit) });
  return { stages, exits, exit: async () => (await until(() => exits.length > 0), exits[0]) };
}

const log = (): Promise<string> => executor.logs.tail(id, 1000);
const alive = (): Promise<number[]> => findMarked({ state });
/** A pid that the script wrote into its log as `NAME=pid`. */
const pidOf = async (name: string): Promise<number> => {
  await until(async () => new RegExp(`^${name}=\\d+$`, "m").test(await log()));
  return Number(new RegExp(`^${name}=(\\d+)$`, "m").exec(await log())?.[1]);
};
const gone = (pid: number): Promise<void> => until(async () => (await readFile(`/proc/${pid}/stat`, "latin1").catch(() => ") Z")).includes(") Z"));

describe("processExecutor()", () => {
  test.each([
    ["exit 0", { during: "run", code: 0, signal: undefined }],
    ["echo 'no such model' >&2; exit 3", { during: "run", code: 3, signal: undefined, lastLine: "no such model" }],
    ["kill -KILL $$", { during: "run", code: undefined, signal: "SIGKILL" }],
    ["sh -c 'kill -SEGV $$'", { during: "run", code: undefined, signal: "SIGSEGV" }],
  ])("says how %j ended", async (run, expected) => {
    expect(await (await start(run)).exit()).toMatchObject(expected);
  });

  test("runs setup once, before run; a failing setup is told as such", async () => {
    const first = await start("echo running; exit 1", { setup: "echo preparing" });
    await first.exit();
    expect(first.stages.map(([stage]) => stage)).toEqual(["setup", "run"]);
    const exits: Exit[] = [];
    const stages: string[] = [];
    await executor.start({ id, number: 1, task: task("true", { setup: "echo preparing" }), ...untold, onStage: (stage) => stages.push(stage), onExit: (exit) => exits.push(exit) });
    await until(() => exits.length > 0);
    expect(stages).toEqual(["run"]);
    expect(await (await start("true", { setup: "exit 9" }, "chat.local.2")).exit()).toMatchObject({ during: "setup", code: 9 });
  });

  test("gives the scripts their names and no secret of the agent", async () => {
    const run = await start('echo "$PORT $FAIRLEAD_PORT $HOST $FAIRLEAD_REPLICA $FAIRLEAD_SERVICE $SKYPILOT_SERVICE_NAME $SKYPILOT_SERVE_REPLICA_ID $SKYPILOT_NUM_GPUS_PER_NODE $SKYPILOT_NODE_RANK $GREETING $SECRET_WORD"; pwd', { envs: { GREETING: "hello" } });
    await run.exit();
    const port = run.stages[0]?.[1];
    expect(await log()).toContain(`${port} ${port} 127.0.0.1 ${id} chat chat 1 2 0 hello hunter2-secret\n${state}/replicas/${id}\n`);
    const own = { PATH: "/bin", HOME: "/root", OPENAI_API_KEY: "a", FAIRLEAD_X: "b", AWS_SECRET_ACCESS_KEY: "c", HF_TOKEN: "d", TOKENIZERS_PARALLELISM: "1", MONKEY: "2", NODE_OPTIONS: "e" };
    expect(Object.keys(replicaEnvironment({ own, task: task(""), secrets: {}, id, number: 1, port: 1, state })).filter((name) => name in own)).toEqual(["PATH", "HOME", "TOKENIZERS_PARALLELISM", "MONKEY"]);
  });

  test("keeps secrets out of the line that goes into a reason", async () => {
    expect((await (await start('echo "cannot log in with $SECRET_WORD"; exit 1')).exit())?.lastLine).toBe("cannot log in with ***");
  });

  test("stops one that ends by itself when asked, and tells nobody of an exit", async () => {
    const { exits } = await start("trap 'echo bye; exit 0' TERM; echo up=1; while :; do sleep 0.05; done");
    await until(async () => (await log()).includes("up=1"));
    await executor.stop(id, 5_000);
    expect(await log()).toContain("bye");
    expect(exits).toEqual([]);
    expect(await alive()).toEqual([]);
    expect(executor.status(id)).toBe("absent");
  });

  test("kills one that ignores SIGTERM when its time is over", async () => {
    await start("trap '' TERM; echo self=$$; while :; do sleep 0.05; done");
    const pid = await pidOf("self");
    const began = Date.now();
    await executor.stop(id, 300);
    expect(Date.now() - began).toBeGreaterThanOrEqual(300);
    expect(Date.now() - began).toBeLessThan(3_000);
    await gone(pid);
  });

  test("ends the rest of the group when the leader is killed", async () => {
    const run = await start("sleep 300 & echo child=$!; echo leader=$PPID; wait");
    const [child, leader] = [await pidOf("child"), await pidOf("leader")];
    process.kill(leader, "SIGKILL");
    expect(await run.exit()).toMatchObject({ code: undefined, signal: "SIGKILL" });
    await gone(child);
    expect(await alive()).toEqual([]);
  });

  test("finds and ends what has left the group", async () => {
    await start("setsid sh -c 'trap \"\" TERM; echo stray=$$; while :; do sleep 0.05; done' & sleep 300");
    const stray = await pidOf("stray");
    await executor.stop(id, 300);
    await gone(stray);
  });

  test("ends at its start what a killed agent left behind", async () => {
    const stray = spawn("sleep", ["300"], { detached: true, stdio: "ignore", env: { FAIRLEAD_REPLICA: "chat.local.9", FAIRLEAD_STATE: state } });
    const other = spawn("sleep", ["300"], { detached: true, stdio: "ignore", env: { FAIRLEAD_REPLICA: "chat.local.9", FAIRLEAD_STATE: "/another" } });
    parents.push(stray, other);
    await until(async () => (await alive()).length === 1);
    await processExecutor({ state, environment: process.env, openSecrets: async () => ({}) });
    await until(() => stray.signalCode === "SIGKILL");
    expect(other.signalCode).toBeNull();
  });

  // as vLLM's processes do, whose new names are written over their environment
  test("ends what a killed agent left behind where it no longer tells whose it is", async () => {
    const stray = spawn("sh", ["-c", "env -i sleep 300 & echo $!; wait"], { detached: true, stdio: ["ignore", "pipe", "ignore"], env: { PATH: process.env["PATH"], FAIRLEAD_REPLICA: "chat.local.9", FAIRLEAD_STATE: state } });
    parents.push(stray);
    const nameless = Number(String((await once(stray.stdout, "data"))[0]));
    await until(async () => !(await readFile(`/proc/${nameless}/environ`, "latin1")).includes("FAIRLEAD"));
    expect(await findMarked({ state, replica: "chat.local.9" })).toContain(nameless);
    expect(await findMarked({ state, replica: "chat.local.8" })).toEqual([]);
    await processExecutor({ state, environment: process.env, openSecrets: async () => ({}) });
    await gone(nameless);
  });

  test("leaves alone what is in a session that somebody else began, whoever else is in it", async () => {
    const shell = spawn("sh", ["-c", `FAIRLEAD_REPLICA=chat.local.9 FAIRLEAD_STATE=${state} sleep 300 & echo $!; sleep 301 & wait`], { detached: true, stdio: ["ignore", "pipe", "ignore"], env: { PATH: process.env["PATH"] } });
    parents.push(shell);
    const marked = Number(String((await once(shell.stdout, "data"))[0]));
    await until(async () => (await readFile(`/proc/${marked}/environ`, "latin1")).includes("FAIRLEAD"));
    expect(await findMarked({ state })).toEqual([marked]);
  });

  test("lets nothing outlive an agent that is killed, not even what ignores SIGTERM or has left the group", async () => {
    const program = `
      import { processExecutor } from ${JSON.stringify(new URL("process.ts", import.meta.url).href)};
      const executor = await processExecutor({ state: ${JSON.stringify(state)}, environment: process.env, openSecrets: async () => ({}) });
      await executor.start({ id: ${JSON.stringify(id)}, number: 1, onPreparing() {}, onRefused() {}, onStage() {}, onExit() {}, task: ${JSON.stringify(
        task("trap '' TERM; setsid sh -c 'trap \"\" TERM; echo stray=$$; while :; do sleep 0.05; done' & echo self=$$; while :; do sleep 0.05; done", { gpus: 0 }),
      )} });
      setInterval(() => {}, 1000);
    `;
    const parent = spawn(process.execPath, ["--input-type=module", "-e", program], { stdio: "inherit" });
    parents.push(parent);
    const read = async (name: string): Promise<number> => {
      const file = join(state, "logs", `${id}.log`);
      await until(async () => new RegExp(`^${name}=\\d+$`, "m").test(await readFile(file, "utf8").catch(() => "")));
      return Number(new RegExp(`^${name}=(\\d+)$`, "m").exec(await readFile(file, "utf8"))?.[1]);
    };
    const [self, stray] = [await read("self"), await read("stray")];
    parent.kill("SIGKILL");
    await gone(self);
    await gone(stray);
    await until(async () => (await alive()).length === 0);
  });

  test("shows each replica its own GPUs and those to no other, and gives them back at its end", async () => {
    const own = places();
    executor = await processExecutor({ state, environment: process.env, openSecrets: async () => ({}), places: own });
    const begin = (name: string, count: number, run = "echo \"sees=$CUDA_VISIBLE_DEVICES $CUDA_DEVICE_ORDER\"; sleep 300"): Promise<void> =>
      executor.start({ id: name, number: 1, task: task(run, { gpus: count }), ...untold, onStage() {}, onExit() {} });
    const seen = async (name: string): Promise<string> => {
      await until(async () => (await executor.logs.tail(name, 100)).includes("sees="));
      return /^sees=(.*)$/m.exec(await executor.logs.tail(name, 100))?.[1] ?? "";
    };
    await begin("a.local.1", 2);
    await begin("b.local.1", 1);
    await begin("c.local.1", 0);
    expect([await seen("a.local.1"), await seen("b.local.1"), await seen("c.local.1")]).toEqual(["0,1 PCI_BUS_ID", "2 PCI_BUS_ID", "-1 PCI_BUS_ID"]);
    await expect(begin("d.local.1", 2)).rejects.toMatchObject({ wait: true, message: "it needs 2 GPUs, and of this host's 4 one is free; a.local.1, b.local.1 have the others" });
    await executor.stop("a.local.1", 100);
    await begin("d.local.1", 3);
    expect(await seen("d.local.1")).toBe("0,1,3 PCI_BUS_ID");
    for (const name of ["b.local.1", "c.local.1", "d.local.1"]) await executor.stop(name, 100);
  });

  test("bounds a process's data where it may use so much memory only", async () => {
    executor = await processExecutor({ state, environment: process.env, openSecrets: async () => ({}), limits: { memoryBytes: 512 * 1024 * 1024 } });
    const exits: Exit[] = [];
    const hog = `${JSON.stringify(process.execPath)} -e 'const all = []; for (;;) all.push(Buffer.alloc(1 << 24, 1))'`;
    const run = `echo "data=$(ulimit -d) score=$(cat /proc/self/oom_score_adj)"; ${hog} 2>/dev/null || echo "hog ended"`;
    await executor.start({ id, number: 1, task: task(run, { gpus: 0, limits: { memoryBytes: 256 * 1024 * 1024 } }), ...untold, onStage() {}, onExit: (exit) => exits.push(exit) });
    await until(() => exits.length > 0);
    expect(await log()).toContain(`data=${256 * 1024} score=500\n`);
    expect(exits[0]).toMatchObject({ code: 0, lastLine: "hog ended" });
  });

  test("refuses a task with an image, and says what would run it", async () => {
    await expect(start("true", { image: "vllm/vllm-openai:v1" })).rejects.toMatchObject({ wait: false, message: expect.stringContaining("it needs the image vllm/vllm-openai:v1, and this host runs no containers") });
    expect(executor.refusal(task("true"))).toBeUndefined();
  });

  test("does not start on a port that is in use, and names it", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const port = (server.address() as { port: number }).port;
    await expect(start("true", { fixedPort: port })).rejects.toThrow(`port ${port} is in use by another program on this host`);
    await expect(start("true", { fixedPort: port })).rejects.toMatchObject({ wait: true } satisfies Partial<StartError>);
    await new Promise((resolve) => (server as Server).close(resolve));
    const run = await start("true", { fixedPort: port });
    expect(run.stages[0]?.[1]).toBe(port);
    await run.exit();
  });

  test("does not start without the service's workdir, and names it", async () => {
    await expect(start("true", { workdir: "/nowhere/at/all" })).rejects.toThrow("its workdir /nowhere/at/all is no folder on this host, and files are not copied to hosts");
    await (await start("pwd", { workdir: tmpdir() })).exit();
    expect(await log()).toContain(`\n${tmpdir()}\n`);
  });

  test("shows the last lines of a log and what comes after", async () => {
    await start("echo one; echo two; echo three; until [ -e go ]; do sleep 0.02; done; echo four; rm go");
    await until(async () => (await log()).includes("three"));
    expect(await executor.logs.tail(id, 2)).toBe("two\nthree\n");
    let seen = "";
    const stop = new AbortController();
    const reading = (async () => {
      for await (const chunk of executor.logs.follow(id, 1, () => executor.status(id) === "absent", stop.signal)) seen += Buffer.from(chunk).toString();
    })();
    await until(() => seen === "three\n");
    await executor.stop("nobody", 0);
    spawn("touch", [join(state, "replicas", id, "go")]);
    await reading;
    expect(seen).toMatch(/^three\nfour\n\[fairlead\] \S+ run exited with code 0\n$/);
  });
});

test("exitOf() reads 128+n as signal n", () => {
  expect(exitOf(137, null)).toEqual({ code: undefined, signal: "SIGKILL" });
  expect(exitOf(143, null)).toEqual({ code: undefined, signal: "SIGTERM" });
  expect(exitOf(128, null)).toEqual({ code: 128, signal: undefined });
  expect(exitOf(255, null)).toEqual({ code: 255, signal: undefined });
  expect(exitOf(null, "SIGKILL")).toEqual({ code: undefined, signal: "SIGKILL" });
});
