import { parseArgs } from "node:util";
import { durationMs } from "./duration.ts";
import { expositions, type Exposition } from "./exposition.ts";
import { parseFailure } from "./failures.ts";
import type { Failure } from "./failures.ts";

/** How an engine behaves. Times in milliseconds. */
export interface Settings {
  model: string;
  /** Further names of the same model; answers are the same under each. */
  servedNames: string[];
  host: string;
  port: number;
  seed: number;
  ttftMs: number;
  itlMs: number;
  prefillPerTokenMs: number;
  kvBlocks: number;
  blockSize: number;
  slots: number;
  startDelayMs: number;
  /** Prompt and answer together, in tokens. */
  contextTokensMax: number;
  failure: Failure;
  reasoning: boolean;
  devMode: boolean;
  promptTokensDetails: boolean;
  apiKey: string | undefined;
  maxLoras: number;
  metricsAs: Exposition;
  ignoreSigterm: boolean;
  shutdownTimeoutMs: number;
}

export const HELP = `Usage: node test/engine/main.ts --model NAME [options]

An engine simulator that speaks vLLM's HTTP API. Equal --model and --seed give equal answers.

  --model NAME              the model it serves
  --served-model-name NAME  a further name for it; may be repeated
  --port N                  0 takes a free port (default: PORT, else 8000)
  --host ADDRESS            (default 127.0.0.1)
  --seed N                  another seed, other answers (default 0)
  --ttft DURATION           time to the first token (default 40ms)
  --itl DURATION            time between tokens (default 8ms)
  --prefill-per-token D     added to the first token, per prompt token not cached (default 0ms)
  --kv-blocks N             KV cache size in blocks (default 8192)
  --block-size N            tokens per block (default 16)
  --slots N                 sequences that run at once (default 16)
  --max-model-len N         prompt and answer together, in tokens (default 32768)
  --start-delay DURATION    before it listens (default 0s)
  --fail SPEC               failures for every inference request, see below
  --reasoning               think before each chat answer
  --dev-mode                /sleep, /wake_up, /is_sleeping, /reset_prefix_cache, /collective_rpc
  --enable-prompt-tokens-details  cached_tokens in usage
  --max-loras N             adapters loaded at once (default 4)
  --metrics-as NAME         whose names /metrics has, and whom /v1/models names: ${expositions.join(", ")}
  --api-key KEY             /v1 needs this bearer key
  --shutdown-timeout D      after SIGTERM, time for requests in flight (default 0s: they are cut)
  --ignore-sigterm          only SIGKILL ends it
  --help

SPEC is a list with commas of: status=N[:retry-after=S], die@K, die[=TEXT] (for bodies with TEXT, default <<die>>), rst@K, eof@K,
stall@K, garbage@K, error@K (K: output tokens delivered before), slow=DURATION, split, error-body, hang, nodone, short-length,
long-length. One request: header x-sim-fail. The next N: POST /_sim/fail {"spec":SPEC,"count":N,"path":"/health"?}; DELETE forgets.
GET /_sim/stats shows what came; ?until=aborted:1,inFlight:0[&timeout=10s] waits for it.
`;

/** The settings of an engine from what differs from the defaults. */
export function settings(given: Partial<Settings> & { model: string }): Settings {
  return {
    servedNames: [],
    host: "127.0.0.1",
    port: 0,
    seed: 0,
    ttftMs: 40,
    itlMs: 8,
    prefillPerTokenMs: 0,
    kvBlocks: 8192,
    blockSize: 16,
    slots: 16,
    startDelayMs: 0,
    contextTokensMax: 32_768,
    failure: {},
    reasoning: false,
    devMode: false,
    promptTokensDetails: false,
    apiKey: undefined,
    maxLoras: 4,
    metricsAs: "vllm",
    ignoreSigterm: false,
    shutdownTimeoutMs: 0,
    ...given,
  };
}

function count(text: string | undefined, name: string, fallback: number, min: number): number {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (text.trim() === "" || !Number.isInteger(value) || value < min) throw new Error(`Cannot read --${name} "${text}": give a whole number from ${min}`);
  return value;
}

function exposition(text: string | undefined, fallback: Exposition): Exposition {
  const found = text === undefined ? fallback : expositions.find((one) => one === text);
  if (found === undefined) throw new Error(`Cannot read --metrics-as "${text}": give one of ${expositions.join(", ")}`);
  return found;
}

/** Reads the command line; `undefined` when it asks for help. Throws with a line for the user. */
export function readSettings(argv: readonly string[], env: Record<string, string | undefined>): Settings | undefined {
  const text = { type: "string" } as const;
  const flag = { type: "boolean" } as const;
  const { values } = parseArgs({
    args: [...argv],
    options: {
      model: text,
      "served-model-name": { type: "string", multiple: true },
      port: text,
      host: text,
      seed: text,
      ttft: text,
      itl: text,
      "prefill-per-token": text,
      "kv-blocks": text,
      "block-size": text,
      slots: text,
      "start-delay": text,
      "max-model-len": text,
      fail: text,
      reasoning: flag,
      "dev-mode": flag,
      "enable-prompt-tokens-details": flag,
      "max-loras": text,
      "metrics-as": text,
      "api-key": text,
      "shutdown-timeout": text,
      "ignore-sigterm": flag,
      help: flag,
    },
  });
  if (values.help === true) return undefined;
  if (values.model === undefined) throw new Error("Cannot start: --model is missing");
  const base = settings({ model: values.model });
  const duration = (given: string | undefined, fallback: number): number => (given === undefined ? fallback : durationMs(given));
  return {
    ...base,
    servedNames: values["served-model-name"] ?? [],
    host: values.host ?? base.host,
    port: count(values.port ?? env.PORT, "port", 8000, 0),
    seed: count(values.seed, "seed", base.seed, 0),
    ttftMs: duration(values.ttft, base.ttftMs),
    itlMs: duration(values.itl, base.itlMs),
    prefillPerTokenMs: duration(values["prefill-per-token"], base.prefillPerTokenMs),
    kvBlocks: count(values["kv-blocks"], "kv-blocks", base.kvBlocks, 1),
    blockSize: count(values["block-size"], "block-size", base.blockSize, 1),
    slots: count(values.slots, "slots", base.slots, 1),
    startDelayMs: duration(values["start-delay"], base.startDelayMs),
    contextTokensMax: count(values["max-model-len"], "max-model-len", base.contextTokensMax, 1),
    failure: parseFailure(values.fail ?? ""),
    reasoning: values.reasoning === true,
    devMode: values["dev-mode"] === true,
    promptTokensDetails: values["enable-prompt-tokens-details"] === true,
    apiKey: values["api-key"],
    metricsAs: exposition(values["metrics-as"], base.metricsAs),
    maxLoras: count(values["max-loras"], "max-loras", base.maxLoras, 1),
    ignoreSigterm: values["ignore-sigterm"] === true,
    shutdownTimeoutMs: duration(values["shutdown-timeout"], base.shutdownTimeoutMs),
  };
}
