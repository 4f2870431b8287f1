import { setTimeout as sleep } from "node:timers/promises";
import { chunksPerStream } from "./exchange.ts";
import { poster, type Target } from "./post.ts";
import { quantile } from "./quantile.ts";

/**
 * `atOnce` streams are always open; no new ones start after `seconds`, and the open ones are read to their end.
 * The first stream on each connection counts for CPU but not for times: it opens the connection, and the generator is cold.
 */
export interface StreamsJob extends Target {
  kind: "streams";
  atOnce: number;
  seconds: number;
  /** Time over which the first streams start, in ms, so that they do not stay in step; 0 starts them together. */
  spreadMs: number;
}

export interface StreamsResult {
  /** Streams that came to `[DONE]` with all their chunks. */
  streams: number;
  errors: number;
  /** Chunks received, at most 100 for a stream, whatever events a proxy adds. */
  chunks: number;
  durationMs: number;
  /** Request sent to first event. */
  ttftP50Ms: number;
  ttftP99Ms: number;
  /** From one chunk to the next of the same stream; 0 for chunks that arrived in one read. */
  gapP50Ms: number;
  gapP99Ms: number;
  /** First to last event of a stream, divided by the chunks between, median over streams. */
  msPerChunk: number;
}

const eventStart = Buffer.from("data: ");
const done = Buffer.from("data: [DONE]");

/** Counts the beginnings of events in bytes that may be cut anywhere. */
function eventCounter(): (chunk: Buffer) => number {
  let rest = Buffer.alloc(0);
  return (chunk) => {
    const bytes = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
    let events = 0;
    let at = 0;
    for (let next = bytes.indexOf(eventStart); next !== -1; next = bytes.indexOf(eventStart, at)) {
      events++;
      at = next + eventStart.length;
    }
    // One byte less than the mark can be the beginning of a mark that is cut.
    rest = Buffer.from(bytes.subarray(Math.max(at, bytes.length - eventStart.length + 1)));
    return events;
  };
}

export async function runStreams(job: StreamsJob): Promise<StreamsResult> {
  const post = poster(job, { stream: true, connections: job.atOnce });
  const ttfts: number[] = [];
  const gaps: number[] = [];
  const perChunk: number[] = [];
  let streams = 0;
  let errors = 0;
  let chunks = 0;
  const startMs = performance.now();
  const endMs = startMs + job.seconds * 1_000;

  async function oneStream(timed: boolean): Promise<void> {
    const count = eventCounter();
    const sentMs = performance.now();
    let events = 0;
    let firstMs = 0;
    let lastMs = 0;
    let tail: Buffer = Buffer.alloc(0);
    const good = await post((chunk) => {
      const nowMs = performance.now();
      tail = chunk.length >= 32 ? chunk : Buffer.concat([tail.subarray(-32), chunk]);
      const arrived = Math.min(count(chunk), chunksPerStream - events);
      if (arrived <= 0) return;
      if (events === 0) firstMs = nowMs;
      if (timed) {
        if (events === 0) ttfts.push(nowMs - sentMs);
        else gaps.push(nowMs - lastMs);
        for (let i = 1; i < arrived; i++) gaps.push(0);
      }
      events += arrived;
      lastMs = nowMs;
    });
    chunks += events;
    if (good && events === chunksPerStream && tail.includes(done)) {
      streams++;
      if (timed) perChunk.push((lastMs - firstMs) / (chunksPerStream - 1));
    } else errors++;
  }

  async function slot(index: number): Promise<void> {
    await sleep((index * job.spreadMs) / job.atOnce);
    await oneStream(false);
    do await oneStream(true);
    while (performance.now() < endMs);
  }
  await Promise.all(Array.from({ length: job.atOnce }, (_, index) => slot(index)));

  return {
    streams,
    errors,
    chunks,
    durationMs: performance.now() - startMs,
    ttftP50Ms: quantile(ttfts, 0.5),
    ttftP99Ms: quantile(ttfts, 0.99),
    gapP50Ms: quantile(gaps, 0.5),
    gapP99Ms: quantile(gaps, 0.99),
    msPerChunk: quantile(perChunk, 0.5),
  };
}
