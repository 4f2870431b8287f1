import { request } from "undici";
import type { Load } from "../schema/protocol.ts";
import { openaiLoad } from "./engines/openai.ts";
import { vllmLoad } from "./engines/vllm.ts";
import type { Timers } from "./timers.ts";

/** The dialects in which engines tell their load, best known first; the first that finds something speaks for the engine. */
const dialects: ((metrics: string) => Load | undefined)[] = [vllmLoad, openaiLoad];

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
  close(): void;
}

/** An answer larger than this is no engine's metrics. */
const bytesMax = 4 * 1024 * 1024;

/** Reads the load of the ready replicas from their `/metrics`, one request at a time each. */
export function readLoads({ ready, timers, everyMs = 2_000, unknownEveryMs = 30_000 }: LoadOptions): Loads {
  const known = new Map<string, Load | undefined>();
  const waits = new Map<string, number>();
  const busy = new Set<string>();

  const read = async (id: string, port: number): Promise<void> => {
    busy.add(id);
    const load = await fetchLoad(port, everyMs);
    busy.delete(id);
    known.set(id, load);
    waits.set(id, load === undefined ? Math.floor(unknownEveryMs / everyMs) : 1);
  };
  const round = (): void => {
    const now = ready();
    const ids = new Set(now.map(({ id }) => id));
    for (const id of [...known.keys()].filter((one) => !ids.has(one))) {
      known.delete(id);
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
  return { of: (id) => known.get(id), close: () => cancel() };
}

async function fetchLoad(port: number, timeoutMs: number): Promise<Load | undefined> {
  try {
    const { statusCode, body } = await request(`http://127.0.0.1:${port}/metrics`, { signal: AbortSignal.timeout(timeoutMs) });
    if (statusCode !== 200) {
      await body.dump();
      return undefined;
    }
    let text = "";
    body.setEncoding("utf8");
    for await (const chunk of body) {
      text += String(chunk);
      if (text.length > bytesMax) return undefined;
    }
    for (const dialect of dialects) {
      const load = dialect(text);
      if (load !== undefined) return load;
    }
  } catch {
    // not reachable, too slow or cut off: the load is unknown
  }
  return undefined;
}
