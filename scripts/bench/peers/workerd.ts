import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { workerdBinary } from "../../local/workerd.ts";
import { launch, listening, output } from "../children.ts";
import { endpoint } from "../upstream.ts";
import { bearer, type Peer } from "./peer.ts";

/** Capnp text; "=." is one token there, so a reference to a constant needs the space: `worker = .main`. */
export function workerdConfig({ port, upstream }: { port: number; upstream: string }): string {
  return `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "main", worker = .main),
    (name = "internet", network = (allow = ["private", "public"])),
  ],
  sockets = [ (name = "http", address = "127.0.0.1:${port}", http = (), service = "main") ],
);

const main :Workerd.Worker = (
  modules = [ (name = "main.mjs", esModule = embed "main.mjs") ],
  compatibilityDate = "2026-11-01",
  bindings = [ (name = "UPSTREAM", text = "${upstream}") ],
  globalOutbound = "internet",
);
`;
}

function workerOf(name: string, script: string): Peer {
  return {
    name,
    async install() {
      const { code, stdout, stderr } = await output([workerdBinary(), "--version"], { timeoutMs: 10_000 });
      return code === 0 ? { version: stdout.trim().replace(/^workerd /, "") } : { skipped: `workerd does not run here: ${stderr.trim()}` };
    },
    async start({ upstreamUrl, port, inspectorPort, cpu, workDir }) {
      const file = join(workDir, "config.capnp");
      writeFileSync(file, workerdConfig({ port, upstream: endpoint(upstreamUrl) }));
      writeFileSync(join(workDir, "main.mjs"), script);
      const inspector = inspectorPort === undefined ? [] : ["--inspector-addr", `127.0.0.1:${inspectorPort}`];
      const child = launch([workerdBinary(), "serve", ...inspector, file], { cpu, log: join(workDir, "log") });
      await listening(child, port, 10_000);
      return {
        url: endpoint(`http://127.0.0.1:${port}`),
        headers: bearer,
        pids: [child.pid],
        inspectorUrl: inspectorPort === undefined ? undefined : `ws://127.0.0.1:${inspectorPort}/main`,
        stop: () => child.end(),
      };
    },
  };
}

/** A Worker that only hands the request on: the floor of the platform, which no router on it can go below. */
export const workerd = workerOf(
  "workerd",
  `export default {
  fetch(request, env) {
    return fetch(env.UPSTREAM, request);
  },
};
`,
);

/**
 * A Worker that reads what a router has to read, the request's body and the answer's, and does nothing with it: no router on the platform
 * that knows the model and the usage of a request can go below it.
 */
export const workerdReads = workerOf(
  "workerd-reads",
  `export default {
  async fetch(request, env) {
    if (request.method !== "POST") return new Response();
    const asked = await request.text();
    const { stream } = JSON.parse(asked);
    const response = await fetch(env.UPSTREAM, { method: "POST", headers: { "content-type": "application/json", authorization: request.headers.get("authorization") }, body: asked, redirect: "manual" });
    const headers = { "content-type": response.headers.get("content-type"), "x-request-id": crypto.randomUUID() };
    if (!stream) return new Response(await response.text(), { status: response.status, headers });
    const reader = response.body.getReader();
    const body = new ReadableStream({ async pull(controller) {
      const { done, value } = await reader.read();
      if (done) controller.close();
      else controller.enqueue(value);
    } });
    return new Response(body, { status: response.status, headers });
  },
};
`,
);
