import { describe, expect, test } from "vitest";
import { gpuReadingSchema, type GpuReading } from "../../schema/readings.ts";
import { amdGpus } from "./amd.ts";
import { dcgmGpus } from "./dcgm.ts";
import { nvidiaGpus } from "./nvidia.ts";

const mebibyte = 1024 * 1024;

describe("nvidiaGpus()", () => {
  const h100 = "GPU-4b1f7f4a-6f0e-1c59-8f6a-6c0f3f8f9a11";
  test.each<[string, string, GpuReading[]]>([
    [
      "a board at work",
      `0, ${h100}, NVIDIA H100 80GB HBM3, 81559, 70123, 97, 61, 689.12\n`,
      [{ index: 0, uuid: h100, name: "NVIDIA H100 80GB HBM3", memoryTotalBytes: 81559 * mebibyte, memoryUsedBytes: 70123 * mebibyte, utilisation: 0.97, temperatureC: 61, powerW: 689.12 }],
    ],
    ["a board cut by MIG, whose utilisation only its slices know", `1, ${h100}, NVIDIA A100-SXM4-40GB, 40960, 512, [N/A], 33, 58.80\n`, [{ index: 1, uuid: h100, name: "NVIDIA A100-SXM4-40GB", memoryTotalBytes: 40960 * mebibyte, memoryUsedBytes: 512 * mebibyte, temperatureC: 33, powerW: 58.8 }]],
    ["a consumer board without a power sensor", `0, ${h100}, NVIDIA GeForce GT 1030, 2048, 12, [Not Supported], 41, [N/A]\n`, [{ index: 0, uuid: h100, name: "NVIDIA GeForce GT 1030", memoryTotalBytes: 2048 * mebibyte, memoryUsedBytes: 12 * mebibyte, temperatureC: 41 }]],
    ["unified memory, as a GB10 has it", `0, ${h100}, NVIDIA GB10, [N/A], [N/A], 12, 45, 11.05\n`, [{ index: 0, uuid: h100, name: "NVIDIA GB10", utilisation: 0.12, temperatureC: 45, powerW: 11.05 }]],
    ["a board that is failing", `2, ${h100}, ERR!, 81559, [Unknown Error], ERR!, [GPU requires reset], ERR!\n`, [{ index: 2, uuid: h100, memoryTotalBytes: 81559 * mebibyte }]],
    ["units, where they were asked for", `0, ${h100}, NVIDIA L4, 23034 MiB, 1 MiB, 0 %, 36, 12.97 W\n`, [{ index: 0, uuid: h100, name: "NVIDIA L4", memoryTotalBytes: 23034 * mebibyte, memoryUsedBytes: mebibyte, utilisation: 0, temperatureC: 36, powerW: 12.97 }]],
    ["a driver that does not answer", "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA driver is installed and running.\n", []],
    ["no boards", "No devices were found\n", []],
    ["nothing", "", []],
  ])("reads %s", (_name, output, expected) => {
    expect(nvidiaGpus(output)).toEqual(expected);
    for (const gpu of expected) expect(gpuReadingSchema.parse(gpu)).toEqual(gpu);
  });
});

