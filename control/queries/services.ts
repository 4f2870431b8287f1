import { and, eq, isNull, sql } from "drizzle-orm";
import { services, type ServiceRow } from "../../schema/tables.ts";
import type { Rows } from "../db.ts";

export async function listServices(rows: Rows): Promise<ServiceRow[]> {
  return rows.select().from(services).where(isNull(services.deletedAt)).orderBy(services.name);
}

export async function findService(rows: Rows, name: string): Promise<ServiceRow | undefined> {
  const [row] = await rows.select().from(services).where(and(eq(services.name, name), isNull(services.deletedAt)));
  return row;
}

/** The last version that a name has had, deleted or not; 0 for a new name. */
export async function lastVersion(rows: Rows, name: string): Promise<number> {
  const [row] = await rows.select({ version: services.version }).from(services).where(eq(services.name, name));
  return row?.version ?? 0;
}

export async function saveService(rows: Rows, row: Omit<ServiceRow, "deletedAt" | "readySince">): Promise<void> {
  await rows
    .insert(services)
    .values(row)
    .onConflictDoUpdate({ target: services.name, set: { ...row, deletedAt: null } });
}

/** Forget a service; its name and last version stay. @returns whether there was one */
export async function deleteService(rows: Rows, name: string, now: number): Promise<boolean> {
  const result = await rows
    .update(services)
    .set({ deletedAt: now, updatedAt: now, yaml: "", secrets: "", previous: null, mode: null, readySince: null })
    .where(and(eq(services.name, name), isNull(services.deletedAt)));
  return result.rowsAffected > 0;
}

/** Services were seen to answer: since when is kept of those that were not before. */
export async function noteReady(rows: Rows, ready: readonly { name: string; since: number }[]): Promise<void> {
  for (const { name, since } of ready) await rows.update(services).set({ readySince: since }).where(and(eq(services.name, name), isNull(services.deletedAt), isNull(services.readySince)));
}

/** The service other than `name` that claims one of these models, and the model. */
export async function modelOwner(rows: Rows, name: string, models: readonly string[]): Promise<{ service: string; model: string } | undefined> {
  for (const row of await rows.select({ name: services.name, spec: services.spec }).from(services).where(and(isNull(services.deletedAt), sql`${services.name} <> ${name}`))) {
    const model = row.spec.models.find((claimed) => models.includes(claimed));
    if (model !== undefined) return { service: row.name, model };
  }
  return undefined;
}
