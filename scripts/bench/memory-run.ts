import { setTimeout as sleep } from "node:timers/promises";
import type { Bench } from "./bench.ts";
import { checkAnswer } from "./check.ts";
import { generate } from "./generate.ts";
import { heapKiBOf } from "./heap.ts";
import type { Started } from "./lineup.ts";
import type { ClosedJob, ClosedResult } from "./load-closed.ts";
import { rssKiBOf } from "./memory.ts";
import { median } from "./quantile.ts";

/** Memory after so many requests. */
export interface MemoryReading {
  requests: number;
  /** Resident memory of the processes. It follows V8's heap, which grows to a size of its own choosing before it is collected. */
  rssKiB: number;
  /** What the isolate holds after a collection; only of peers with an inspector. */
  heapKiB?: number;
}

/**
 * Growth that still counts as none: 5 %, or 128 KiB where that is more, which is 4 bytes for each of the 30,000 requests between
 * the readings compared. The heap of bare workerd, below 1 MiB, moves by some 40 KiB from one collection to the next.
 */
const shareAllowed = 0.05;
const kiBAllowed = 128;

/** Sends 100,000 requests in ten parts, 32 at once, and reads the memory of the proxy before, between and after. */
export async function watchMemory(bench: Bench, { running }: Started): Promise<MemoryReading[]> {
  const readings: MemoryReading[] = [];
  async function read(requests: number): Promise<void> {
    await sleep(500);
    // The resident size first: the collection for the heap would shrink it.
    const reading: MemoryReading = { requests, rssKiB: rssKiBOf(running.pids) };
    if (running.inspectorUrl) reading.heapKiB = await heapKiBOf(running.inspectorUrl, () => checkAnswer(running));
    readings.push(reading);
    bench.say(`memory: ${requests.toLocaleString("en")} requests: ${(reading.rssKiB / 1_024).toFixed(1)} MiB resident`);
  }

  const part = bench.options.quick ? 1_000 : 10_000;
  await read(0);
  for (let sent = part; sent <= 10 * part; sent += part) {
    const job = { kind: "closed", url: running.url, headers: running.headers, connections: 32, requests: part } satisfies ClosedJob;
    const { requests, errors } = await generate<ClosedResult>(bench, job);
    if (errors > 0) throw new Error(`Cannot watch memory: ${errors} of ${requests + errors} requests failed`);
    await read(sent);
  }
  return readings;
}

/**
 * Growth as a share: the median of the last three readings (80,000 to 100,000 requests) over that of the three before them, less one.
 * What comes earlier is warm-up: compiled code, pools, and the heap's first sizes; bare workerd takes some 50,000 requests to settle.
 */
export function memoryGrowth(readings: MemoryReading[]): { of: "heap" | "resident memory"; share: number; grew: boolean } {
  const byHeap = readings.every(({ heapKiB }) => heapKiB !== undefined);
  const values = readings.map(({ rssKiB, heapKiB }) => (byHeap ? (heapKiB as number) : rssKiB));
  const before = median(values.slice(-6, -3));
  const after = median(values.slice(-3));
  return { of: byHeap ? "heap" : "resident memory", share: after / before - 1, grew: after - before > Math.max(before * shareAllowed, kiBAllowed) };
}
