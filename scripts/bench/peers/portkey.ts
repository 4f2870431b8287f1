import { join } from "node:path";
import { launch, listening } from "../children.ts";
import { endpoint } from "../upstream.ts";
import { which } from "../which.ts";
import { installOnce } from "./install-once.ts";
import { bearer, type Peer } from "./peer.ts";

const version = "1.15.2";
/** From node-server 1.14.2 on, which its range allows, every stream fails with "TypeError: immutable" (Portkey-AI/gateway#1389). */
const nodeServer = "1.14.1";
const folderIn = (cacheDir: string) => join(cacheDir, `portkey-${version}-node-server-${nodeServer}`);

const packageJson = JSON.stringify({
  private: true,
  dependencies: { "@portkey-ai/gateway": version },
  overrides: { "@hono/node-server": nodeServer },
});

/** Portkey's open gateway from npm, under the Node of this benchmark. Provider and upstream travel in headers; it has no key check of its own. */
export const portkey: Peer = {
  name: "portkey",
  async install(cacheDir) {
    const npm = which("npm");
    if (!npm) return { skipped: "npm is not installed" };
    const commands = [[npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]];
    return installOnce({ folder: folderIn(cacheDir), version, files: { "package.json": packageJson }, commands });
  },
  async start({ upstreamUrl, port, cpu, workDir, cacheDir }) {
    const script = join(folderIn(cacheDir), "node_modules/@portkey-ai/gateway/build/start-server.js");
    const child = launch([process.execPath, script, `--port=${port}`, "--headless"], { cpu, log: join(workDir, "log"), env: { NODE_ENV: "production" } });
    await listening(child, port, 20_000);
    const headers = { ...bearer, "x-portkey-provider": "openai", "x-portkey-custom-host": `${upstreamUrl}/v1` };
    return { url: endpoint(`http://127.0.0.1:${port}`), headers, pids: [child.pid], stop: () => child.end() };
  },
};
