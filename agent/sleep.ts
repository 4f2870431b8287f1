import type { Probe } from "../schema/task.ts";
import { ask, jsonOf, memberOf, type Asked } from "./ask.ts";
import { readEngine } from "./engine.ts";
import type { Dialect } from "./engines/dialect.ts";

/** `awake`: it refused, and goes on as it was; where that is not sure nothing may be sent to it. */
export type Slept = { problem?: undefined } | { problem: string; awake: boolean };
export type Woken = { problem?: string };

/** Weights cross the bus in 0.1–6 s (facts/engines.md §4); a start takes longer than this only where the GPU is not free. */
const movedMs = 60_000;
/** A question about the engine itself. */
const stateMs = 2_000;
/** What it was started with: the first time it looks at its whole system, which took vLLM 4 s on a busy CPU. */
const infoMs = 30_000;
/** One token of a warm engine, with its graphs captured: TTFT is 0.3 s (facts/engines.md §12), and the rest is for a slow host. */
const canaryMs = 30_000;

/** Tells the engine on a port to take its weights off the GPU and keep them in the host's memory. Nothing should be in flight. */
export async function putToSleep(port: number): Promise<Slept> {
  const { dialect } = await readEngine(port, undefined, stateMs);
  const sleep = dialect?.sleep;
  if (sleep === undefined) return { problem: `${dialect?.name ?? "its engine"} cannot sleep`, awake: true };
  const { method, path, members } = sleep.enabled;
  if (memberOf(jsonOf(await ask(port, method, path, { timeoutMs: infoMs })), members) === false) return { problem: `its ${path.split("?", 1)[0]} says that it was not started to sleep: it needs ${sleep.by}`, awake: true };
  const told = await ask(port, sleep.fall.method, sleep.fall.path, { timeoutMs: movedMs });
  if (!("status" in told)) return { problem: told.problem, awake: false };
  if (told.status === 404 || told.status === 405) return { problem: `${sleep.fall.path} answered ${told.status}: it needs ${sleep.by}`, awake: true };
  if (told.status !== 200) return { problem: `${sleep.fall.path} answered ${told.status}`, awake: false };
  const asleep = await isAsleep(port, sleep);
  if (asleep === undefined) return { problem: `${sleep.isAsleep.path} does not say whether it sleeps`, awake: false };
  return asleep ? {} : { problem: `it says that it is awake: it needs ${sleep.by}`, awake: true };
}

/**
 * Wakes the engine on a port and has it generate a token, for one that answers may still have lost its weights or its memory: by the
 * service's readiness probe where that is a request of its own, else by a completion.
 */
export async function wakeUp(port: number, probe: Probe): Promise<Woken> {
  const { dialect } = await readEngine(port, undefined, stateMs);
  const sleep = dialect?.sleep;
  if (sleep === undefined) return { problem: "what runs it is no longer known" };
  const told = await ask(port, sleep.wake.method, sleep.wake.path, { timeoutMs: movedMs });
  if (!("status" in told)) return told;
  if (told.status !== 200) return { problem: `${sleep.wake.path} answered ${told.status}` };
  if ((await isAsleep(port, sleep)) !== false) return { problem: `${sleep.isAsleep.path} says that it sleeps` };
  return canary(port, probe);
}

async function isAsleep(port: number, { isAsleep: { method, path, member } }: NonNullable<Dialect["sleep"]>): Promise<boolean | undefined> {
  const value = memberOf(jsonOf(await ask(port, method, path, { timeoutMs: stateMs })), [member]);
  return typeof value === "boolean" ? value : undefined;
}

async function canary(port: number, { path, postBody, headers }: Probe): Promise<Woken> {
  const asked = postBody === undefined ? await complete(port, headers) : await ask(port, "POST", path, { timeoutMs: canaryMs, headers, body: postBody });
  if (!("status" in asked)) return { problem: `its first answer failed: ${asked.problem}` };
  // a model that embeds refuses a completion, and a service with a key of its own a request without it: neither is the engine's fault
  return asked.status < 500 ? {} : { problem: `its first answer failed with ${asked.status}` };
}

async function complete(port: number, headers: Probe["headers"]): Promise<Asked> {
  const models = jsonOf(await ask(port, "GET", "/v1/models", { timeoutMs: stateMs, headers }));
  const list = typeof models === "object" && models !== null && "data" in models && Array.isArray(models.data) ? (models.data as { id?: unknown }[]) : [];
  return ask(port, "POST", "/v1/completions", { timeoutMs: canaryMs, headers, body: JSON.stringify({ model: list[0]?.id, prompt: "Hello", max_tokens: 1 }) });
}
