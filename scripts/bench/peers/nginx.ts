import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { launch, listening, output } from "../children.ts";
import { nginxConfig } from "../nginx.ts";
import { endpoint } from "../upstream.ts";
import { which } from "../which.ts";
import { bearer, type Peer } from "./peer.ts";

/** A reverse proxy in C, with kept-alive connections to the upstream and without buffering, as one sets it for streams: the floor of any proxy. */
export const nginx: Peer = {
  name: "nginx",
  async install() {
    const binary = which("nginx");
    if (!binary) return { skipped: "nginx is not installed (Debian package nginx-light)" };
    const { stderr } = await output([binary, "-v"], { timeoutMs: 5_000 });
    return { version: /nginx\/(\S+)/.exec(stderr)?.[1] ?? "unknown" };
  },
  async start({ upstreamUrl, port, cpu, workDir }) {
    const http = `upstream bench { server ${new URL(upstreamUrl).host}; keepalive 512; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:${port};
    location / { proxy_pass http://bench; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }
  }`;
    const file = join(workDir, "nginx.conf");
    writeFileSync(file, nginxConfig({ folder: workDir, http }));
    const child = launch([which("nginx") ?? "nginx", "-c", file, "-e", join(workDir, "error.log")], { cpu, log: join(workDir, "log") });
    await listening(child, port, 5_000);
    return { url: endpoint(`http://127.0.0.1:${port}`), headers: bearer, pids: [child.pid], stop: () => child.end() };
  },
};
