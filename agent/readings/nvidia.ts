import type { GpuReading } from "../../schema/readings.ts";

/** Asked for by name, so that the order is ours (`nvidia-smi --help-query-gpu`; facts/engines.md §8). */
export const nvidiaFields = ["index", "uuid", "name", "memory.total", "memory.used", "utilization.gpu", "temperature.gpu", "power.draw"] as const;

const mebibyte = 1024 * 1024;

/** A number in `nvidia-smi`'s CSV; undefined for `[N/A]`, `[Not Supported]`, `[Unknown Error]`, `ERR!` and whatever else is none. */
function numberIn(text: string | undefined): number | undefined {
  const match = /^\s*(\d+(?:\.\d+)?)(?:\s*(?:MiB|%|W|C))?\s*$/.exec(text ?? "");
  return match === null ? undefined : Number(match[1]);
}

function wordIn(text: string | undefined): string | undefined {
  const word = text?.trim() ?? "";
  return word === "" || word.startsWith("[") || word === "ERR!" || word === "N/A" ? undefined : word.slice(0, 80);
}

/**
 * Reads `nvidia-smi --query-gpu=… --format=csv,noheader,nounits`. A board that is cut by MIG says `[N/A]` to its utilisation: its slices
 * do the work. Lines that are no GPU (warnings, `No devices were found`) are passed over.
 */
export function nvidiaGpus(output: string): GpuReading[] {
  const gpus: GpuReading[] = [];
  for (const line of output.split("\n")) {
    const fields = line.split(",").map((field) => field.trim());
    const index = numberIn(fields[0]);
    if (fields.length < nvidiaFields.length || index === undefined) continue;
    const [, uuid, name, total, used, utilisation, temperature, power] = fields;
    gpus.push(reading({
      index, uuid: wordIn(uuid), name: wordIn(name),
      memoryTotalBytes: scaled(numberIn(total), mebibyte), memoryUsedBytes: scaled(numberIn(used), mebibyte),
      utilisation: share(numberIn(utilisation)), temperatureC: numberIn(temperature), powerW: numberIn(power),
    }));
  }
  return gpus;
}

/** A number times a unit. */
export function scaled(value: number | undefined, unit: number): number | undefined {
  return value === undefined ? undefined : Math.round(value * unit);
}

/** Per cent as 0..1; more than all is no reading. */
export function share(percent: number | undefined): number | undefined {
  return percent === undefined || percent > 100 ? undefined : percent / 100;
}

/** Without what is not known. */
export function reading(all: { [Field in keyof GpuReading]: GpuReading[Field] | undefined } & { index: number }): GpuReading {
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as unknown as GpuReading;
}
