import { processTree, statFields } from "./tree.ts";

/** Milliseconds per clock tick: USER_HZ is 100 on every Linux that user space sees (proc(5)). */
const msPerTick = 10;

/**
 * CPU time in ms, user and system, of the processes and everything below them since they started.
 * Time of descendants that have ended is in their parent's cutime and cstime, so the sum never falls.
 */
export function cpuMsOf(pids: number[]): number {
  let ticks = 0;
  for (const pid of processTree(pids)) {
    const fields = statFields(pid);
    // utime, stime, cutime, cstime: fields 14 to 17 of proc(5).
    if (fields) ticks += fields.slice(11, 15).map(Number).reduce((sum, n) => sum + n, 0);
  }
  return ticks * msPerTick;
}
