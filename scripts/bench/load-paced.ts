import { Worker } from "node:worker_threads";
import { poster, type Target } from "./post.ts";
import { quantile } from "./quantile.ts";
import type { Tick, TickerOptions } from "./ticker.ts";

/** Open loop: requests leave at constant intervals, whether or not earlier ones have been answered. */
export interface PacedJob extends Target {
  kind: "paced";
  ratePerS: number;
  seconds: number;
}

/** Latencies count from the time a request was due, so a proxy that stalls pays for every request it made wait. */
export interface PacedResult {
  requests: number;
  errors: number;
  p50Ms: number;
  p99Ms: number;
  /** How late the generator itself was, p99: the part of the latencies that is not the proxy's. */
  lateP99Ms: number;
}

const warmUpMs = 700;
/** All are opened in the warm-up: opening them in a stall would lengthen it. */
const connections = 64;

const nowNs = () => Number(process.hrtime.bigint());

export async function runPaced(job: PacedJob): Promise<PacedResult> {
  const post = poster(job, { stream: false, connections });
  // The generator's own code must be compiled before the first request counts, or it is the one that is late.
  const warmUntilMs = performance.now() + warmUpMs;
  const warm = async () => {
    while (performance.now() < warmUntilMs) await post();
  };
  await Promise.all(Array.from({ length: connections }, warm));

  const latencies: number[] = [];
  const late: number[] = [];
  const open: Promise<void>[] = [];
  let errors = 0;
  const options: TickerOptions = { intervalMs: 1_000 / job.ratePerS, ticks: Math.max(1, Math.round(job.ratePerS * job.seconds)) };
  const ticker = new Worker(new URL("./ticker.ts", import.meta.url), { workerData: options });
  async function request(dueNs: number): Promise<void> {
    late.push((nowNs() - dueNs) / 1e6);
    if (await post()) latencies.push((nowNs() - dueNs) / 1e6);
    else errors++;
  }
  ticker.on("message", ({ dueNs }: Tick) => open.push(request(dueNs)));
  await new Promise((done) => ticker.once("exit", done));
  await Promise.all(open);

  return { requests: latencies.length, errors, p50Ms: quantile(latencies, 0.5), p99Ms: quantile(latencies, 0.99), lateP99Ms: quantile(late, 0.99) };
}
