import type { ResourceYaml, ResourcesYaml } from "./taskYaml.ts";

/** The machines that a task may run on: each entry of `any_of` or `ordered` laid over what they share. */
export function alternatives(resources: ResourcesYaml | null | undefined): ResourceYaml[] {
  const { any_of: anyOf, ordered, ...shared } = resources ?? {};
  const entries = [...(anyOf ?? []), ...(ordered ?? [])].map(namedOnce);
  const base = namedOnce(shared);
  return entries.length === 0 ? [base] : entries.map((entry) => ({ ...base, ...entry }));
}

/** `gpus` is another name of `accelerators`. */
function namedOnce({ gpus, ...machine }: ResourceYaml): ResourceYaml {
  return gpus == null ? machine : { ...machine, accelerators: gpus };
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
  return entriesOf(accelerators).map((entry) => count(entry));
}

/** `NAME` or `NAME:COUNT` of each alternative. */
export function entriesOf(accelerators: ResourceYaml["accelerators"]): string[] {
  if (accelerators == null) return [];
  if (typeof accelerators === "string") return [accelerators];
  if (Array.isArray(accelerators)) return accelerators;
  return Object.entries(accelerators).map(([name, amount]) => (amount === null ? name : `${name}:${amount}`));
}

function count(accelerator: string): number {
  const [name = "", ...rest] = accelerator.split(":");
  // of nvidia:24GB:2 the last is the count, of nvidia:24GB there is none
  const amount = rest.at(-1) ?? "1";
  return /^tpu/i.test(name.trim()) ? 0 : Math.max(0, Math.ceil(Number(memorySize.test(amount) ? 1 : amount) || 0));
}

/**
 * An accelerator's name in the one form in which names are compared: people write `a10g` and `A10g`, and mean one.
 *
 * @example acceleratorName("a100-80gb") // "A100-80GB"
 */
export function acceleratorName(name: string): string {
  return name.trim().toUpperCase();
}

/** How SkyPilot names accelerators by their memory. */
const memorySize = /^\d+[gmt]b\+?$/i;

/** What a replica may run on, as the machines name it: one of these, the first rather than the second. */
export function acceleratorsOf(machines: readonly Pick<ResourceYaml, "accelerators">[]): { name: string; count: number }[] {
  const entries = machines.flatMap(({ accelerators }) => entriesOf(accelerators));
  // by their memory, as in 24GB+ or nvidia:80GB, they may be any
  if (entries.some((entry) => entry.split(":").some((part) => memorySize.test(part)))) return [];
  const named = entries.map((entry) => {
    const [name = "", amount = "1"] = entry.split(":");
    return { name: acceleratorName(name), count: Number(amount) };
  });
  return named.filter(({ name, count: many }, i) => name !== "" && many > 0 && named.findIndex((other) => other.name === name && other.count === many) === i);
}

/** Where a replica may run: SkyPilot's `infra`, or its parts by themselves; `*` says nothing. */
export interface MachinePlace {
  cloud?: string;
  region?: string;
  zone?: string;
  spot?: boolean;
}

/** Each place once, in order; empty when some machine may be anywhere. */
export function placesOf(machines: readonly Pick<ResourceYaml, "infra" | "cloud" | "region" | "zone" | "use_spot">[]): MachinePlace[] {
  const places = machines.map(({ infra, cloud, region, zone, use_spot: spot }): MachinePlace => {
    // a context of Kubernetes may hold slashes of its own
    const [inCloud, inRegion, ...inZone] = textOf(infra).split("/");
    const parts = { cloud: inCloud || textOf(cloud), region: inRegion || textOf(region), zone: inZone.join("/") || textOf(zone) };
    const said = Object.entries(parts).filter(([, name]) => name !== "" && name !== "*").map(([part, name]) => [part, part === "cloud" ? name.toLowerCase() : name]);
    return { ...Object.fromEntries(said), ...(spot == null ? {} : { spot }) } as MachinePlace;
  });
  if (places.some((place) => Object.keys(place).length === 0)) return [];
  const texts = places.map((place) => JSON.stringify(place));
  return places.filter((_, i) => texts.indexOf(texts[i] ?? "") === i);
}

/** The image that a machine's `image_id` names as `docker:IMAGE`, by itself, by region or under `docker`; undefined for none, and for images of clouds. */
export function imageOf({ image_id: id }: Pick<ResourceYaml, "image_id">): string | undefined {
  const beside = typeof id === "object" ? id?.["docker"] : undefined;
  if (beside !== undefined) return beside.trim().replace(/^docker:/, "");
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
