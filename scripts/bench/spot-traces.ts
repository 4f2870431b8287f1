import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { z } from "zod";

/** Public traces of spot capacity, by set (arXiv 2411.01438; they carry no licence, so that they are read where they are and never committed). */
export const setNames = ["AWS1", "AWS2", "AWS3", "GCP1"] as const;
export type SetName = (typeof setNames)[number];

/** Instances that can be had, by zone and tick. */
export type Capacity = readonly (readonly number[])[];

/** Of the method: plans are made so often. */
export const tickS = 30;

const traceSchema = z.object({ metadata: z.object({ gap_seconds: z.number().positive() }), data: z.array(z.number().nonnegative()).min(1) });

/** Where a checkout has them beside it. */
export const usualTraces = fileURLToPath(new URL("../../../shared/data/spot-traces", import.meta.url));

export function hasTraces(folder: string): boolean {
  return setNames.every((name) => existsSync(`${folder}/${name}`));
}

/** What is said in place of figures. */
export function noTraces(folder: string): string {
  return `Spot placement is not measured: there are no traces in ${folder}.`;
}

/** One set, its zones of equal length. @throws when a file is not a trace */
export function readSet(folder: string, name: SetName): Capacity {
  const zones = readdirSync(`${folder}/${name}`).filter((file) => file.endsWith(".json")).sort().map((file) => traceSchema.parse(JSON.parse(readFileSync(`${folder}/${name}/${file}`, "utf8"))));
  const samples = Math.min(...zones.map(({ data }) => data.length));
  // in AWS3 one means as many as you like
  const unlimited = name === "AWS3";
  return zones.map(({ metadata, data }) => data.slice(0, samples).flatMap((value) => Array.from({ length: Math.round(metadata.gap_seconds / tickS) }, () => (unlimited && value > 0 ? 1_000_000 : value))));
}
