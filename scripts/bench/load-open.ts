import { setTimeout as sleep } from "node:timers/promises";
import { poster, type Target } from "./post.ts";

/** So many streams, begun one after the other and read to their end. */
export interface OpenJob extends Target {
  kind: "open";
  streams: number;
  /** Time over which they start, in ms. */
  spreadMs: number;
}

export interface OpenResult {
  errors: number;
}

const done = "data: [DONE]\n\n";

export async function runOpen(job: OpenJob): Promise<OpenResult> {
  const post = poster(job, { stream: true, connections: job.streams });
  let errors = 0;
  async function one(index: number): Promise<void> {
    await sleep((index * job.spreadMs) / job.streams);
    let tail = "";
    const good = await post((chunk) => (tail = (tail + chunk.toString("latin1")).slice(-done.length)));
    if (!good || tail !== done) errors++;
  }
  await Promise.all(Array.from({ length: job.streams }, (_, index) => one(index)));
  return { errors };
}
