import { describe, expect, test } from "vitest";
import { parseAmd, parseNvidia, visible, visibleDevices, type Gpu } from "./gpu.ts";

const nvidia = (index: number): Gpu => ({ vendor: "nvidia", index, uuid: `GPU-${index}a-b` });

test("parseNvidia() reads GPUs and leaves out what is none", () => {
  expect(parseNvidia("0, GPU-0a-b\n1, GPU-1a-b\n")).toEqual([nvidia(0), nvidia(1)]);
  expect(parseNvidia("No devices were found\n")).toEqual([]);
  expect(parseNvidia("0, GPU-0a-b\nUnable to determine the device handle for GPU0000:81:00.0: Unknown Error\n")).toEqual([nvidia(0)]);
});

test("parseAmd() reads columns by their names", () => {
  expect(parseAmd("gpu,gpu_bdf,gpu_uuid,kfd_id\n0,0000:05:00.0,2eff74a0-0000-1000,1\n1,0000:26:00.0,71ff74a0-0000-1000,2\n")).toEqual([
    { vendor: "amd", index: 0, uuid: "2eff74a0-0000-1000" },
    { vendor: "amd", index: 1, uuid: "71ff74a0-0000-1000" },
  ]);
  expect(parseAmd("ERROR: no driver\n")).toEqual([]);
});

describe("visible()", () => {
  test.each<[string | undefined, number[]]>([
    [undefined, [0, 1, 2]],
    ["2,0", [2, 0]],
    ["GPU-1a", [1]],
    ["", []],
    ["-1", []],
    ["1,9,0", [1]],
    ["1,1", [1]],
  ])("%j leaves %j", (variable, indices) => {
    expect(visible([nvidia(0), nvidia(1), nvidia(2)], variable).map(({ index }) => index)).toEqual(indices);
  });
});

test("visibleDevices() shows a replica its own GPUs, and one without any none", () => {
  expect(visibleDevices([nvidia(1), nvidia(3)], "nvidia")).toEqual({ CUDA_VISIBLE_DEVICES: "1,3", CUDA_DEVICE_ORDER: "PCI_BUS_ID" });
  expect(visibleDevices([], "nvidia")).toMatchObject({ CUDA_VISIBLE_DEVICES: "-1" });
  expect(visibleDevices([{ vendor: "amd", index: 2, uuid: "x" }], "amd")).toEqual({ HIP_VISIBLE_DEVICES: "2" });
  expect(visibleDevices([], undefined)).toEqual({});
});
