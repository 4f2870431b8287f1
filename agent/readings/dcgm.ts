import type { GpuReading } from "../../schema/readings.ts";
import { reading, scaled, share } from "./nvidia.ts";

const mebibyte = 1024 * 1024;
const line = /^(DCGM_FI_(?:DEV|PROF)_[A-Z0-9_]+)\{(.*)\}\s+(\S+)/;
const label = /([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"/g;

interface Seen {
  labels: Map<string, string>;
  values: Map<string, number>;
}

/**
 * Reads what the DCGM exporter says (facts/engines.md §8). A MIG slice is a row of its own, told apart by `GPU_I_ID`; DCGM's blanks
 * (2^63-ish, `NaN`) are no readings.
 */
export function dcgmGpus(text: string): GpuReading[] {
  const gpus = new Map<string, Seen>();
  for (const row of text.split("\n")) {
    const match = line.exec(row);
    if (match === null) continue;
    const [, name = "", labelText = "", number = ""] = match;
    const value = Number(number);
    const labels = new Map([...labelText.matchAll(label)].map(([, key = "", of = ""]) => [key, of]));
    const key = `${labels.get("gpu") ?? ""}/${labels.get("GPU_I_ID") ?? ""}`;
    const seen = gpus.get(key) ?? { labels, values: new Map<string, number>() };
    gpus.set(key, seen);
    // DCGM writes its blank values as numbers beyond 2^47 (dcgm_structs.h)
    if (Number.isFinite(value) && value >= 0 && value < 2 ** 47) seen.values.set(name, value);
  }
  return [...gpus.values()].flatMap(({ labels, values }) => {
    const index = Number(labels.get("gpu") ?? "");
    if (!/^\d+$/.test(labels.get("gpu") ?? "")) return [];
    const [used, free] = [values.get("DCGM_FI_DEV_FB_USED"), values.get("DCGM_FI_DEV_FB_FREE")];
    const slice = labels.get("GPU_I_ID");
    const total = used === undefined || free === undefined ? undefined : used + free + (values.get("DCGM_FI_DEV_FB_RESERVED") ?? 0);
    const busy = values.get("DCGM_FI_PROF_GR_ENGINE_ACTIVE");
    return [reading({
      index, uuid: labels.get("UUID")?.slice(0, 80), name: labels.get("modelName")?.slice(0, 80),
      slice: slice !== undefined && /^\d{1,2}$/.test(slice) ? Number(slice) : undefined,
      memoryUsedBytes: scaled(used, mebibyte), memoryTotalBytes: scaled(total, mebibyte),
      // a board under MIG has no GPU_UTIL; the profiling metric is there for each slice
      utilisation: share(values.get("DCGM_FI_DEV_GPU_UTIL")) ?? (busy !== undefined && busy <= 1 ? busy : undefined),
      temperatureC: values.get("DCGM_FI_DEV_GPU_TEMP"), powerW: values.get("DCGM_FI_DEV_POWER_USAGE"),
    })];
  });
}
