/**
 * A thread that says when a request is due. Node's timers are good to a millisecond, too coarse next to a proxy that adds
 * one; Atomics.wait sleeps by a futex, good to some tens of microseconds, and takes no CPU from the upstream as spinning would.
 */
import { parentPort, workerData } from "node:worker_threads";

export interface TickerOptions {
  intervalMs: number;
  ticks: number;
}

export interface Tick {
  /** When the request was due, on the clock of process.hrtime, in ns. */
  dueNs: number;
}

const { intervalMs, ticks } = workerData as TickerOptions;
const never = new Int32Array(new SharedArrayBuffer(4));
// Time for the thread's first message to get through before anything is due.
const startNs = Number(process.hrtime.bigint()) + 50e6;
for (let i = 0; i < ticks; i++) {
  const dueNs = startNs + i * intervalMs * 1e6;
  const waitMs = (dueNs - Number(process.hrtime.bigint())) / 1e6;
  if (waitMs > 0) Atomics.wait(never, 0, 0, waitMs);
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port has no origin
  parentPort?.postMessage({ dueNs } satisfies Tick);
}
