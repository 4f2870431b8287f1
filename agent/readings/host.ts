import type { HostReading } from "../../schema/readings.ts";

/** What the system says, before it is judged. */
export interface HostFigures {
  cpus: number;
  /** Averages of 1, 5 and 15 minutes; all 0 on a system that keeps none. */
  loads: readonly number[];
  totalBytes: number;
  freeBytes: number;
  /** `/proc/meminfo`, where there is one. */
  meminfo: string | undefined;
  disk: { blockBytes: number; blocks: number; available: number } | undefined;
}

/**
 * What is free counts what the kernel would give back (`MemAvailable`): a host that caches its weights is not full. The disk's free
 * space is what an ordinary user may take.
 */
export function hostReading({ cpus, loads, totalBytes, freeBytes, meminfo, disk }: HostFigures): HostReading {
  const available = /^MemAvailable:\s+(\d+) kB$/m.exec(meminfo ?? "")?.[1];
  const left = available === undefined ? freeBytes : Number(available) * 1024;
  const known = loads.some((load) => load > 0);
  return {
    ...(cpus > 0 ? { cpus } : {}),
    ...(known ? { load1: loads[0] ?? 0 } : {}),
    ...(totalBytes > 0 ? { memoryTotalBytes: totalBytes, memoryUsedBytes: Math.max(0, totalBytes - left) } : {}),
    ...(disk === undefined || disk.blocks === 0 ? {} : { diskFreeBytes: disk.available * disk.blockBytes, diskTotalBytes: disk.blocks * disk.blockBytes }),
  };
}
