import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { readingsFreshMs, readingsSchema } from "../../schema/readings.ts";
import { systemTimers } from "../timers.ts";
import { hostReading } from "./host.ts";
import { readHost, type HostReadings } from "./readings.ts";
import { steady } from "./steady.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).toReversed()) await clean();
});

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "fairlead-readings-"));
  cleanups.push(() => rm(path, { recursive: true }));
  return path;
}

async function program(text: string): Promise<string> {
  const file = join(await folder(), "smi");
  await writeFile(file, `#!/bin/sh\n${text}\n`);
  await chmod(file, 0o700);
  return file;
}

interface Begun {
  readings: HostReadings;
  clock: { at: number };
}

async function begin(options: { nvidia?: string; amd?: string; dcgmUrl?: string; everyMs?: number }): Promise<Begun> {
  const clock = { at: 1_000 };
  const readings = readHost({ state: await folder(), dcgmUrl: options.dcgmUrl, clock: { now: () => clock.at }, timers: systemTimers, programs: { nvidia: options.nvidia ?? "no-such-smi", amd: options.amd ?? "no-such-smi" }, everyMs: options.everyMs ?? 60_000 });
  cleanups.push(() => readings.close());
  return { readings, clock };
}

test("a host without GPUs tells of itself, and of no GPU", async () => {
  const { readings } = await begin({});
  const read = await vi.waitFor(() => readings.latest() ?? Promise.reject(new Error("not read yet")), { timeout: 20_000 });
  expect(read.gpus).toEqual([]);
  expect(read.host).toMatchObject({ cpus: expect.any(Number), memoryTotalBytes: expect.any(Number), diskFreeBytes: expect.any(Number) });
  expect(readingsSchema.parse(read)).toEqual(read);
});

test("a tool that ends with an error is believed in what it printed", async () => {
  const { readings } = await begin({ nvidia: await program('echo "0, GPU-1, NVIDIA L4, 23034, 1, 5, 36, 12.9"; echo "GPU 1 is lost" >&2; exit 15') });
  const read = await vi.waitFor(() => readings.latest() ?? Promise.reject(new Error("not read yet")), { timeout: 20_000 });
  expect(read.gpus).toMatchObject([{ index: 0, utilisation: 0.05 }]);
});

test("AMD's tool is asked where NVIDIA's is not there", async () => {
  const { readings } = await begin({ amd: await program('case "$1" in metric) echo \'[{"gpu":0,"usage":{"gfx_activity":{"value":3,"unit":"%"}}}]\';; *) echo \'[{"gpu":0,"asic":{"market_name":"MI300X"}}]\';; esac') });
  const read = await vi.waitFor(() => readings.latest() ?? Promise.reject(new Error("not read yet")), { timeout: 20_000 });
  expect(read.gpus).toEqual([{ index: 0, name: "MI300X", utilisation: 0.03 }]);
});

test("a DCGM exporter speaks before any tool, and a tool where it is silent", async () => {
  let answer = 'DCGM_FI_DEV_GPU_UTIL{gpu="7"} 12\n';
  const server = createServer((_request, response) => response.writeHead(answer === "" ? 500 : 200).end(answer));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => (server.closeAllConnections(), server.close()));
  const { readings } = await begin({ dcgmUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/metrics`, nvidia: await program('echo "3, GPU-1, NVIDIA L4, 23034, 1, 5, 36, 12.9"'), everyMs: 10 });
  await vi.waitFor(() => expect(readings.latest()?.gpus).toMatchObject([{ index: 7 }]), { timeout: 20_000 });
  answer = "";
  await vi.waitFor(() => expect(readings.latest()?.gpus).toMatchObject([{ index: 3 }]), { timeout: 20_000 });
});

test("an old reading is absent, and not repeated", async () => {
  const { readings, clock } = await begin({});
  await vi.waitFor(() => expect(readings.latest()).toBeDefined(), { timeout: 20_000 });
  clock.at += readingsFreshMs;
  expect(readings.latest()).toMatchObject({ ageMs: readingsFreshMs });
  clock.at += 1;
  expect(readings.latest()).toBeUndefined();
});

test("steady() says the same as long as nothing a person would see has changed", () => {
  const gib = 1024 ** 3;
  const at = (ageMs: number, noise: number) => ({ ageMs, gpus: [{ index: 0, uuid: "GPU-1", memoryUsedBytes: 10 * gib + noise * 1024, memoryTotalBytes: 80 * gib, utilisation: 0.07 + noise / 1e4, temperatureC: 40 + noise / 10, powerW: 70 + noise }, { index: 1 }], host: { cpus: 8, load1: 0.01 + noise / 100, memoryUsedBytes: 4 * gib + noise * 1e6, memoryTotalBytes: 64 * gib, diskFreeBytes: 100 * gib - noise * 1e6 } });
  expect(JSON.stringify(steady(at(200, 1)))).toBe(JSON.stringify(steady(at(14_900, 4))));
  expect(steady(at(15_000, 0))).toEqual({ ageMs: 15_000, gpus: [{ index: 0, uuid: "GPU-1", memoryUsedBytes: 10 * gib, memoryTotalBytes: 80 * gib, utilisation: 0.07, temperatureC: 40, powerW: 70 }, { index: 1 }], host: { cpus: 8, load1: 0, memoryUsedBytes: 4 * gib, memoryTotalBytes: 64 * gib, diskFreeBytes: 100 * gib } });
  expect(steady({ ageMs: 0, gpus: [] })).toEqual({ ageMs: 0, gpus: [] });
});

test("hostReading() counts what the kernel would give back as free, and says nothing where the system does not", () => {
  const figures = { cpus: 8, loads: [1.5, 1, 1], totalBytes: 64e9, freeBytes: 1e9, meminfo: "MemTotal:       62500000 kB\nMemAvailable:   31250000 kB\n", disk: { blockBytes: 4096, blocks: 100, available: 25 } };
  expect(hostReading(figures)).toEqual({ cpus: 8, load1: 1.5, memoryTotalBytes: 64e9, memoryUsedBytes: 32e9, diskFreeBytes: 102_400, diskTotalBytes: 409_600 });
  expect(hostReading({ ...figures, loads: [0, 0, 0], meminfo: undefined, disk: undefined })).toEqual({ cpus: 8, memoryTotalBytes: 64e9, memoryUsedBytes: 63e9 });
});
