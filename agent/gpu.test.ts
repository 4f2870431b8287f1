import { expect, test } from "vitest";
import { countGpuLines } from "./gpu.ts";

test("countGpuLines() counts GPUs, not MIG slices", () => {
  expect(countGpuLines("GPU 0: NVIDIA H200 (UUID: GPU-a)\n  MIG 1g.18gb Device 0: (UUID: MIG-b)\nGPU 1: NVIDIA H200 (UUID: GPU-c)\n")).toBe(2);
  expect(countGpuLines("No devices found.\n")).toBe(0);
});
