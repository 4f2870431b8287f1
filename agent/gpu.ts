import { execFile } from "node:child_process";

/** The number of NVIDIA GPUs that `nvidia-smi` lists; 0 where there is none, or no such program. */
export function countGpus(): Promise<number> {
  return new Promise((resolve) => {
    execFile("nvidia-smi", ["-L"], { timeout: 10_000, encoding: "utf8" }, (error, output) => resolve(error ? 0 : countGpuLines(output)));
  });
}

/** Counts what `nvidia-smi -L` prints: `GPU 0: NVIDIA H200 (UUID: GPU-…)`; MIG slices are indented lines below theirs. */
export function countGpuLines(output: string): number {
  return output.split("\n").filter((line) => /^GPU \d+:/.test(line)).length;
}
