import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ping, pong } from "../../schema/protocol.ts";
import { workerdBinary } from "../local/workerd.ts";
import { launch, listening, type Child } from "./children.ts";
import { freePort } from "./port.ts";

/** An object that holds sockets and does nothing with what they say: what the platform itself costs. */
const script = `
export class Bare {
  constructor(ctx) {
    this.ctx = ctx;
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(${JSON.stringify(ping)}, ${JSON.stringify(pong)}));
  }
  async fetch() {
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server);
    return new Response(null, { status: 101, webSocket: client });
  }
  webSocketMessage() {}
}
export default { fetch: (request, env) => env.BARE.getByName("one").fetch(request) };
`;

const config = (port: number): string => `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "bare", worker = .bare), (name = "objects", disk = (path = "objects", writable = true))],
  sockets = [(name = "bare", address = "127.0.0.1:${port}", http = (), service = "bare")]
);
const bare :Workerd.Worker = (
  modules = [(name = "bare.js", esModule = embed "bare.js")],
  compatibilityDate = "2026-11-01",
  durableObjectNamespaces = [(className = "Bare", uniqueKey = "bare", enableSql = true)],
  durableObjectStorage = (localDisk = "objects"),
  bindings = [(name = "BARE", durableObjectNamespace = "Bare")]
);
`;

export interface BareOptions {
  workDir: string;
  cpu: number | undefined;
  port: number;
  inspectorPort?: number | undefined;
}

/** Starts a Worker with one class of objects, `Bare`, in workerd. */
export async function startObjects(code: string, { workDir, cpu, port, inspectorPort }: BareOptions): Promise<{ child: Child; inspectorUrl: string | undefined }> {
  mkdirSync(join(workDir, "objects"), { recursive: true });
  writeFileSync(join(workDir, "bare.js"), code);
  writeFileSync(join(workDir, "bare.capnp"), config(port));
  const inspector = inspectorPort === undefined ? [] : ["--inspector-addr", `127.0.0.1:${inspectorPort}`];
  const child = launch([workerdBinary(), "serve", ...inspector, "bare.capnp"], { cpu, cwd: workDir, log: join(workDir, "log") });
  await listening(child, port, 15_000);
  return { child, inspectorUrl: inspectorPort === undefined ? undefined : `ws://127.0.0.1:${inspectorPort}/bare` };
}

/** Starts it; answers with where links are opened. */
export async function startBare(options: Pick<BareOptions, "workDir" | "cpu">): Promise<{ child: Child; url: string }> {
  const port = await freePort();
  const { child } = await startObjects(script, { ...options, port });
  return { child, url: `ws://127.0.0.1:${port}/` };
}
