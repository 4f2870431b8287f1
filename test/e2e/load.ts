import { spawn } from "node:child_process";
import { join } from "node:path";
import type { ClosedJob, ClosedResult } from "../../scripts/bench/load-closed.ts";
import type { World } from "./world.ts";

/** What no request failed looks like; a test that finds more says what failed and when. */
export function failuresOf({ errors, failures = [] }: ClosedResult): { errors: number; failures: string[] } {
  return { errors, failures };
}
export const noFailures = { errors: 0, failures: [] };

/** The benchmarks' load generator on a world's service `bench`: so many requests always in flight, for so long or until it is stopped. */
export function load({ up }: World, connections: number, seconds = 100): { done: Promise<ClosedResult>; stop: () => Promise<ClosedResult> } {
  const job: ClosedJob = { kind: "closed", url: `${up.endpoint}/chat/completions`, headers: { authorization: `Bearer ${up.apiKey}` }, connections, seconds };
  const child = spawn(process.execPath, [join(import.meta.dirname, "../../scripts/bench/load.ts"), JSON.stringify(job)], { stdio: ["ignore", "pipe", "inherit"] });
  const read = async (): Promise<ClosedResult> => {
    let said = "";
    for await (const chunk of child.stdout) said += String(chunk);
    return JSON.parse(said) as ClosedResult;
  };
  const done = read();
  return { done, stop: () => (child.kill("SIGTERM"), done) };
}
