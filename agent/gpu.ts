import { execFile } from "node:child_process";

/** One GPU of this host. */
export interface Gpu {
  vendor: "nvidia" | "amd";
  /** As the vendor's tool counts: in the order of the PCI bus. */
  index: number;
  uuid: string;
}

/** `nvidia-smi` takes seconds on a machine with eight GPUs whose driver is not kept loaded. */
const toolTimeoutMs = 20_000;

/**
 * The GPUs that there are, by what NVIDIA's and AMD's tools say; none where there is no such tool.
 *
 * @param environment the agent's own: where it names visible devices, its owner leaves it those only
 */
export async function listGpus(environment: Readonly<Record<string, string | undefined>> = {}): Promise<Gpu[]> {
  const nvidia = parseNvidia(await ask("nvidia-smi", ["--query-gpu=index,uuid", "--format=csv,noheader"]));
  if (nvidia.length > 0) return visible(nvidia, environment["CUDA_VISIBLE_DEVICES"]);
  return visible(parseAmd(await ask("amd-smi", ["list", "--csv"])), environment["HIP_VISIBLE_DEVICES"] ?? environment["ROCR_VISIBLE_DEVICES"]);
}

function ask(tool: string, args: string[]): Promise<string> {
  return new Promise((resolve) => {
    execFile(tool, args, { timeout: toolTimeoutMs, encoding: "utf8" }, (error, output) => resolve(error ? "" : output));
  });
}

/** What `nvidia-smi --query-gpu=index,uuid --format=csv,noheader` prints: `0, GPU-…`; a GPU that fell off the bus is left out. */
export function parseNvidia(output: string): Gpu[] {
  return output.split("\n").flatMap((line) => {
    const [, index, uuid] = /^\s*(\d+)\s*,\s*(GPU-[\w-]+)\s*$/.exec(line) ?? [];
    return index === undefined || uuid === undefined ? [] : [{ vendor: "nvidia" as const, index: Number(index), uuid }];
  });
}

/** What `amd-smi list --csv` prints: a head that names the columns, then a line for each GPU (one for each partition of it). */
export function parseAmd(output: string): Gpu[] {
  const lines = output.split("\n").map((line) => line.split(",").map((cell) => cell.trim()));
  const head = lines.findIndex((cells) => cells.includes("gpu"));
  const names = lines[head] ?? [];
  return lines.slice(head + 1).flatMap((cells) => {
    const index = cells[names.indexOf("gpu")] ?? "";
    return head >= 0 && /^\d+$/.test(index) ? [{ vendor: "amd" as const, index: Number(index), uuid: cells[names.indexOf("gpu_uuid")] ?? index }] : [];
  });
}

/** Those of a list that a variable such as CUDA_VISIBLE_DEVICES names, by index or by the beginning of a UUID; as CUDA reads it, the first that is none ends the list. */
export function visible(gpus: readonly Gpu[], variable: string | undefined): Gpu[] {
  if (variable === undefined) return [...gpus];
  const out: Gpu[] = [];
  for (const name of variable.split(",").map((part) => part.trim())) {
    const found = gpus.find(({ index, uuid }) => (/^\d+$/.test(name) ? index === Number(name) : name !== "" && uuid.startsWith(name)));
    if (found === undefined) break;
    if (!out.includes(found)) out.push(found);
  }
  return out;
}

/**
 * What makes a process see these GPUs of a host and no others.
 *
 * @param gpus its own; none hides all
 * @param vendor whose GPUs the host has
 */
export function visibleDevices(gpus: readonly Gpu[], vendor: Gpu["vendor"] | undefined): Record<string, string> {
  // -1 names no device: both CUDA and HIP then see none, and an empty value is taken for an unset one by some engines
  const indices = gpus.length === 0 ? "-1" : gpus.map(({ index }) => index).join(",");
  switch (vendor) {
    // by index, since engines read the value as numbers (vLLM); CUDA's own order would be by speed
    case "nvidia": return { CUDA_VISIBLE_DEVICES: indices, CUDA_DEVICE_ORDER: "PCI_BUS_ID" };
    // not ROCR_VISIBLE_DEVICES as well: HIP would count anew among what that leaves
    case "amd": return { HIP_VISIBLE_DEVICES: indices };
    case undefined: return {};
  }
}
