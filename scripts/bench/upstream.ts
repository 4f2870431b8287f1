import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { launch, listening, type Child } from "./children.ts";
import { answerBody, path } from "./exchange.ts";
import { nginxConfig } from "./nginx.ts";
import { freePort } from "./port.ts";
import { which } from "./which.ts";

/** The two upstreams. A peer is started once for each, so that the whole answers come from the cheapest server there is. */
export interface Upstreams {
  /** Origin that gives the whole answer: nginx where present, else the Node server. */
  answers: string;
  answersBy: "nginx" | "Node";
  /** Origin that gives streams (and whole answers): the Node server. */
  streams: string;
  pids: number[];
  /** Time between the chunks of streams that start from now on, in ms; 0 sends them as fast as the event loop turns. */
  pace(gapMs: number): Promise<void>;
  /** Streams that are open now. */
  open(): Promise<number>;
}

async function startNginx(nginx: string, { workDir, cpu }: { workDir: string; cpu?: number | undefined }): Promise<{ child: Child; origin: string }> {
  const port = await freePort();
  const folder = join(workDir, "upstream-nginx");
  mkdirSync(folder, { recursive: true });
  const conf = nginxConfig({ folder, http: `server { listen 127.0.0.1:${port} reuseport; location / { default_type application/json; return 200 '${answerBody}'; } }` });
  writeFileSync(join(folder, "nginx.conf"), conf);
  const child = launch([nginx, "-c", join(folder, "nginx.conf"), "-e", join(folder, "error.log")], { cpu, log: join(folder, "log") });
  await listening(child, port, 5_000);
  return { child, origin: `http://127.0.0.1:${port}` };
}

async function startNode({ workDir, cpu }: { workDir: string; cpu?: number | undefined }): Promise<{ child: Child; origin: string }> {
  const port = await freePort();
  const child = launch([process.execPath, fileURLToPath(new URL("./upstream-server.ts", import.meta.url)), String(port)], { cpu, log: join(workDir, "upstream-node.log") });
  await listening(child, port, 10_000);
  return { child, origin: `http://127.0.0.1:${port}` };
}

export async function startUpstreams(options: { workDir: string; cpu?: number | undefined }): Promise<Upstreams> {
  const node = await startNode(options);
  const nginx = which("nginx");
  const answers = nginx ? await startNginx(nginx, options) : node;
  return {
    answers: answers.origin,
    answersBy: nginx ? "nginx" : "Node",
    streams: node.origin,
    pids: [...new Set([node.child.pid, answers.child.pid])],
    async pace(gapMs) {
      const response = await fetch(`${node.origin}/pace?ms=${gapMs}`, { method: "POST" });
      await response.arrayBuffer();
    },
    open: async () => Number(await (await fetch(`${node.origin}/open`)).text()),
  };
}

/** The chat completions endpoint of an origin. */
export const endpoint = (origin: string) => `${origin}${path}`;
