/**
 * The load generator: a process of its own, so that it can be pinned. Takes one job as JSON in its only argument and
 * writes one result as JSON. Sends to 127.0.0.1 only.
 */
import { runClosed, type ClosedJob } from "./load-closed.ts";
import { runOpen, type OpenJob } from "./load-open.ts";
import { runPaced, type PacedJob } from "./load-paced.ts";
import { runStreams, type StreamsJob } from "./load-streams.ts";

export type Job = ClosedJob | OpenJob | PacedJob | StreamsJob;

function run(job: Job): Promise<unknown> {
  switch (job.kind) {
    case "closed":
      return runClosed(job);
    case "open":
      return runOpen(job);
    case "paced":
      return runPaced(job);
    case "streams":
      return runStreams(job);
  }
}

const job = JSON.parse(process.argv[2] ?? "") as Job;
if (new URL(job.url).hostname !== "127.0.0.1") throw new Error(`Cannot send load to ${job.url}: only 127.0.0.1 is allowed`);
process.stdout.write(JSON.stringify(await run(job)));
process.exit(0);
