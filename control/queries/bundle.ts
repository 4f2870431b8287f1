import { desc, eq, isNull, sql } from "drizzle-orm";
import { hosts, keys, removed, services, settings, type HostRow, type KeyRow, type ServiceRow } from "../../schema/tables.ts";
import type { Rows } from "../db.ts";

const versionName = "bundleVersion";

/** The bundle names so many removed replicas, the latest ones (schema/bundle.ts). */
const removedMax = 1000;

/** All that is published, as one transaction sees it. */
export interface Published {
  version: number;
  services: ServiceRow[];
  keys: KeyRow[];
  hosts: HostRow[];
  removed: string[];
}

export async function readPublished(rows: Rows): Promise<Published> {
  return {
    version: await bundleVersion(rows),
    services: await rows.select().from(services).where(isNull(services.deletedAt)).orderBy(services.name),
    keys: await rows.select().from(keys).where(isNull(keys.revokedAt)).orderBy(keys.createdAt, keys.id),
    hosts: await rows.select().from(hosts).orderBy(hosts.createdAt, hosts.id),
    removed: (await rows.select().from(removed).orderBy(desc(removed.removedAt)).limit(removedMax)).map(({ id }) => id),
  };
}

/** The number of the configuration as it stands; 1 for a new database. */
export async function bundleVersion(rows: Rows): Promise<number> {
  const [row] = await rows.select().from(settings).where(eq(settings.name, versionName));
  return row?.value ?? 1;
}

/** Give the configuration its next number, one above `atLeast` where that is higher. Part of the transaction of the change. */
export async function raiseBundleVersion(rows: Rows, atLeast = 0): Promise<number> {
  const next = Math.max(await bundleVersion(rows), atLeast) + 1;
  await rows.insert(settings).values({ name: versionName, value: next }).onConflictDoUpdate({ target: settings.name, set: { value: sql`excluded.value` } });
  return next;
}

export async function addRemoved(rows: Rows, id: string, now: number): Promise<void> {
  await rows.insert(removed).values({ id, removedAt: now }).onConflictDoNothing();
}
