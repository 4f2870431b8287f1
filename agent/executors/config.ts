import { isAbsolute } from "node:path";
import { z } from "zod";
import { parseBytes } from "../../schema/resources.ts";
import { freeBytesMin } from "./disk.ts";

const bytes = z.union([z.string(), z.number()]).transform((value, context) => {
  const found = parseBytes(String(value));
  if (found !== undefined) return found;
  context.addIssue({ code: "custom", message: `"${value}" is not a size: write 512MiB or 64GiB` });
  return z.NEVER;
});

const absolute = z.string().refine((path) => isAbsolute(path), { error: "is not a whole path" });

/** A folder of the host that containers may be given, it and what is in it. */
const mountSchema = z.union([absolute.transform((path) => ({ path, writable: false })), z.strictObject({ path: absolute, writable: z.boolean().default(false) })]);

const dockerSchema = z.strictObject({
  socket: absolute.default("/var/run/docker.sock"),
  /** The OCI runtime, where it is not the engine's default: `nvidia` on older installations. */
  runtime: z.string().min(1).optional(),
  /** The engine's network that containers are in. `host` puts them on the host's own, without any wall between. */
  network: z.string().min(1).default("bridge"),
  /** Who they run as, in place of the image's own user. */
  user: z.string().min(1).optional(),
  mounts: z.array(mountSchema).default([]),
});
export type DockerConfig = z.infer<typeof dockerSchema>;

/** `executors:` of a host's own configuration: which ways to run replicas it offers besides processes, and their bounds. */
export const executorsSchema = z.strictObject({
  /** Present: services with an image run here. `docker: {}` takes every default. */
  docker: dockerSchema.optional(),
  /** What each replica may use at most, whatever its service says. */
  limits: z.strictObject({ memory: bytes.optional(), cpus: z.number().positive().optional(), pids: z.number().int().positive().optional() }).default({}),
  /** With less than this free where the agent's state is, nothing is started. */
  disk_free: bytes.default(freeBytesMin),
}).default({ limits: {}, disk_free: freeBytesMin });
export type ExecutorsConfig = z.infer<typeof executorsSchema>;
