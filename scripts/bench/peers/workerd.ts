import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { launch, listening, output } from "../children.ts";
import { endpoint } from "../upstream.ts";
import { workerdBinary } from "../../local/workerd.ts";
import { bearer, type Peer } from "./peer.ts";

const module = `export default {
  fetch(request, env) {
    return fetch(env.UPSTREAM, request);
  },
};
`;

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

/** A Worker that only hands the request on: the floor of the platform, which no router on it can go below. */
export const workerd: Peer = {
  name: "workerd",
  async install() {
    const { code, stdout, stderr } = await output([workerdBinary(), "--version"], { timeoutMs: 10_000 });
    return code === 0 ? { version: stdout.trim().replace(/^workerd /, "") } : { skipped: `workerd does not run here: ${stderr.trim()}` };
  },
  async start({ upstreamUrl, port, inspectorPort, cpu, workDir }) {
    const file = join(workDir, "config.capnp");
    writeFileSync(file, workerdConfig({ port, upstream: endpoint(upstreamUrl) }));
    writeFileSync(join(workDir, "main.mjs"), module);
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
