import { statfs } from "node:fs/promises";
import type { Capacity } from "../executor.ts";
import { StartError } from "../executor.ts";

/**
 * With less than this free nothing is started: a replica's log may grow to 32 MiB and is kept once beside itself, and several are
 * started at a time.
 */
export const freeBytesMin = 256 * 1024 * 1024;

/** How full the disk of a folder is; undefined where it cannot be told. */
export async function diskOf(folder: string): Promise<Capacity["disk"]> {
  const found = await statfs(folder).catch(() => undefined);
  return found === undefined ? undefined : { bytes: found.blocks * found.bsize, freeBytes: found.bavail * found.bsize };
}

/** Why nothing may be started on a disk; undefined when something may. */
export function diskProblem(disk: Capacity["disk"], folder: string, least: number): string | undefined {
  if (disk === undefined || disk.freeBytes >= least) return undefined;
  return `the disk of ${folder} is full: ${inMiB(disk.freeBytes)} of ${inMiB(disk.bytes)} are free, and nothing is started below ${inMiB(least)}`;
}

function inMiB(bytes: number): string {
  return `${Math.floor(bytes / 1024 / 1024)} MiB`;
}

/** A write that found no room, as a start that may be possible later; other errors as they are. */
export function asStartError(error: unknown): unknown {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return code === "ENOSPC" || code === "EDQUOT" ? new StartError("the disk of this host is full: the replica's files cannot be written", { wait: true }) : error;
}
