import { and, eq, gt, isNull, sql } from "drizzle-orm";
import { hosts, invites, type HostRow, type InviteRow } from "../../schema/tables.ts";
import type { Rows } from "../db.ts";

export async function listHosts(rows: Rows): Promise<HostRow[]> {
  return rows.select().from(hosts).orderBy(hosts.createdAt, hosts.id);
}

export async function addHost(rows: Rows, row: typeof hosts.$inferInsert): Promise<void> {
  await rows.insert(hosts).values(row);
}

/** @returns whether there was such a host, not yet revoked */
export async function revokeHost(rows: Rows, id: string, now: number): Promise<boolean> {
  const result = await rows
    .update(hosts)
    .set({ revokedAt: now })
    .where(and(eq(hosts.id, id), isNull(hosts.revokedAt)));
  return result.rowsAffected > 0;
}

/** Want a host empty, or no longer. One that is draining keeps its time. @returns the host; undefined when there is none, or it is revoked */
export async function drainHost(rows: Rows, id: string, draining: boolean, now: number): Promise<HostRow | undefined> {
  const [host] = await rows
    .update(hosts)
    .set({ drainingAt: draining ? sql`coalesce(${hosts.drainingAt}, ${now})` : null })
    .where(and(eq(hosts.id, id), isNull(hosts.revokedAt)))
    .returning();
  return host;
}

export async function findHost(rows: Rows, id: string): Promise<HostRow | undefined> {
  const [row] = await rows.select().from(hosts).where(eq(hosts.id, id));
  return row;
}

/** Put new keys in the place of a host's, the old one beside them for a while. @returns false when its key is no longer the one given */
export async function rotateHost(rows: Rows, id: string, onFile: string, keys: { publicKey: string; sealKey: string; rotatedAt: number; previousUntil: number }): Promise<boolean> {
  const result = await rows
    .update(hosts)
    .set({ ...keys, previousKey: onFile })
    .where(and(eq(hosts.id, id), eq(hosts.publicKey, onFile), isNull(hosts.revokedAt)));
  return result.rowsAffected > 0;
}

/** Let a host back in that its hub has shut out. @returns whether there was such a host, not revoked */
export async function releaseHost(rows: Rows, id: string): Promise<boolean> {
  const result = await rows
    .update(hosts)
    .set({ releases: sql`${hosts.releases} + 1` })
    .where(and(eq(hosts.id, id), isNull(hosts.revokedAt)));
  return result.rowsAffected > 0;
}

export async function addInvite(rows: Rows, row: InviteRow): Promise<void> {
  await rows.insert(invites).values(row);
}

export async function findInvite(rows: Rows, id: string): Promise<InviteRow | undefined> {
  const [row] = await rows.select().from(invites).where(eq(invites.id, id));
  return row;
}

/** Spend an invite. @returns false when it is spent or too old: of two at once exactly one is told true */
export async function useInvite(rows: Rows, id: string, now: number): Promise<boolean> {
  const result = await rows
    .update(invites)
    .set({ usedAt: now })
    .where(and(eq(invites.id, id), isNull(invites.usedAt), gt(invites.expiresAt, now)));
  return result.rowsAffected === 1;
}
