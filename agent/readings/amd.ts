import type { GpuReading } from "../../schema/readings.ts";
import { reading, scaled, share } from "./nvidia.ts";

/** A value of `amd-smi`: a bare number, `{"value": 42, "unit": "W"}` or `"N/A"`; up to ROCm 6.0 text with its unit (`"42 W"`). */
function valueOf(value: unknown): { value: number; unit: string } | undefined {
  if (typeof value === "number") return Number.isFinite(value) && value >= 0 ? { value, unit: "" } : undefined;
  if (typeof value === "string") {
    const match = /^\s*(\d+(?:\.\d+)?)\s*([A-Za-z%°]*)\s*$/.exec(value);
    return match === null ? undefined : { value: Number(match[1]), unit: match[2] ?? "" };
  }
  const inner = object(value);
  const plain = typeof inner["value"] === "object" ? undefined : valueOf(inner["value"] ?? "");
  return plain === undefined ? undefined : { value: plain.value, unit: typeof inner["unit"] === "string" ? inner["unit"] : plain.unit };
}

function object(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

const bytes: Record<string, number> = { B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3, "": 1024 ** 2 };

function sizeOf(value: unknown): number | undefined {
  const found = valueOf(value);
  return found === undefined ? undefined : scaled(found.value, bytes[found.unit.toUpperCase()] ?? 1024 ** 2);
}

function wordOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" && value !== "N/A" ? value.slice(0, 80) : undefined;
}

/** The list of GPUs, which newer versions put below `gpu_data`; what stands before the JSON is a warning. */
function rows(output: string): Record<string, unknown>[] {
  const from = output.search(/[[{]/);
  if (from < 0) return [];
  let value: unknown;
  try {
    value = JSON.parse(output.slice(from));
  } catch {
    return [];
  }
  const list = Array.isArray(value) ? value : (object(value)["gpu_data"] ?? [value]);
  return Array.isArray(list) ? list.map(object) : [];
}

/** Reads `amd-smi metric -m -u -p -t --json`, with names and uuids from `amd-smi static -a --json` where that was to be had. */
export function amdGpus(metric: string, known = ""): GpuReading[] {
  const names = new Map(rows(known).map((row) => [row["gpu"], { name: wordOf(object(row["asic"])["market_name"]), uuid: wordOf(object(row["asic"])["asic_serial"]) }]));
  return rows(metric).flatMap((row) => {
    const index = row["gpu"];
    if (typeof index !== "number" || !Number.isInteger(index) || index < 0) return [];
    const [usage, power, temperature, memory] = [object(row["usage"]), object(row["power"]), object(row["temperature"]), object(row["mem_usage"])];
    return [reading({
      index, uuid: names.get(index)?.uuid, name: names.get(index)?.name,
      memoryTotalBytes: sizeOf(memory["total_vram"]), memoryUsedBytes: sizeOf(memory["used_vram"]),
      utilisation: share(valueOf(usage["gfx_activity"])?.value),
      // data centre boards have no edge sensor and say N/A
      temperatureC: (valueOf(temperature["edge"]) ?? valueOf(temperature["hotspot"]))?.value,
      powerW: (valueOf(power["socket_power"]) ?? valueOf(power["average_socket_power"]))?.value,
    })];
  });
}
