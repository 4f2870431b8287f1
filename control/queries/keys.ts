import { and, count, eq, isNull } from "drizzle-orm";
import { adminKeys, keys, type KeyRow } from "../../schema/tables.ts";
import type { Rows } from "../db.ts";

export async function listKeys(rows: Rows): Promise<KeyRow[]> {
  return rows.select().from(keys).orderBy(keys.createdAt, keys.id);
}

export async function addKey(rows: Rows, row: KeyRow): Promise<void> {
  await rows.insert(keys).values(row);
}

/** @returns whether there was such a key, not yet revoked */
export async function revokeKey(rows: Rows, id: string, now: number): Promise<boolean> {
  const result = await rows
    .update(keys)
    .set({ revokedAt: now })
    .where(and(eq(keys.id, id), isNull(keys.revokedAt)));
  return result.rowsAffected > 0;
}

export async function adminKeyDigest(rows: Rows, id: string): Promise<string | undefined> {
  const [row] = await rows.select().from(adminKeys).where(eq(adminKeys.id, id));
  return row?.digest;
}

export async function adminKeyCount(rows: Rows): Promise<number> {
  const [row] = await rows.select({ keys: count() }).from(adminKeys);
  return row?.keys ?? 0;
}

/** Add an admin key, or give it a digest under today's pepper. */
export async function saveAdminKey(rows: Rows, id: string, digest: string, now: number): Promise<void> {
  await rows.insert(adminKeys).values({ id, digest, createdAt: now }).onConflictDoUpdate({ target: adminKeys.id, set: { digest } });
}
