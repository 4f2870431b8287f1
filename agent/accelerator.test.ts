import { expect, test } from "vitest";
import { acceleratorOf } from "./accelerator.ts";

test.each([
  ["NVIDIA A100-SXM4-80GB", "A100-80GB"], ["NVIDIA A100 80GB PCIe", "A100-80GB"], ["NVIDIA A100-SXM4-40GB", "A100"], ["NVIDIA A100-PCIE-40GB", "A100"],
  ["NVIDIA H100 80GB HBM3", "H100"], ["NVIDIA H100 PCIe", "H100"], ["NVIDIA H200", "H200"], ["NVIDIA GH200 480GB", "GH200"], ["NVIDIA B200", "B200"],
  ["NVIDIA L4", "L4"], ["NVIDIA L40S", "L40S"], ["NVIDIA L40", "L40"], ["NVIDIA A10G", "A10G"], ["NVIDIA A10", "A10"],
  ["Tesla T4", "T4"], ["Tesla V100-SXM2-16GB", "V100"], ["Tesla V100-SXM2-32GB", "V100-32GB"], ["Tesla P100-PCIE-16GB", "P100"], ["Tesla K80", "K80"],
  ["NVIDIA GeForce RTX 4090", "RTX4090"], ["NVIDIA RTX A6000", "A6000"], ["NVIDIA RTX 6000 Ada Generation", "RTX6000-Ada"], ["AMD Instinct MI300X", "MI300X"],
  ["NVIDIA Shiny 9000", undefined],
])("%s is SkyPilot's %s", (name, accelerator) => {
  expect(acceleratorOf([{ name }, { name }])).toBe(accelerator);
});

test("GPUs of several kinds have no one name, nor have none", () => {
  expect(acceleratorOf([{ name: "NVIDIA L4" }, { name: "Tesla T4" }])).toBeUndefined();
  expect(acceleratorOf([{ name: "NVIDIA L4" }, {}])).toBeUndefined();
  expect(acceleratorOf([])).toBeUndefined();
});
