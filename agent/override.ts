import { z } from "zod";

/** What a host's owner takes away again, whatever services, signatures and templates say. Read again whenever its file changes. */
export const overrideSchema = z.strictObject({
  /** The kill switch: everything is drained and nothing started. */
  stop: z.boolean().default(false),
  /** Replicas on this host, at most. */
  max_replicas: z.number().int().min(0).optional(),
  /** Services that may run here; one that ends in `*` stands for all that begin so. */
  allowed_services: z.array(z.string().min(1)).optional(),
});
export type Override = z.infer<typeof overrideSchema>;

/** Why the owner does not let a replica of this service start beside so many; undefined when it may. */
export function overruled({ stop, max_replicas, allowed_services }: Override, service: string, alive: number): string | undefined {
  if (stop) return "this host's owner has stopped it";
  if (allowed_services !== undefined && !allowed_services.some((one) => (one.endsWith("*") ? service.startsWith(one.slice(0, -1)) : service === one))) return `this host's owner does not allow service ${service} here`;
  if (max_replicas !== undefined && alive >= max_replicas) return `this host's owner allows ${max_replicas} replica${max_replicas === 1 ? "" : "s"} here, and ${alive} run`;
  return undefined;
}
