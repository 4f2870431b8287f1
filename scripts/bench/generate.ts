import { fileURLToPath } from "node:url";
import type { Bench } from "./bench.ts";
import { output } from "./children.ts";
import type { Job } from "./load.ts";

/** Runs our load generator on the load's core and returns what it measured. */
export async function generate<Result>(bench: Bench, job: Job): Promise<Result> {
  const seconds = "seconds" in job && job.seconds !== undefined ? job.seconds : 300;
  const command = [process.execPath, fileURLToPath(new URL("./load.ts", import.meta.url)), JSON.stringify(job)];
  const { code, stdout, stderr } = await output(command, { cpu: bench.cores.load, timeoutMs: (seconds + 90) * 1_000 });
  if (code !== 0) throw new Error(`the load generator ended with ${code}: ${stderr.trim().slice(-300)}`);
  return JSON.parse(stdout) as Result;
}
