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
