import { readFile } from "node:fs/promises";

/**
 * How often this machine's kernel has killed for want of memory since it started, in whichever control group (Linux 4.13 and
 * later, readable by everybody); undefined where it does not say.
 */
export async function outOfMemoryKills(): Promise<number | undefined> {
  return countOf("oom_kill", await readFile("/proc/vmstat", "latin1").catch(() => ""));
}

/** A counter in a file of lines `name number`, such as /proc/vmstat and a control group's memory.events. */
export function countOf(name: string, text: string): number | undefined {
  const found = new RegExp(`^${name} (\\d+)$`, "m").exec(text)?.[1];
  return found === undefined ? undefined : Number(found);
}

/** Whether a SIGKILL that nobody of ours sent was the kernel's, by its count before and after: no other sign is left to see. */
export function wasForMemory(signal: string | undefined, before: number | undefined, after: number | undefined): "likely" | undefined {
  return signal === "SIGKILL" && before !== undefined && after !== undefined && after > before ? "likely" : undefined;
}
