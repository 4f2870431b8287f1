import { z } from "zod";

/** GPUs of one host at most: eight boards of seven MIG slices, and some. */
export const gpusMax = 64;

/** A host reads itself this often, off the heartbeat's path: utilisation is an average over about a second of each. */
export const readingsEveryMs = 10_000;
/** A reading older than three rounds is no reading any more: it is left out, never repeated. */
export const readingsFreshMs = 3 * readingsEveryMs;

const count = z.number().nonnegative();
/** A figure that cannot be is left out, and takes nothing else with it. */
const maybe = <Schema extends z.ZodType>(schema: Schema) => schema.optional().catch(undefined);

/** One GPU, or one MIG slice of it. What its tool does not say is absent. */
export const gpuReadingSchema = z.object({
  /** As its tool numbers it. */
  index: z.number().int().nonnegative().max(1024),
  uuid: maybe(z.string().max(80)),
  name: maybe(z.string().max(80)),
  memoryUsedBytes: maybe(count),
  memoryTotalBytes: maybe(count),
  /** 0..1. */
  utilisation: maybe(z.number().min(0).max(1)),
  temperatureC: maybe(z.number().min(-100).max(300)),
  powerW: maybe(z.number().min(0).max(10_000)),
  /** The slice's number where the board is cut by MIG. */
  slice: maybe(z.number().int().nonnegative().max(64)),
});
export type GpuReading = z.infer<typeof gpuReadingSchema>;

export const hostReadingSchema = z.object({
  cpus: maybe(z.number().int().nonnegative()),
  /** Processes that run or wait to, the average of a minute. */
  load1: maybe(count),
  memoryUsedBytes: maybe(count),
  memoryTotalBytes: maybe(count),
  /** Of the file system that holds the agent's state folder. */
  diskFreeBytes: maybe(count),
  diskTotalBytes: maybe(count),
});
export type HostReading = z.infer<typeof hostReadingSchema>;

/** What a host reads of itself: optional in a heartbeat, and never a reason to refuse one. */
export const readingsSchema = z.object({
  /** How old it was when it was sent: clocks of hosts differ. */
  ageMs: count,
  gpus: z.array(gpuReadingSchema).max(gpusMax),
  host: hostReadingSchema.optional(),
});
export type Readings = z.infer<typeof readingsSchema>;
