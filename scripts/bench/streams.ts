import type { Bench } from "./bench.ts";
import { cpuMsOf } from "./cpu.ts";
import { generate } from "./generate.ts";
import type { Lineup, Started } from "./lineup.ts";
import type { StreamsJob, StreamsResult } from "./load-streams.ts";
import { takeTurns, warmUp, type Rounds } from "./rounds.ts";

/** Streams open at the same time. */
export const atOnce = 50;
/** Time between the chunks of a stream at the upstream, in ms; 0 is as fast as it goes. */
export const gapsMs = [10, 0] as const;
export type GapMs = (typeof gapsMs)[number];

export interface StreamsSample extends StreamsResult {
  /** User and system time of the proxy, in ms; NaN for the upstream directly. */
  cpuMsPer1000Chunks: number;
  proxyCore: number;
}

export type Streams = Map<GapMs, Rounds<StreamsSample>>;

async function run(bench: Bench, { running }: Started, gapMs: number, seconds: number, streams: number = atOnce): Promise<StreamsSample> {
  const beforeMs = cpuMsOf(running.pids);
  // Spread over the length of one stream, so that the chunks of all streams do not come in one burst.
  const job = { kind: "streams", url: running.url, headers: running.headers, atOnce: streams, seconds, spreadMs: gapMs * 100 } satisfies StreamsJob;
  const result = await generate<StreamsResult>(bench, job);
  const cpuMs = running.pids.length > 0 ? cpuMsOf(running.pids) - beforeMs : Number.NaN;
  if (result.streams === 0) throw new Error(`none of its streams was whole (${result.errors} were not)`);
  return { ...result, cpuMsPer1000Chunks: (cpuMs / result.chunks) * 1_000, proxyCore: cpuMs / result.durationMs };
}

export async function measureStreams(bench: Bench, lineup: Lineup, started: Started[]): Promise<Streams> {
  const streams: Streams = new Map();
  await bench.upstreams.pace(0);
  await warmUp(bench, lineup, started, "streams", (one) => run(bench, one, 0, 1));
  for (const gapMs of gapsMs) {
    await bench.upstreams.pace(gapMs);
    const what = gapMs > 0 ? `streams at ${gapMs} ms` : "streams unpaced";
    streams.set(gapMs, await takeTurns(bench, lineup, started, what, (one) => run(bench, one, gapMs, bench.options.seconds)));
  }
  return streams;
}

/** Streams, so many at once. */
export interface AtOnce {
  atOnce: number;
  rounds: Rounds<StreamsSample>;
}

/** A stream of one second tells one TTFT: where few are open, so many times as long as others are measured. */
const fewTimes = 4;
/** Where all that is on the way is cold, since each stream is a second's; and where it is warm and waits for nothing. */
export const fewAtOnce = [1, 10] as const;

/** Few paced streams at once: what a way adds where nothing waits for anything else. */
export async function measureFew(bench: Bench, lineup: Lineup, started: Started[]): Promise<AtOnce[]> {
  const [gapMs] = gapsMs;
  await bench.upstreams.pace(gapMs);
  const all: AtOnce[] = [];
  for (const streams of fewAtOnce) {
    const seconds = (fewTimes * bench.options.seconds) / (streams === 1 ? 1 : 2);
    all.push({ atOnce: streams, rounds: await takeTurns(bench, lineup, started, `${streams} at once at ${gapMs} ms`, (one) => run(bench, one, gapMs, seconds, streams)) });
  }
  return all;
}
