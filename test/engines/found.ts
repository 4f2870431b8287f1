import { join } from "node:path";
import type { TestProject } from "vitest/node";
import type { Method } from "../../schema/decision.ts";
import type { Engine } from "../../schema/protocol.ts";
import { Absent, goProgram, inPath, made, python, pythonOf, run } from "./machine.ts";

/** How an engine is started and what it is expected to be; where a real one is otherwise, `docs/engines.md` says so. */
export interface Trial {
  /** The service's `run`. */
  command: string;
  envs?: Record<string, string>;
  /** The name by which it knows its model. */
  model: string;
  /** By what the agent knows it; absent: it knows nothing of it. */
  engine?: Engine;
  tellsLoad: boolean;
  /** Its own API tells token ids of a streamed chat and takes them back as a prompt. */
  ids: boolean;
  /** It goes on with a last message of the assistant's. */
  prefill: boolean;
  /** How the router goes on when a replica of it dies. */
  resumes: Method;
}

export interface FoundEngine {
  name: string;
  version?: string;
  /** Why it is not tried. */
  absent?: string;
  trial?: Trial;
}

declare module "vitest" {
  interface ProvidedContext {
    engines: FoundEngine[];
  }
}

const root = join(import.meta.dirname, "../..");

/** Names of what may be installed; llama.cpp and the simulator of llm-d by default, for transformers bring gigabytes. */
const mayInstall = (name: string): boolean => (process.env["FAIRLEAD_ENGINES_INSTALL"] ?? "llama-cpp-python,llm-d-inference-sim").split(",").includes(name);

const serverPackages = ["llama-cpp-python[server]", "gguf", "numpy"];

async function llamaCppPython(): Promise<string> {
  return python("llama-cpp-python", serverPackages, "import llama_cpp.server.app, gguf, numpy", mayInstall("llama-cpp-python"));
}

function absent(reason: string): never {
  throw new Absent(reason);
}

/** Every engine that is looked for, and how it is found. @throws Absent where it is not */
const search: Record<string, () => Promise<{ version: string; trial: Trial }>> = {
  "test/engine": async () => ({
    version: "this tree",
    trial: { command: `exec node ${join(root, "test/engine/main.ts")} --model tiny --itl 30ms --port $PORT`, model: "tiny", engine: "vllm", tellsLoad: true, ids: true, prefill: true, resumes: "exact" },
  }),
  "llama-cpp-python": async () => {
    const by = await llamaCppPython();
    const model = await made("tiny.gguf", "tiny_gguf.py", by);
    return {
      version: (await run(by, ["-c", "import llama_cpp; print(llama_cpp.__version__)"])).trim(),
      trial: { command: `exec ${by} -m llama_cpp.server --model ${model} --model_alias tiny --n_ctx 4096 --n_threads 1 --host 127.0.0.1 --port $PORT`, model: "tiny", tellsLoad: false, ids: false, prefill: false, resumes: "regenerate" },
    };
  },
  "llama-server": async () => {
    const program = inPath("llama-server") ?? absent("llama-server is not in PATH");
    const model = await made("tiny.gguf", "tiny_gguf.py", await llamaCppPython());
    const version = await run("/bin/sh", ["-c", `"${program}" --version 2>&1 | grep -m1 version`]);
    return {
      version: version.trim(),
      trial: { command: `exec ${program} -m ${model} --alias tiny -c 8192 -np 2 -t 1 --metrics --host 127.0.0.1 --port $PORT`, model: "tiny", engine: "llamacpp", tellsLoad: true, ids: false, prefill: true, resumes: "text" },
    };
  },
  "llm-d-inference-sim": async () => {
    const program = await goProgram("llm-d-inference-sim", "github.com/llm-d/llm-d-inference-sim/cmd/llm-d-inference-sim@latest");
    return {
      version: (await run(inPath("go") ?? absent("go is not in PATH"), ["version", "-m", program])).match(/^\tmod\t\S+\t(\S+)/m)?.[1] ?? "unknown",
      // it repeats the question: the second answer is the first, and its metrics are vLLM's
      trial: { command: `exec ${program} --model tiny --mode echo --max-model-len 8192 --inter-token-latency 30ms --port $PORT`, model: "tiny", engine: "vllm", tellsLoad: true, ids: false, prefill: false, resumes: "regenerate" },
    };
  },
  "transformers serve": async () => {
    const by = await python("transformers", ["transformers[serving]", "torch"], "import torch, transformers, fastapi", mayInstall("transformers"));
    const model = await made("tiny-transformer", "tiny_transformer.py", by);
    return {
      version: (await run(by, ["-c", "import transformers; print(transformers.__version__)"])).trim(),
      trial: { command: `exec ${by.replace(/python$/, "transformers")} serve --host 127.0.0.1 --port $PORT --device cpu`, envs: { HF_HUB_OFFLINE: "1" }, model, tellsLoad: false, ids: false, prefill: false, resumes: "regenerate" },
    };
  },
  vLLM: async () => {
    const program = inPath("vllm") ?? absent("vllm is not in PATH");
    const model = await made("tiny-transformer", "tiny_transformer.py", pythonOf(program));
    return {
      version: (await run(program, ["--version"], { timeoutMs: 300_000 })).trim(),
      trial: { command: `exec ${program} serve ${model} --served-model-name tiny --enforce-eager --gpu-memory-utilization 0.2 --host 127.0.0.1 --port $PORT`, model: "tiny", engine: "vllm", tellsLoad: true, ids: true, prefill: true, resumes: "exact" },
    };
  },
  SGLang: async () => {
    const by = inPath("python3") ?? absent("python3 is not in PATH");
    const version = await run(by, ["-c", "import sglang; print(sglang.__version__)"]).catch(() => absent("python3 has no package sglang"));
    const model = await made("tiny-transformer", "tiny_transformer.py", by);
    return {
      version: version.trim(),
      trial: { command: `exec ${by} -m sglang.launch_server --model-path ${model} --served-model-name tiny --mem-fraction-static 0.2 --enable-metrics --host 127.0.0.1 --port $PORT`, model: "tiny", engine: "sglang", tellsLoad: true, ids: false, prefill: true, resumes: "text" },
    };
  },
  Ollama: async () => {
    const program = inPath("ollama") ?? absent("ollama is not in PATH");
    const model = await made("tiny.gguf", "tiny_gguf.py", await llamaCppPython());
    const create = `until ${program} list >/dev/null 2>&1; do sleep 0.2; done; echo "FROM ${model}" > Modelfile; ${program} create tiny -f Modelfile`;
    return {
      version: (await run(program, ["--version"])).trim(),
      trial: { command: `export OLLAMA_HOST=127.0.0.1:$PORT OLLAMA_MODELS=$PWD/models; (${create}) & exec ${program} serve`, model: "tiny", engine: "ollama", tellsLoad: false, ids: false, prefill: false, resumes: "regenerate" },
    };
  },
};

/** Before the tests: what is here, and what is not and why. Installs what it may. */
export default async function find(project: TestProject): Promise<void> {
  const only = process.env["FAIRLEAD_ENGINES_ONLY"]?.split(",");
  const engines: FoundEngine[] = [];
  for (const [name, look] of Object.entries(search)) {
    if (only !== undefined && !only.includes(name)) {
      engines.push({ name, absent: "FAIRLEAD_ENGINES_ONLY does not name it" });
      continue;
    }
    try {
      engines.push({ name, ...(await look()) });
    } catch (error) {
      if (!(error instanceof Absent)) throw error;
      engines.push({ name, absent: error.message });
    }
  }
  project.provide("engines", engines);
}
