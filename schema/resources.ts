import type { ResourceYaml, ResourcesYaml } from "./taskYaml.ts";

/** The machines that a task may run on: each entry of `any_of` or `ordered` laid over what they share. */
export function alternatives(resources: ResourcesYaml | null | undefined): ResourceYaml[] {
  const { any_of: anyOf, ordered, ...shared } = resources ?? {};
  const entries = [...(anyOf ?? []), ...(ordered ?? [])];
  return entries.length === 0 ? [shared] : entries.map((entry) => ({ ...shared, ...entry }));
}

/** The ports of one machine; a range counts with its ends. Undefined when one is no port. */
export function portsOf({ ports }: Pick<ResourceYaml, "ports">): number[] | undefined {
  const out: number[] = [];
  for (const port of ports == null ? [] : Array.isArray(ports) ? ports : [ports]) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(String(port).trim());
    const ends = match === null ? [] : [Number(match[1]), Number(match[2] ?? match[1])];
    if (ends.length === 0 || ends.some((end) => end < 1 || end > 65535)) return undefined;
    out.push(...new Set(ends));
  }
  return out;
}

/**
 * GPUs per replica, one number for each machine named: `A100:4`, `{L4: 8}`, the set `{L4:8, A100}` and lists. TPUs count as none:
 * agents hand out GPUs only.
 *
 * @returns an empty list when none is asked for
 */
export function gpuCounts(accelerators: ResourceYaml["accelerators"]): number[] {
  if (accelerators == null) return [];
  if (typeof accelerators === "string") return [count(accelerators)];
  if (Array.isArray(accelerators)) return accelerators.map((name) => count(name));
  return Object.entries(accelerators).map(([name, amount]) => count(amount === null ? name : `${name}:${amount}`));
}

function count(accelerator: string): number {
  const [name = "", amount = "1"] = accelerator.split(":");
  return /^tpu/i.test(name.trim()) ? 0 : Math.max(0, Math.ceil(Number(amount) || 0));
}

/** The image that a machine's `image_id` names as `docker:IMAGE`, by itself or by region; undefined for none, and for images of clouds. */
export function imageOf({ image_id: id }: Pick<ResourceYaml, "image_id">): string | undefined {
  const names: unknown[] = typeof id === "object" && id !== null ? Object.values(id) : [id];
  const found = names.find((name): name is string => typeof name === "string" && name.startsWith("docker:"));
  return found?.slice("docker:".length);
}

/**
 * What one replica may use at most: `cpus` and `memory` as given without a plus sign, the largest where there are several
 * machines to choose from. With one they are the least that is wanted, and bound nothing.
 *
 * @example limitsOf([{ cpus: "4", memory: "16" }]) // {cpus: 4, memoryBytes: 17179869184}
 */
export function limitsOf(machines: readonly Pick<ResourceYaml, "cpus" | "memory">[]): { cpus?: number; memoryBytes?: number } {
  const cpus = machines.map((machine) => exactly(machine.cpus));
  const memory = machines.map((machine) => parseBytes(textOf(machine.memory), "gib"));
  return {
    ...(cpus.every((count) => count !== undefined) ? { cpus: Math.max(...cpus) } : {}),
    ...(memory.every((bytes) => bytes !== undefined) ? { memoryBytes: Math.max(...memory) } : {}),
  };
}

function exactly(amount: unknown): number | undefined {
  const text = textOf(amount).trim();
  return /^\d+(\.\d+)?$/.test(text) && Number(text) > 0 ? Number(text) : undefined;
}

/** What a file gives as a number or as text; nothing for anything else. */
function textOf(value: unknown): string {
  return typeof value === "string" || typeof value === "number" ? String(value) : "";
}

const bytesPer: Readonly<Record<string, number>> = { b: 1, kb: 1e3, mb: 1e6, gb: 1e9, tb: 1e12, kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30, tib: 2 ** 40 };

/**
 * A size as people write it, in bytes, or undefined when it is none.
 *
 * @param unit what a bare number is in; without it a unit must be given
 * @example parseBytes("512MiB") // 536870912
 */
export function parseBytes(text: string, unit = ""): number | undefined {
  const [, amount, given = ""] = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/.exec(text.trim().toLowerCase()) ?? [];
  const each = bytesPer[given === "" ? unit : given];
  const bytes = amount === undefined || each === undefined ? 0 : Math.floor(Number(amount) * each);
  return bytes > 0 ? bytes : undefined;
}
