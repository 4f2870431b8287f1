import { readFileSync } from "node:fs";
import { processTree } from "./tree.ts";

/** Resident memory in KiB of the processes and everything below them (VmRSS; shared pages count once per process). */
export function rssKiBOf(pids: number[]): number {
  let sum = 0;
  for (const pid of processTree(pids)) {
    try {
      sum += Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
    } catch {
      // It ended.
    }
  }
  return sum;
}
