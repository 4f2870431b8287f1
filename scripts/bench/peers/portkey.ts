import { join } from "node:path";
import { launch, listening } from "../children.ts";
import { endpoint } from "../upstream.ts";
import { which } from "../which.ts";
import { installOnce } from "./install-once.ts";
import { bearer, type Peer } from "./peer.ts";

const version = "1.15.2";
/** From node-server 1.14.2 on, which its range allows, every stream fails with "TypeError: immutable" (Portkey-AI/gateway#1389). */
const nodeServer = "1.14.1";

interface Runtime {
  /** npm packages that have it. */
  dependencies: Record<string, string>;
  /** The program, below the folder of the installation or anywhere. */
  program: (folder: string) => string;
}

function portkeyUnder(name: string, runtime: string, { dependencies, program }: Runtime): Peer {
  const folderIn = (cacheDir: string) => join(cacheDir, `portkey-${version}-node-server-${nodeServer}-${runtime}`);
  const packageJson = JSON.stringify({ private: true, dependencies: { "@portkey-ai/gateway": version, ...dependencies }, overrides: { "@hono/node-server": nodeServer } });
  return {
    name,
    async install(cacheDir) {
      const npm = which("npm");
      if (!npm) return { skipped: "npm is not installed" };
      const commands = [[npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]];
      return installOnce({ folder: folderIn(cacheDir), version: `${version} (${runtime})`, files: { "package.json": packageJson }, commands });
    },
    async start({ upstreamUrl, port, cpu, workDir, cacheDir }) {
      const folder = folderIn(cacheDir);
      const script = join(folder, "node_modules/@portkey-ai/gateway/build/start-server.js");
      const child = launch([program(folder), script, `--port=${port}`, "--headless"], { cpu, log: join(workDir, "log"), env: { NODE_ENV: "production" } });
      await listening(child, port, 20_000);
      const headers = { ...bearer, "x-portkey-provider": "openai", "x-portkey-custom-host": `${upstreamUrl}/v1` };
      return { url: endpoint(`http://127.0.0.1:${port}`), headers, pids: [child.pid], stop: () => child.end() };
    },
  };
}

/** Portkey's open gateway from npm, under the Node of this benchmark. Provider and upstream travel in headers; it has no key check of its own. */
export const portkey = portkeyUnder("portkey", `node-${process.versions.node}`, { dependencies: {}, program: () => process.execPath });

/** Of the Node that Portkey's own Docker image has (`FROM node:20-alpine` in its Dockerfile); the package of this platform, which needs no install script. */
const imageNode = "20.20.2";
const imageNodePackage = `node-${process.platform}-${process.arch}`;

/** The same as its makers ship it. */
export const portkeyImage = portkeyUnder("portkey-image", `node-${imageNode}`, {
  dependencies: { [imageNodePackage]: imageNode },
  program: (folder) => join(folder, "node_modules", imageNodePackage, "bin/node"),
});