describe("amdGpus()", () => {
  const metric = [
    {
      gpu: 0,
      usage: { gfx_activity: { value: 88, unit: "%" }, umc_activity: { value: 20, unit: "%" } },
      power: { socket_power: { value: 611, unit: "W" }, gfx_voltage: "N/A" },
      temperature: { edge: "N/A", hotspot: { value: 71, unit: "C" }, mem: { value: 60, unit: "C" } },
      mem_usage: { total_vram: { value: 196592, unit: "MB" }, used_vram: { value: 150000, unit: "MB" }, free_vram: { value: 46592, unit: "MB" } },
    },
    { gpu: 1, usage: "N/A", power: { socket_power: "N/A" }, temperature: "N/A", mem_usage: { total_vram: { value: 196592, unit: "MB" }, used_vram: "N/A" } },
  ];
  const known = [{ gpu: 0, asic: { market_name: "AMD Instinct MI300X", asic_serial: "0x8F3A11" } }, { gpu: 1, asic: { market_name: "N/A", asic_serial: "N/A" } }];
  const expected = [
    { index: 0, uuid: "0x8F3A11", name: "AMD Instinct MI300X", memoryTotalBytes: 196592 * mebibyte, memoryUsedBytes: 150000 * mebibyte, utilisation: 0.88, temperatureC: 71, powerW: 611 },
    { index: 1, memoryTotalBytes: 196592 * mebibyte },
  ];

  test("reads a list, and one below `gpu_data`, behind a warning", () => {
    expect(amdGpus(JSON.stringify(metric), JSON.stringify(known))).toEqual(expected);
    expect(amdGpus(`WARNING: User is missing the following required groups: render\n${JSON.stringify({ gpu_data: metric })}`, JSON.stringify({ gpu_data: known }))).toEqual(expected);
  });

  test("reads the text values of older versions", () => {
    expect(amdGpus(JSON.stringify([{ gpu: 0, usage: { gfx_activity: "7 %" }, power: { average_socket_power: "90 W" }, temperature: { edge: "40 C" }, mem_usage: { total_vram: "64 GB", used_vram: "283 MB" } }]))).toEqual([
      { index: 0, memoryTotalBytes: 64 * 1024 ** 3, memoryUsedBytes: 283 * mebibyte, utilisation: 0.07, temperatureC: 40, powerW: 90 },
    ]);
  });

  test.each(["", "no JSON", "[1, null, {}]", '{"gpu_data": 4}', "[{"])("has no GPU for %j", (output) => {
    expect(amdGpus(output)).toEqual([]);
  });
});

describe("dcgmGpus()", () => {
  const labels = 'gpu="0",UUID="GPU-4b1f",pci_bus_id="00000000:18:00.0",device="nvidia0",modelName="NVIDIA A100-SXM4-80GB",Hostname="rack-7"';
  test("reads a board with its labels", () => {
    const text = `# HELP DCGM_FI_DEV_GPU_UTIL GPU utilization (in %).
# TYPE DCGM_FI_DEV_GPU_UTIL gauge
DCGM_FI_DEV_GPU_UTIL{${labels}} 54
DCGM_FI_DEV_GPU_TEMP{${labels}} 47
DCGM_FI_DEV_POWER_USAGE{${labels}} 213.418000
DCGM_FI_DEV_FB_USED{${labels}} 1024
DCGM_FI_DEV_FB_FREE{${labels}} 80000
DCGM_FI_DEV_FB_RESERVED{${labels}} 896
`;
    expect(dcgmGpus(text)).toEqual([{ index: 0, uuid: "GPU-4b1f", name: "NVIDIA A100-SXM4-80GB", memoryUsedBytes: 1024 * mebibyte, memoryTotalBytes: 81920 * mebibyte, utilisation: 0.54, temperatureC: 47, powerW: 213.418 }]);
  });

  test("tells MIG slices apart, and takes their work from the profiling metric", () => {
    const slice = (id: number): string => `${labels},GPU_I_PROFILE="3g.40gb",GPU_I_ID="${id}"`;
    const text = [1, 2].flatMap((id) => [`DCGM_FI_PROF_GR_ENGINE_ACTIVE{${slice(id)}} 0.${id}`, `DCGM_FI_DEV_FB_USED{${slice(id)}} ${id * 1000}`, `DCGM_FI_DEV_FB_FREE{${slice(id)}} 39000`]).join("\n");
    expect(dcgmGpus(text)).toMatchObject([{ index: 0, slice: 1, utilisation: 0.1, memoryUsedBytes: 1000 * mebibyte }, { index: 0, slice: 2, utilisation: 0.2, memoryUsedBytes: 2000 * mebibyte }]);
  });

  test("takes DCGM's blanks for no reading", () => {
    expect(dcgmGpus(`DCGM_FI_DEV_GPU_UTIL{${labels}} NaN\nDCGM_FI_DEV_FB_USED{${labels}} 9223372036854775794\nDCGM_FI_DEV_GPU_TEMP{${labels}} 2147483632`)).toMatchObject([{ index: 0 }]);
    const [gpu] = dcgmGpus(`DCGM_FI_DEV_GPU_TEMP{${labels}} 140737488355328`);
    expect([gpu?.temperatureC, gpu?.memoryUsedBytes, gpu?.utilisation]).toEqual([undefined, undefined, undefined]);
  });

  test.each(["", "<html>404</html>", "up 1", "DCGM_FI_DEV_GPU_UTIL 4", 'DCGM_FI_DEV_GPU_UTIL{gpu="x"} 4'])("has no GPU for %j", (text) => {
    expect(dcgmGpus(text)).toEqual([]);
  });
});
