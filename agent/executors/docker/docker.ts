import { totalmem } from "node:os";
import Docker, { type Container } from "dockerode";
import type { Task } from "../../../schema/task.ts";
import { StartError, type Executor, type StartOrder } from "../../executor.ts";
import { hostCapacity } from "../capacity.ts";
import type { DockerConfig } from "../config.ts";
import { replicaEnvironment } from "../environment.ts";
import { describeExit, exitOf } from "../exit.ts";
import { limitsOf, type Limits } from "../limits.ts";
import type { LogFiles } from "../logs.ts";
import type { Place, Places } from "../places.ts";
import { containerOf } from "./container.ts";
import { unframer } from "./frames.ts";
import { mountsOf } from "./mounts.ts";
import { pullImage } from "./pull.ts";
import { asStartError, statusOf } from "./refusals.ts";

export interface DockerExecutorOptions {
  /** The agent's state folder. */
  state: string;
  /** Tells this agent's containers from those of others on the same engine. */
  owner: string;
  config: DockerConfig;
  limits: Limits;
  logs: LogFiles;
  places: Places;
  /** Opens a task's sealed secrets. */
  openSecrets: (task: Task) => Promise<Record<string, string>>;
  onProblem: (problem: string) => void;
  /** Between two words on a pull: shorter, for tests. */
  progressEveryMs?: number;
}

/** A replica's container, from the order until nothing of it runs. */
interface Running {
  order: StartOrder;
  place: Place;
  stage: "preparing" | "setup" | "run";
  container?: Container;
  /** Ends a pull. */
  abort: AbortController;
  /** Settled when the order is carried out or given up; never rejected. */
  bringing: Promise<void>;
  /** Settled when the present stage's container has stopped and its log is read. */
  ended: Promise<unknown>;
  stopping: boolean;
}

/** A container that has stopped and in which `setup` was run: it can be started again in the same place. */
interface Kept {
  container: Container;
  digest: string;
  place: Place;
}

/** How a container stopped; without a code it is not there any more. */
interface End {
  code: number | undefined;
  outOfMemory: boolean;
}

const labels = { owner: "fairlead.owner", replica: "fairlead.replica", service: "fairlead.service", digest: "fairlead.digest" };
/** Between two looks for an engine that is away, such as one that is being updated. */
const awayMs = 1_000;
/** The rest of a log after its container has stopped. */
const logRestMs = 2_000;
/** After SIGKILL, before it is given up. */
const giveUpMs = 10_000;

/**
 * Runs replicas in containers of an engine on this machine, by its API: `setup` and `run` as in SkyPilot's images, one container
 * for both.
 */
