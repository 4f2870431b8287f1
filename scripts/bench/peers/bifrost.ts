import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { launch, listening } from "../children.ts";
import { which } from "../which.ts";
import { installOnce } from "./install-once.ts";
import { bearer, type Peer } from "./peer.ts";

const version = "latest";
const folderIn = (cacheDir: string) => join(cacheDir, `bifrost-${version}`);

/** Configuration by file only, without the stores for configuration and logs that would write to SQLite on each request. */
function config(upstreamUrl: string): string {
  return JSON.stringify({
    client: { enable_logging: false, drop_excess_requests: false, initial_pool_size: 512 },
    providers: {
      openai: {
        keys: [{ name: "bench", value: "sk-bench", models: ["*"], weight: 1 }],
        network_config: { base_url: upstreamUrl, max_retries: 0, default_request_timeout_in_seconds: 30 },
        concurrency_and_buffer_size: { concurrency: 512, buffer_size: 1024 },
      },
    },
    config_store: { enabled: false },
    logs_store: { enabled: false },
  });
}

/** Bifrost's HTTP transport, built from the Go module proxy. Its path under /openai takes the model's name without a prefix. */
export const bifrost: Peer = {
  name: "bifrost",
  async install(cacheDir) {
    const go = which("go");
    if (!go) return { skipped: "go is not installed" };
    const folder = folderIn(cacheDir);
    return installOnce({
      folder,
      version,
      commands: [[go, "install", "-modcacherw", `github.com/maximhq/bifrost/transports/bifrost-http@${version}`]],
      env: { GOBIN: folder, GOPATH: join(folder, "go"), GOTOOLCHAIN: "auto" },
    });
  },
  async start({ upstreamUrl, port, cpu, workDir, cacheDir }) {
    writeFileSync(join(workDir, "config.json"), config(upstreamUrl));
    const command = [join(folderIn(cacheDir), "bifrost-http"), "-app-dir", workDir, "-host", "127.0.0.1", "-port", String(port), "-log-level", "error"];
    const child = launch(command, { cpu, cwd: workDir, log: join(workDir, "log") });
    await listening(child, port, 30_000);
    return { url: `http://127.0.0.1:${port}/openai/v1/chat/completions`, headers: bearer, pids: [child.pid], stop: () => child.end() };
  },
};
