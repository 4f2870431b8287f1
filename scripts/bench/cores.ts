import { readFileSync } from "node:fs";
import { which } from "./which.ts";

/** Which cores the two sides run on; undefined where they cannot be pinned, and then `why` says it. */
export interface Cores {
  load: number | undefined;
  proxy: number | undefined;
  why?: string;
}

/** Expands the kernel's list form ("0-2,5") to numbers. */
export function coreList(text: string): number[] {
  return text
    .trim()
    .split(",")
    .flatMap((part) => {
      const [first = 0, last = first] = part.split("-").map(Number);
      return Array.from({ length: last - first + 1 }, (_, i) => first + i);
    });
}

/** Takes the first two cores this process may use: load and upstream on one, the proxy under test on the other. */
export function chooseCores(): Cores {
  const allowed = coreList(/^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0");
  if (!which("taskset")) return { load: undefined, proxy: undefined, why: "taskset (util-linux) is not installed" };
  if (allowed.length < 2) return { load: undefined, proxy: undefined, why: "this process may use only one core" };
  return { load: allowed[0], proxy: allowed[1] };
}
