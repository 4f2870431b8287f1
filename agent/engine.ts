import type { Engine, Load } from "../schema/protocol.ts";
import { ask, jsonOf, memberOf, type Asked } from "./ask.ts";
import { readLoad, speaks, type Dialect, type Reading } from "./engines/dialect.ts";
import { dialectOf, dialectOfGreeting, dialectOfModels } from "./engines/dialects.ts";
import { parseMetrics } from "./engines/prometheus.ts";
import { plainText, type Log } from "./log.ts";
import type { Timers } from "./timers.ts";

/** A replica that is running, and which of its starts it is. */
export interface Runs {
  id: string;
  port: number;
  pid?: number | undefined;
}

export interface LoadOptions {
  /** The replicas to be read now. */
  ready: () => Runs[];
  timers: Timers;
  log: Log;
  /** It turned out what runs a replica. */
  onKnown?: () => void;
  /** Between two readings of a replica, in milliseconds. */
  everyMs?: number;
  /** The same for a replica that answered nothing we can read: its log should not fill with our requests. */
  unknownEveryMs?: number;
}

/** What an engine has told of itself. */
export interface Told {
  /** Absent: not read, not readable, or no longer fresh. */
  load?: Load;
  /** What was found to run it, and its version; they stay known when a reading fails. */
  engine?: Engine;
  engineVersion?: string;
  /** Why there is no load though the engine is known. */
  loadProblem?: string;
}

export interface Loads {
  of(id: string): Told;
  /** Reads at once what has just become ready: a request that comes now may want to know what its engine can. */
  look(): void;
  close(): void;
}

interface Known {
  runs: Runs;
  dialect?: Dialect | undefined;
  version?: string | undefined;
  reading: Reading;
  /** It has told its load at some time: when it does not, it will again. */
  telling: boolean;
  /** How often it did not answer before it was known: an engine that has just become ready may be busy. */
  silences: number;
  /** Rounds until it is read. */
  wait: number;
  busy: boolean;
}

/** What did not answer so often is no engine. */
const silencesMax = 5;
/** A version is a word or a commit; what is longer is none. */
const versionMax = 64;

/** Reads what the ready replicas tell of themselves, one request at a time each. */
export function readLoads({ ready, timers, log, onKnown, everyMs = 2_000, unknownEveryMs = 30_000 }: LoadOptions): Loads {
  const known = new Map<string, Known>();

  const read = async (one: Known): Promise<void> => {
    const { id, port } = one.runs;
    one.busy = true;
    const { dialect, reading, silent } = await readEngine(port, one.dialect, everyMs);
    if (dialect?.version !== undefined && one.dialect === undefined) one.version = versionIn(dialect.version.members, jsonOf(await ask(port, "GET", dialect.version.path, { timeoutMs: everyMs })));
    one.busy = false;
    if (reading.problem !== undefined && reading.problem !== one.reading.problem && known.get(id) === one) log.warn("a replica's load is unknown", { replica: id, problem: reading.problem });
    const isNew = one.dialect !== dialect && known.get(id) === one;
    one.dialect = dialect;
    one.reading = reading;
    one.telling ||= reading.load !== undefined;
    const isBusy = silent && dialect === undefined && ++one.silences < silencesMax;
    one.wait = one.telling || isBusy ? 1 : Math.floor(unknownEveryMs / everyMs);
    if (isNew) onKnown?.();
  };
  /** Forgets what no longer runs, and meets what does since the last time. */
  const meet = (): Known[] => {
    const met: Known[] = [];
    const now = new Map(ready().map((runs) => [runs.id, runs]));
    for (const [id, { runs }] of known) {
      const same = now.get(id);
      if (same?.port !== runs.port || same.pid !== runs.pid) known.delete(id);
    }
    for (const [id, runs] of now) {
      if (known.has(id)) continue;
      const one: Known = { runs, reading: {}, telling: false, silences: 0, wait: 1, busy: false };
      known.set(id, one);
      met.push(one);
    }
    return met;
  };
  const round = (): void => {
    meet();
    for (const one of known.values()) if (--one.wait <= 0 && !one.busy) void read(one);
    cancel = timers.after(everyMs, round);
  };
  let cancel = timers.after(everyMs, round);
  return {
    of(id) {
      const one = known.get(id);
      if (one?.dialect === undefined) return {};
      const { dialect, version, reading: { load, problem } } = one;
      return { engine: dialect.engine, ...(version === undefined ? {} : { engineVersion: version }), ...(load === undefined ? {} : { load }), ...(problem === undefined ? {} : { loadProblem: problem }) };
    },
    look() {
      for (const one of meet()) void read(one);
    },
    close: () => cancel(),
  };
}

/**
 * What runs on a port and what it tells of its load. It is known by its metrics, else by its list of models, else by its greeting.
 *
 * @param known what it was known to be before, for when it says nothing now
 * @returns `silent`: the question for its metrics was not answered
 */
export async function readEngine(port: number, known: Dialect | undefined, timeoutMs: number): Promise<{ dialect: Dialect | undefined; reading: Reading; silent: boolean }> {
  const path = known?.metricsPath ?? "/metrics";
  const asked = await ask(port, "GET", path, { timeoutMs });
  const silent = "problem" in asked;
  const metrics = parseMetrics(textOf(asked));
  const dialect = dialectOf(metrics) ?? known ?? (await dialectSaid(port, timeoutMs));
  if (dialect?.load === undefined) return { dialect, reading: {}, silent };
  if (speaks(dialect, metrics)) return { dialect, reading: readLoad(dialect, metrics), silent };
  // what its models' owner has made known may have its metrics elsewhere
  if (known === undefined && dialect.metricsPath !== undefined) return readEngine(port, dialect, timeoutMs);
  return { dialect, reading: { problem: mute(dialect, path, asked) }, silent };
}

/** What is known by what it says of itself. The front page of what lists no models may be anybody's, and is not asked for. */
async function dialectSaid(port: number, timeoutMs: number): Promise<Dialect | undefined> {
  const models = jsonOf(await ask(port, "GET", "/v1/models", { timeoutMs }));
  return models === undefined ? undefined : (dialectOfModels(models) ?? dialectOfGreeting(textOf(await ask(port, "GET", "/", { timeoutMs }))));
}

function textOf(asked: Asked): string {
  return "status" in asked && asked.status === 200 ? asked.text : "";
}

/** What a server answers that has no such thing, or has it turned off. */
const lacking: readonly number[] = [200, 404, 501];

function mute({ name, metricsBy }: Dialect, path: string, asked: Asked): string {
  if ("problem" in asked) return `${name} tells no load: ${asked.problem}`;
  const what = asked.status === 200 ? "has no metric of its own" : `answered ${asked.status}`;
  return `${name} tells no load: its ${path} ${what}${metricsBy === undefined || !lacking.includes(asked.status) ? "" : `; ${metricsBy} turns them on`}`;
}

function versionIn(members: readonly string[], answer: unknown): string | undefined {
  const value = memberOf(answer, members);
  return typeof value === "string" && value !== "" ? plainText(value).slice(0, versionMax) : undefined;
}
