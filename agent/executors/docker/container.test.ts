import { describe, expect, test } from "vitest";
import type { Gpu } from "../../gpu.ts";
import { containerOf, type ContainerOptions } from "./container.ts";

const base: ContainerOptions = {
  image: "x:1", setup: undefined, run: "serve", environment: { A: "b" }, labels: {}, port: { inside: 8080, outside: 20_001 }, gpus: [], vendor: undefined, mounts: [], workdir: undefined,
  limits: {}, memoryBytes: 8 * 2 ** 30, config: { runtime: undefined, network: "bridge", user: undefined },
};
const gpu = (vendor: Gpu["vendor"], index: number): Gpu => ({ vendor, index, uuid: `GPU-${index}` });

describe("containerOf()", () => {
  test("asks for NVIDIA GPUs by their UUIDs, and hides all from one that has none", () => {
    const two = containerOf({ ...base, vendor: "nvidia", gpus: [gpu("nvidia", 1), gpu("nvidia", 3)] });
    expect(two.HostConfig?.DeviceRequests).toEqual([{ Driver: "nvidia", DeviceIDs: ["GPU-1", "GPU-3"], Capabilities: [["gpu"]] }]);
    expect(two.Env).toContain("NVIDIA_VISIBLE_DEVICES=GPU-1,GPU-3");
    const none = containerOf({ ...base, vendor: "nvidia" });
    expect(none.HostConfig?.DeviceRequests).toBeUndefined();
    expect(none.Env).toContain("NVIDIA_VISIBLE_DEVICES=void");
  });

  test("shows AMD's devices with the variable that says which are its own", () => {
    const one = containerOf({ ...base, vendor: "amd", gpus: [gpu("amd", 2)] });
    expect(one.HostConfig?.Devices?.map((device: { PathOnHost: string }) => device.PathOnHost)).toEqual(["/dev/kfd", "/dev/dri"]);
    expect(one.Env).toContain("HIP_VISIBLE_DEVICES=2");
    expect(containerOf({ ...base, vendor: "amd" }).HostConfig?.Devices).toBeUndefined();
  });

  test("publishes its port on loopback only, and none on the host's own network", () => {
    expect(containerOf(base).HostConfig?.PortBindings).toEqual({ "8080/tcp": [{ HostIp: "127.0.0.1", HostPort: "20001" }] });
    const open = containerOf({ ...base, config: { ...base.config, network: "host" } });
    expect([open.HostConfig?.PortBindings, open.ExposedPorts]).toEqual([undefined, undefined]);
  });

  test("bounds shared memory by half of what it may have", () => {
    expect(containerOf(base).HostConfig?.ShmSize).toBe(4 * 2 ** 30);
    expect(containerOf({ ...base, limits: { memoryBytes: 2 ** 30 } }).HostConfig).toMatchObject({ ShmSize: 2 ** 29, Memory: 2 ** 30, MemorySwap: 2 ** 30 });
    expect(containerOf(base).HostConfig?.Memory).toBeUndefined();
  });
});
