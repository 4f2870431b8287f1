import { request } from "undici";
import type { Engine, Load } from "../schema/protocol.ts";
import { openaiLoad } from "./engines/openai.ts";
import { vllmLoad } from "./engines/vllm.ts";
import type { Timers } from "./timers.ts";

/** The dialects in which engines tell their load, best known first; the first that finds something speaks for the engine. */
const dialects: { engine: Engine | undefined; load: (metrics: string) => Load | undefined }[] = [{ engine: "vllm", load: vllmLoad }, { engine: undefined, load: openaiLoad }];

export interface LoadOptions {
  /** The replicas to be read now. */
  ready: () => { id: string; port: number }[];
  timers: Timers;
  /** Between two readings of a replica, in milliseconds. */
  everyMs?: number;
  /** The same for a replica that answered nothing we can read: its log should not fill with our requests. */
  unknownEveryMs?: number;
}

export interface Loads {
  /** The last reading, or undefined: not read, not readable, or no longer fresh. */
  of(id: string): Load | undefined;
  /** What was found to run it; it stays known when a reading fails. */
  engineOf(id: string): Engine | undefined;
  close(): void;
}

/** An answer larger than this is no engine's metrics. */
const bytesMax = 4 * 1024 * 1024;

/** Reads the load of the ready replicas from their `/metrics`, one request at a time each. */
export function readLoads({ ready, timers, everyMs = 2_000, unknownEveryMs = 30_000 }: LoadOptions): Loads {
  const known = new Map<string, Load | undefined>();
  const engines = new Map<string, Engine>();
  const waits = new Map<string, number>();
  const busy = new Set<string>();

  const read = async (id: string, port: number): Promise<void> => {
    busy.add(id);
    const { load, engine } = await fetchLoad(port, everyMs);
    busy.delete(id);
    known.set(id, load);
    if (engine !== undefined) engines.set(id, engine);
    waits.set(id, load === undefined ? Math.floor(unknownEveryMs / everyMs) : 1);
  };
  const round = (): void => {
    const now = ready();
    const ids = new Set(now.map(({ id }) => id));
    for (const id of [...known.keys()].filter((one) => !ids.has(one))) {
      known.delete(id);
      engines.delete(id);
      waits.delete(id);
    }
    for (const { id, port } of now) {
      const wait = (waits.get(id) ?? 1) - 1;
      waits.set(id, wait);
      if (wait <= 0 && !busy.has(id)) void read(id, port);
    }
    cancel = timers.after(everyMs, round);
  };
  let cancel = timers.after(everyMs, round);
  return { of: (id) => known.get(id), engineOf: (id) => engines.get(id), close: () => cancel() };
}

interface Reading {
  load: Load | undefined;
  engine: Engine | undefined;
}

const nothing: Reading = { load: undefined, engine: undefined };

async function fetchLoad(port: number, timeoutMs: number): Promise<Reading> {
  try {
    const { statusCode, body } = await request(`http://127.0.0.1:${port}/metrics`, { signal: AbortSignal.timeout(timeoutMs) });
    if (statusCode !== 200) {
      await body.dump();
      return nothing;
    }
    let text = "";
    body.setEncoding("utf8");
    for await (const chunk of body) {
      text += String(chunk);
      if (text.length > bytesMax) return nothing;
    }
    for (const { engine, load: read } of dialects) {
      const load = read(text);
      if (load !== undefined) return { load, engine };
    }
  } catch {
    // not reachable, too slow or cut off: the load is unknown
  }
  return nothing;
}
