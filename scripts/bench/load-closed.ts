import { poster, type Target } from "./post.ts";
import { quantile } from "./quantile.ts";

/** `connections` requests are always in flight, for `seconds` or until `requests` were sent. */
export interface ClosedJob extends Target {
  kind: "closed";
  connections: number;
  seconds?: number;
  requests?: number;
}

/** What a closed-loop run saw; wrk gives the same. */
export interface ClosedResult {
  requests: number;
  errors: number;
  durationMs: number;
  p50Ms: number;
  p99Ms: number;
  /** Why the first few failed, and when; absent: none did. */
  failures?: string[];
}

/** So many are told. */
const failuresMax = 5;

export async function runClosed(job: ClosedJob): Promise<ClosedResult> {
  const failures: string[] = [];
  const onFailure = (why: string): void => {
    if (failures.length < failuresMax) failures.push(`${new Date().toISOString()} ${why}`);
  };
  const post = poster(job, { stream: false, connections: job.connections, onFailure });
  const latencies: number[] = [];
  let errors = 0;
  let left = job.requests ?? Number.POSITIVE_INFINITY;
  const startMs = performance.now();
  let endMs = startMs + (job.seconds ?? Number.POSITIVE_INFINITY) * 1_000;
  // told to end: what is in flight ends, and what was seen is told
  process.once("SIGTERM", () => (endMs = 0));

  async function connection(): Promise<void> {
    while (left-- > 0) {
      const sentMs = performance.now();
      if (sentMs >= endMs) return;
      if (await post()) latencies.push(performance.now() - sentMs);
      else errors++;
    }
  }
  await Promise.all(Array.from({ length: job.connections }, connection));

  return { requests: latencies.length, errors, durationMs: performance.now() - startMs, p50Ms: quantile(latencies, 0.5), p99Ms: quantile(latencies, 0.99), ...(failures.length === 0 ? {} : { failures }) };
}
