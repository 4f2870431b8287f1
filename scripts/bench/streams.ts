import type { Bench } from "./bench.ts";
import { cpuMsOf } from "./cpu.ts";
import { generate } from "./generate.ts";
import type { Lineup, Started } from "./lineup.ts";
import type { StreamsJob, StreamsResult } from "./load-streams.ts";
import { medianOf, takeTurns, warmUp, type Rounds } from "./rounds.ts";

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

/** Paced streams, as many at once as are a part of what the proxy's core carries on one way. */
export interface Share {
  atOnce: number;
  rounds: Rounds<StreamsSample>;
}

/**
 * The paced streams once more, so many of them that they take `share` of the proxy's core on the way of one peer: what a delay is where
 * nothing waits for a core, whatever the machine.
 *
 * @param paced the streams at `gapMs`, as many as are always measured
 */
export async function measureShare(bench: Bench, lineup: Lineup, started: Started[], { paced, gapMs, name, share }: { paced: Rounds<StreamsSample>; gapMs: number; name: string; share: number }): Promise<Share> {
  const usPerChunk = medianOf(paced, name, (sample) => sample.cpuMsPer1000Chunks);
  const streams = Math.max(1, Math.min(atOnce, Math.round((share * gapMs * 1_000) / usPerChunk)));
  await bench.upstreams.pace(gapMs);
  return { atOnce: streams, rounds: await takeTurns(bench, lineup, started, `${streams} streams at ${gapMs} ms`, (one) => run(bench, one, gapMs, bench.options.seconds, streams)) };
}
