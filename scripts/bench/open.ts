import { setTimeout as sleep } from "node:timers/promises";
import type { Bench } from "./bench.ts";
import { chunksPerStream } from "./exchange.ts";
import { generate } from "./generate.ts";
import { heapKiBOf } from "./heap.ts";
import type { Lineup, Started } from "./lineup.ts";
import type { OpenJob, OpenResult } from "./load-open.ts";
import { rssKiBOf } from "./memory.ts";
import { median } from "./quantile.ts";
import { takeTurns, type Rounds } from "./rounds.ts";

/** Over so long the streams begin, in ms. */
const rampMs = 2_000;
/** From when all streams are open until memory is read, in ms: buffers are taken, and what beginning them left is collected. */
const settleMs = 3_000;
/** Left for a slow beginning and for the reading of the heap, in ms. */
const spareMs = 8_000;
/** From one reading of the resident memory to the next, in ms. */
const readEachMs = 250;

/** Memory of one proxy at one time. */
export interface OpenReading {
  rssKiB: number;
  /** What the isolate holds after a collection; only of peers with an inspector. */
  heapKiB?: number;
}

export interface OpenSample {
  streams: number;
  none: OpenReading;
  /** All streams open, and collected all the time where there is an inspector: what they hold. */
  open: OpenReading;
  /** All streams open, left alone for the length of one measurement: also what waits for its collector, which comes when it likes. */
  aloneRssKiB: number;
  ended: OpenReading;
  /** Streams that did not come to their end. */
  errors: number;
}

/** Streams held open at the same time: enough that a peer's own few MiB of garbage are small against them. */
export function streamsOpen({ quick }: { quick: boolean }): number {
  return quick ? 50 : 400;
}

/** Time between the chunks of a stream, in ms, at which all of them stay open until memory is read. */
export function openGapMs(seconds: number): number {
  return (rampMs + settleMs + seconds * 1_000 + spareMs) / chunksPerStream;
}

/** What one more open stream holds, in KiB. */
export function rssPerStreamKiB({ none, open, streams }: OpenSample): number {
  return (open.rssKiB - none.rssKiB) / streams;
}

/** The same with what waits for a collector. That depends on how much passes and on the collector, more than on how many are open. */
export function alonePerStreamKiB({ none, aloneRssKiB, streams }: OpenSample): number {
  return (aloneRssKiB - none.rssKiB) / streams;
}

/** The isolate's share of it; NaN without an inspector. */
export function heapPerStreamKiB({ none, open, streams }: OpenSample): number {
  return ((open.heapKiB ?? Number.NaN) - (none.heapKiB ?? Number.NaN)) / streams;
}

/** The heap of a peer with an inspector, after a collection. Any request makes the isolate run. */
async function heapOf({ running: { url, inspectorUrl } }: Started): Promise<Pick<OpenReading, "heapKiB">> {
  return inspectorUrl ? { heapKiB: await heapKiBOf(inspectorUrl, async () => void (await (await fetch(new URL("/", url))).arrayBuffer())) } : {};
}

/** Memory after so long, collected all the time. */
async function held(one: Started, ms: number): Promise<OpenReading> {
  let heap = await heapOf(one);
  for (const endMs = performance.now() + ms; performance.now() < endMs; heap = await heapOf(one)) await sleep(readEachMs);
  return { rssKiB: rssKiBOf(one.running.pids), ...heap };
}

/** Waits until the upstream has so many streams open. */
async function allOpen({ upstreams }: Bench, one: Started, streams: number): Promise<void> {
  const deadline = Date.now() + rampMs + spareMs;
  while ((await upstreams.open()) < streams) {
    await heapOf(one);
    if (Date.now() > deadline) throw new Error(`only ${await upstreams.open()} of ${streams} streams were open at the same time`);
    await sleep(readEachMs);
  }
}

async function run(bench: Bench, one: Started): Promise<OpenSample> {
  const { url, headers, pids } = one.running;
  const streams = streamsOpen(bench.options);
  const { seconds } = bench.options;
  // code is compiled before the first reading
  await bench.upstreams.pace(10);
  await generate<OpenResult>(bench, { kind: "open", url, headers, streams: 10, spreadMs: 0 } satisfies OpenJob);
  const none = await held(one, settleMs);

  await bench.upstreams.pace(openGapMs(seconds));
  const load = generate<OpenResult>(bench, { kind: "open", url, headers, streams, spreadMs: rampMs } satisfies OpenJob);
  load.catch(() => undefined);
  await allOpen(bench, one, streams);
  const open = await held(one, settleMs);
  const resident: number[] = [];
  for (const endMs = performance.now() + seconds * 1_000; performance.now() < endMs; await sleep(readEachMs)) resident.push(rssKiBOf(pids));
  const still = await bench.upstreams.open();
  if (still < streams) throw new Error(`only ${still} of ${streams} streams were open until memory was read`);
  const { errors } = await load;
  return { streams, none, open, aloneRssKiB: median(resident), ended: await held(one, settleMs), errors };
}

/** One round, each peer as it was started: memory once taken is kept, so a second one would find less to take. */
export async function measureOpen(bench: Bench, lineup: Lineup, started: Started[]): Promise<Rounds<OpenSample>> {
  const proxies = started.filter(({ running }) => running.pids.length > 0);
  return takeTurns(bench, lineup, proxies, "open streams", (one) => run(bench, one), 1);
}
