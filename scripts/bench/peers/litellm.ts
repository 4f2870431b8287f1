import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { launch, listening } from "../children.ts";
import { model } from "../exchange.ts";
import { endpoint } from "../upstream.ts";
import { which } from "../which.ts";
import { installOnce } from "./install-once.ts";
import type { Peer } from "./peer.ts";

const version = "1.106.2";
const folderIn = (cacheDir: string) => join(cacheDir, `litellm-${version}`);
const masterKey = "sk-bench-0123456789abcdef";

/** JSON is YAML. The key check is by the master key, so no database stands in the way. */
function config(upstreamUrl: string): string {
  return JSON.stringify({
    model_list: [{ model_name: model, litellm_params: { model: `openai/${model}`, api_base: `${upstreamUrl}/v1`, api_key: "none" } }],
    general_settings: { master_key: masterKey },
  });
}

/** LiteLLM's proxy from PyPI, one worker (it is given one core), with its settings for production. */
export const litellm: Peer = {
  name: "litellm",
  async install(cacheDir) {
    const python = which("python3");
    if (!python) return { skipped: "python3 is not installed" };
    const commands = [
      [python, "-m", "venv", "venv"],
      ["venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", `litellm[proxy]==${version}`],
    ];
    return installOnce({ folder: folderIn(cacheDir), version, commands });
  },
  async start({ upstreamUrl, port, cpu, workDir, cacheDir }) {
    const file = join(workDir, "config.yaml");
    writeFileSync(file, config(upstreamUrl));
    const binary = join(folderIn(cacheDir), "venv/bin/litellm");
    const command = [binary, "--config", file, "--host", "127.0.0.1", "--port", String(port), "--num_workers", "1", "--telemetry", "False"];
    // LITELLM_LOCAL_MODEL_COST_MAP: the price list of the package, not one fetched at each start.
    const env = { LITELLM_MODE: "PRODUCTION", LITELLM_LOG: "ERROR", LITELLM_LOCAL_MODEL_COST_MAP: "True" };
    const child = launch(command, { cpu, cwd: workDir, log: join(workDir, "log"), env });
    await listening(child, port, 120_000);
    return { url: endpoint(`http://127.0.0.1:${port}`), headers: { authorization: `Bearer ${masterKey}` }, pids: [child.pid], stop: () => child.end() };
  },
};
