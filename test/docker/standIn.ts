import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { connect, createServer as createTcpServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";

/** What a container was created with, as far as it is acted on here; all of it is shown again by an inspection. */
interface Spec {
  Image: string;
  Entrypoint?: string[];
  Cmd?: string[];
  Env?: string[];
  Labels?: Record<string, string>;
  HostConfig?: { PortBindings?: Record<string, { HostIp: string; HostPort: string }[]> };
}

interface Container {
  id: string;
  spec: Spec;
  /** In place of a file system of its own. */
  folder: string;
  child: ChildProcess | undefined;
  exitCode: number;
  status: "created" | "running" | "exited";
  /** Everything that it wrote: when, and as a frame. */
  frames: { at: number; frame: Buffer }[];
  forwards: Server[];
  /** Called at every change of it. */
  listeners: Set<() => void>;
}

/** Speaks the Engine API on a socket and runs containers as processes of this machine: no walls, everything else as it is. */
export interface StandIn {
  socket: string;
  /** Pulls begun and not ended. */
  readonly pulling: number;
  /** How many containers there are. */
  readonly containers: number;
  /** Stops answering, as an engine that is updated does; what runs goes on. */
  goAway(): Promise<void>;
  comeBack(): Promise<void>;
  close(): Promise<void>;
}

export interface StandInOptions {
  /** Images that are there. */
  images: string[];
  /** Images that a registry has. */
  pullable: string[];
  /** Between two lines of a pull. */
  pullEveryMs?: number;
}

class Refusal extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export async function startStandIn({ images, pullable, pullEveryMs = 20 }: StandInOptions): Promise<StandIn> {
  const folder = await mkdtemp(join(tmpdir(), "fairlead-engine-"));
  const socket = join(folder, "engine.sock");
  const have = new Set(images);
  const containers = new Map<string, Container>();
  const sockets = new Set<Socket>();
  let pulling = 0;

  const find = (id: string): Container => {
    const found = containers.get(id);
    if (!found) throw new Refusal(404, `No such container: ${id}`);
    return found;
  };
  const change = (container: Container): void => {
    for (const listener of container.listeners) listener();
  };
  const changed = (container: Container, response: ServerResponse): Promise<void> =>
    new Promise((resolve) => {
      const done = (): void => {
        container.listeners.delete(done);
        resolve();
      };
      container.listeners.add(done);
      response.once("close", done);
    });

  async function create(body: Buffer): Promise<object> {
    const spec = JSON.parse(body.toString()) as Spec;
    if (!have.has(spec.Image)) throw new Refusal(404, `No such image: ${spec.Image}`);
    const id = randomBytes(32).toString("hex");
    containers.set(id, { id, spec, folder: await mkdtemp(join(folder, "container-")), child: undefined, exitCode: 0, status: "created", frames: [], forwards: [], listeners: new Set() });
    return { Id: id, Warnings: [] };
  }

  async function publish(container: Container): Promise<void> {
    for (const [inside, bindings] of Object.entries(container.spec.HostConfig?.PortBindings ?? {})) {
      for (const { HostIp, HostPort } of bindings) {
        const [to, from] = [Number.parseInt(inside, 10), Number(HostPort)];
        // a process of this machine listens where it is reached
        if (to === from) continue;
        const server = createTcpServer((near) => {
          const far = connect(to, "127.0.0.1");
          for (const [a, b] of [[near, far], [far, near]] as const) a.on("error", () => b.destroy()).on("close", () => b.destroy()).pipe(b);
        });
        const problem = await new Promise<Error | undefined>((resolve) => server.once("error", resolve).listen(from, HostIp, () => resolve(undefined)));
        if (problem) throw new Refusal(500, `driver failed programming external connectivity: Bind for ${HostIp}:${from} failed: port is already allocated`);
        container.forwards.push(server);
      }
    }
  }

  async function start(container: Container): Promise<void> {
    if (container.status === "running") return;
    await publish(container);
    const { spec } = container;
    const [program = "", ...args] = [...(spec.Entrypoint ?? []), ...(spec.Cmd ?? [])];
    const child = spawn(program, args, {
      cwd: container.folder,
      env: { PATH: process.env["PATH"], TMPDIR: container.folder, ...Object.fromEntries((spec.Env ?? []).map((entry) => [entry.slice(0, entry.indexOf("=")), entry.slice(entry.indexOf("=") + 1)])) },
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
    container.child = child;
    container.status = "running";
    [child.stdout, child.stderr].forEach((output, i) => {
      output?.on("data", (data: Buffer) => {
        const head = Buffer.alloc(8);
        head[0] = i + 1;
        head.writeUInt32BE(data.length, 4);
        container.frames.push({ at: Date.now() / 1000, frame: Buffer.concat([head, data]) });
        change(container);
      });
    });
    child.once("exit", (code, signal) => {
      // the first process of a container takes all others with it
      if (child.pid !== undefined) end(-child.pid);
      container.exitCode = code ?? 128 + (signal === "SIGKILL" ? 9 : 15);
    });
    child.once("close", () => {
      container.status = "exited";
      for (const server of container.forwards.splice(0)) server.close();
      change(container);
    });
    change(container);
  }

  async function remove(container: Container, force: boolean): Promise<void> {
    if (container.status === "running") {
      if (!force) throw new Refusal(409, `You cannot remove a running container ${container.id}. Stop the container before attempting removal or force remove`);
      container.child?.kill("SIGKILL");
      while (running(container)) await new Promise<void>((resolve) => container.listeners.add(resolve));
    }
    containers.delete(container.id);
    change(container);
    await rm(container.folder, { recursive: true, force: true });
  }

  async function logs(container: Container, query: URLSearchParams, response: ServerResponse): Promise<void> {
    response.writeHead(200, { "content-type": "application/vnd.docker.multiplexed-stream" });
    response.flushHeaders();
    const since = Number(query.get("since") ?? 0);
    for (let next = 0; !response.destroyed; ) {
      while (next < container.frames.length) {
        const frame = container.frames[next++];
        if (frame && frame.at >= since) response.write(frame.frame);
      }
      if (container.status !== "running" || query.get("follow") === null) break;
      await changed(container, response);
    }
    response.end();
  }

  async function pull(query: URLSearchParams, response: ServerResponse): Promise<void> {
    const image = `${query.get("fromImage")}${query.get("tag")?.includes(":") ? "@" : ":"}${query.get("tag")}`;
    if (!pullable.includes(image)) throw new Refusal(404, `manifest for ${image} not found: manifest unknown: manifest unknown`);
    pulling++;
    response.once("close", () => pulling--);
    response.writeHead(200, { "content-type": "application/json" });
    const total = 10_000;
    const layer = (id: string): object[] => [
      { status: "Pulling fs layer", progressDetail: {}, id },
      ...[1, 2, 3, 4].map((part) => ({ status: "Downloading", progressDetail: { current: (part * total) / 4, total }, progress: "[=>   ]", id })),
      { status: "Download complete", progressDetail: {}, id },
      { status: "Extracting", progressDetail: { current: total, total }, id },
      { status: "Pull complete", progressDetail: {}, id },
    ];
    for (const event of [{ status: `Pulling from ${query.get("fromImage")}`, id: query.get("tag") }, ...layer("aaaa"), ...layer("bbbb"), { status: `Status: Downloaded newer image for ${image}` }]) {
      if (response.destroyed) return;
      response.write(`${JSON.stringify(event)}\r\n`);
      await wait(pullEveryMs);
    }
    have.add(image);
    response.end();
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://engine");
    const path = url.pathname.replace(/^\/v[\d.]+(?=\/)/, "");
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const [, kind, name = "", action] = /^\/(containers|images)\/(.+?)(?:\/(\w+))?$/.exec(path) ?? [];
    const json = (status: number, value?: unknown): void => {
      response.writeHead(status, { "content-type": "application/json" }).end(value === undefined ? undefined : JSON.stringify(value));
    };
    switch (`${request.method} ${kind ?? path} ${action ?? (name === "json" || name === "create" ? name : "")}`.trim()) {
      case "GET /_ping": return void response.end("OK");
      case "GET images json":
        if (have.has(decodeURIComponent(name))) return json(200, { Id: "sha256:0" });
        throw new Refusal(404, `No such image: ${name}`);
      case "POST images create": return pull(url.searchParams, response);
      case "POST containers create": return json(201, await create(Buffer.concat(chunks)));
      case "GET containers json": {
        if (name === "json") {
          const wanted = (JSON.parse(url.searchParams.get("filters") ?? "{}") as { label?: string[] }).label ?? [];
          const found = [...containers.values()].filter(({ spec }) => wanted.every((label) => Object.entries(spec.Labels ?? {}).some(([key, value]) => label === `${key}=${value}`)));
          return json(200, found.map(({ id, spec, status }) => ({ Id: id, Image: spec.Image, Labels: spec.Labels, State: status })));
        }
        const { id, spec, status, exitCode, child } = find(name);
        return json(200, { Id: id, Config: spec, HostConfig: spec.HostConfig, State: { Status: status, Running: status === "running", ExitCode: exitCode, OOMKilled: false, Pid: status === "running" ? (child?.pid ?? 0) : 0 } });
      }
      case "POST containers start": return start(find(name)).then(() => json(204));
      case "POST containers kill": {
        const container = find(name);
        if (container.status !== "running") throw new Refusal(409, `Container ${name} is not running`);
        container.child?.kill((url.searchParams.get("signal") ?? "SIGKILL") as NodeJS.Signals);
        return json(204);
      }
      case "POST containers wait": {
        const container = find(name);
        // the head goes out at once, the body when it has stopped
        response.writeHead(200, { "content-type": "application/json" }).flushHeaders();
        while (container.status === "running" && !response.destroyed) await changed(container, response);
        return void response.end(JSON.stringify({ StatusCode: container.exitCode, Error: null }));
      }
      case "GET containers logs": return logs(find(name), url.searchParams, response);
      case "DELETE containers": return remove(find(name), url.searchParams.get("force") !== null).then(() => json(204));
      default: throw new Refusal(404, `page not found: ${request.method} ${path}`);
    }
  }

  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => {
      if (response.headersSent) response.destroy();
      else response.writeHead(error instanceof Refusal ? error.status : 500, { "content-type": "application/json" }).end(JSON.stringify({ message: error instanceof Error ? error.message : String(error) }));
    });
  });
  server.on("connection", (one) => {
    sockets.add(one);
    one.once("close", () => sockets.delete(one));
  });
  const comeBack = (): Promise<void> => new Promise((resolve) => void server.listen(socket, resolve));
  const goAway = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      for (const one of sockets) one.destroy();
    });
  await comeBack();

  return {
    socket,
    get pulling() {
      return pulling;
    },
    get containers() {
      return containers.size;
    },
    goAway,
    comeBack,
    async close() {
      for (const container of containers.values()) await remove(container, true);
      await goAway();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function running({ status }: Container): boolean {
  return status === "running";
}

function end(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // nobody is left
  }
}