export async function dockerExecutor({ state, owner, config, limits, logs, places, openSecrets, onProblem, progressEveryMs }: DockerExecutorOptions): Promise<Executor> {
  // the host's configuration says where the engine is: nothing in the environment does
  const docker = new Docker({ socketPath: config.socket, protocol: "http", host: undefined, port: undefined, ca: undefined, cert: undefined, key: undefined, timeout: undefined } as unknown as Docker.DockerOptions);
  const running = new Map<string, Running>();
  const kept = new Map<string, Kept>();
  let swept: Promise<void> | undefined;

  /** Removes what a dead agent left behind; done once, as soon as the engine answers. */
  function sweep(): Promise<void> {
    swept ??= removeAll().catch((error: unknown) => {
      swept = undefined;
      throw error;
    });
    return swept;
  }

  async function removeAll(): Promise<void> {
    const found = await docker.listContainers({ all: true, filters: { label: [`${labels.owner}=${owner}`] } });
    await Promise.all(found.map(({ Id }) => remove(docker.getContainer(Id))));
  }

  async function bring(entry: Running): Promise<void> {
    const { order, place } = entry;
    const { id, task } = order;
    try {
      await sweep();
      const again = kept.get(id);
      kept.delete(id);
      if (again?.digest === task.digest && again.place === place) {
        entry.container = again.container;
        await launch(entry, "run");
        return;
      }
      if (again) await remove(again.container);
      const { SKYPILOT_DOCKER_USERNAME: username, SKYPILOT_DOCKER_PASSWORD: password, SKYPILOT_DOCKER_SERVER: serveraddress, ...given } = { ...task.envs, ...(await secretsOf(order)) };
      const login = username === undefined || password === undefined ? undefined : { username, password, serveraddress: serveraddress ?? "" };
      const mounts = await mountsOf(task, config.mounts);
      const image = task.image ?? "";
      await pullImage({ docker, image, login, signal: entry.abort.signal, onProgress: order.onPreparing, everyMs: progressEveryMs });
      if (entry.stopping) return;
      const inside = config.network === "host" ? place.port : (task.fixedPort ?? place.port);
      entry.container = await docker.createContainer(
        containerOf({
          image, setup: task.setup, run: task.run, mounts, config, vendor: await places.vendor(), gpus: place.gpus, workdir: task.workdir,
          labels: { [labels.owner]: owner, [labels.replica]: id, [labels.service]: task.service, [labels.digest]: task.digest },
          environment: replicaEnvironment({ own: {}, task: { ...task, envs: {} }, secrets: given, id, number: order.number, port: inside, host: config.network === "host" ? "127.0.0.1" : "0.0.0.0" }),
          port: { inside, outside: place.port },
          limits: limitsOf(task, limits),
          memoryBytes: totalmem(),
        }),
      );
      if (entry.stopping) return;
      await launch(entry, task.setup === undefined ? "run" : "setup");
    } catch (error) {
      if (entry.stopping) return;
      if (entry.container) await remove(entry.container).catch(() => {});
      leave(id);
      order.onRefused(asStartError(error, config.socket));
    }
  }

  async function secretsOf({ id, task }: StartOrder): Promise<Record<string, string>> {
    const secrets = await openSecrets(task).catch(() => {
      // the cause is not told: its text could hold what it was about
      throw new StartError("its secrets could not be opened: they are sealed to another key than this host's");
    });
    logs.conceal(id, Object.values(secrets));
    return secrets;
  }

  async function launch(entry: Running, stage: "setup" | "run"): Promise<void> {
    const { order, place, container } = entry;
    if (!container) return;
    logs.note(order.id, `${stage} of version ${order.task.version} begins in ${order.task.image}, port ${place.port}`);
    const since = secondsNow();
    await container.start();
    entry.stage = stage;
    const pid = await container.inspect().then(({ State }) => State.Pid, () => 0);
    const ended = watch(order.id, container, since);
    entry.ended = ended;
    void ended.then((end) => goOn(entry, end));
    order.onStage(stage, place.port, pid > 0 ? pid : undefined);
  }

  /** Until a container has stopped; never rejected. */
  async function watch(id: string, container: Container, since: number): Promise<End> {
    for (let from = since; ; from = secondsNow()) {
      const lost = new AbortController();
      const reading = readLog(id, container, from);
      // an engine that goes away breaks the log's stream; of the wait for its answer the client says nothing then
      const broken = reading.then(() => pause(awayMs));
      void broken.then(() => lost.abort());
      await Promise.race([container.wait({ abortSignal: lost.signal }).catch(() => {}), broken]);
      const found = await container.inspect().then(({ State }) => State, (error: unknown) => (statusOf(error) === 404 ? "gone" : undefined));
      if (found === "gone") return { code: undefined, outOfMemory: false };
      if (found?.Running === false) {
        await within(reading, logRestMs);
        return { code: found.ExitCode, outOfMemory: found.OOMKilled };
      }
      // whatever the engine says, the container may be running
      await reading;
      await pause(awayMs);
    }
  }

  /** Until the stream ends, for whatever reason; never rejected. */
  async function readLog(id: string, container: Container, since: number): Promise<void> {
    try {
      const stream = await container.logs({ follow: true, stdout: true, stderr: true, since });
      const take = unframer();
      for await (const piece of stream) await logs.append(id, Buffer.concat(take(piece as Buffer)));
    } catch {
      // the engine is away, or was in the middle of something
    }
  }

  async function goOn(entry: Running, { code, outOfMemory }: End): Promise<void> {
    const { order, place, container, stage } = entry;
    const { id, task } = order;
    const exit = code === undefined ? { code, signal: undefined } : exitOf(code, null);
    const during = stage === "setup" ? "setup" : "run";
    logs.note(id, code === undefined ? "its container was removed by somebody else" : describeExit(during, exit));
    if (entry.stopping || !container) return;
    if (during === "setup" && code === 0) {
      entry.bringing = launch(entry, "run").catch((error: unknown) => {
        if (entry.stopping) return;
        leave(id);
        order.onExit({ during: "run", code: undefined, signal: undefined, lastLine: asStartError(error, config.socket).message });
      });
      return;
    }
    if (during === "run" && task.setup !== undefined) kept.set(id, { container, digest: task.digest, place });
    else await remove(container).catch((error: unknown) => onProblem(`the container of ${id} could not be removed: ${String(error)}`));
    leave(id);
    order.onExit({ ...exit, during, lastLine: code === undefined ? "its container was removed by somebody else" : await logs.lastLine(id), ...(outOfMemory ? { outOfMemory: "certain" as const } : {}) });
  }

  function leave(id: string): void {
    running.delete(id);
    places.give(id);
  }

  await sweep().catch((error: unknown) => onProblem(asStartError(error, config.socket).message));

  return {
    refusal: () => undefined,

    async start(order) {
      const { id, task } = order;
      if (running.has(id)) throw new StartError("it is running already");
      const before = kept.get(id);
      // a port of its own network is nobody else's; on the host's it is
      const wish = { gpus: task.gpus, fixedPort: config.network === "host" ? task.fixedPort : undefined };
      const place = (before?.digest === task.digest ? await places.takeAgain(id, before.place) : undefined) ?? (await places.take(id, wish));
      const entry: Running = { order, place, stage: "preparing", abort: new AbortController(), bringing: Promise.resolve(), ended: Promise.resolve(), stopping: false };
      running.set(id, entry);
      entry.bringing = bring(entry);
    },

    async stop(id, graceMs) {
      const entry = running.get(id);
      if (!entry) return;
      entry.stopping = true;
      entry.abort.abort();
      await entry.bringing;
      const { container, order } = entry;
      if (container) {
        await signal(container, "SIGTERM");
        if (!(await within(entry.ended, graceMs))) await signal(container, "SIGKILL");
        if (!(await within(entry.ended, giveUpMs))) throw new Error("its container would not end");
        if (order.task.setup !== undefined && entry.stage === "run") kept.set(id, { container, digest: order.task.digest, place: entry.place });
        else await remove(container);
      }
      leave(id);
    },

    status(id) {
      const entry = running.get(id);
      return entry === undefined ? "absent" : entry.stopping ? "ending" : entry.stage;
    },

    logs,

    async killAll() {
      for (const entry of running.values()) {
        entry.stopping = true;
        entry.abort.abort();
      }
      await removeAll();
    },

    async forget(id) {
      logs.conceal(id, []);
      const left = kept.get(id)?.container ?? running.get(id)?.container;
      kept.delete(id);
      if (left) await remove(left);
      leave(id);
    },

    capacity: () => hostCapacity(state, places),
  };
}

/** Ends a container where it runs, and removes it with its volumes. */
async function remove(container: Container): Promise<void> {
  await container.remove({ force: true, v: true }).catch(unlessGone);
}

async function signal(container: Container, name: NodeJS.Signals): Promise<void> {
  await container.kill({ signal: name }).catch(unlessGone);
}

/** 404: it is not there. 409: it does not run, or is being removed already. */
function unlessGone(error: unknown): void {
  if (![404, 409].includes(statusOf(error) ?? 0)) throw error;
}

/** As the Engine API counts, parts of seconds included. */
function secondsNow(): number {
  return Date.now() / 1000;
}

/** Whether a promise was settled within a time. */
async function within(promise: Promise<unknown>, ms: number): Promise<boolean> {
  const { promise: late, resolve } = Promise.withResolvers<false>();
  const timer = setTimeout(() => resolve(false), ms);
  const settled = await Promise.race([promise.then(() => true), late]);
  clearTimeout(timer);
  return settled;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
