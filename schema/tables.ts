import { customType, index, integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import type { rights } from "./bundle.ts";
import type { RolloutPolicy } from "./policy.ts";
import type { Region } from "./region.ts";
import { serviceSpecSchema, type ServiceSpec } from "./serviceSpec.ts";

/** A spec as JSON. One that an earlier version wrote gets the defaults of the fields that it lacks. */
const spec = customType<{ data: ServiceSpec; driverData: string }>({
  dataType: () => "text",
  toDriver: (value) => JSON.stringify(value),
  fromDriver: (json) => serviceSpecSchema.parse(JSON.parse(json)),
});

/** A version that may be gone back to: what its replicas run. */
export interface PreviousVersion {
  version: number;
  task: NonNullable<ServiceSpec["task"]>;
  /** As in `services`. */
  secrets: string;
  signed: string | null;
}

const specTask = serviceSpecSchema.shape.task.unwrap();

/** As `spec`. */
const previousVersion = customType<{ data: PreviousVersion; driverData: string }>({
  dataType: () => "text",
  toDriver: (value) => JSON.stringify(value),
  fromDriver: (json) => {
    const { task, ...version } = JSON.parse(json) as PreviousVersion;
    return { ...version, task: specTask.parse(task) };
  },
});

/** Control's database. Times are ms since the epoch. Nothing here is readable to who only has the file: keys are digests, secrets are encrypted. */
export const services = sqliteTable("services", {
  name: text().primaryKey(),
  /** Counts on through deletion, so that a replica of a deleted service is never taken for one of its successor. */
  version: integer().notNull(),
  /** As its author wrote it, without secrets. */
  yaml: text().notNull(),
  spec: spec().notNull(),
  /** `ServiceSecrets` as JSON, encrypted. */
  secrets: text().notNull(),
  /** What the operator signed, a compact JWS (`schema/signedSpec.ts`); absent: nothing. */
  signed: text(),
  /** The last version that served well before this one; absent: there is none, or it runs what this one runs. */
  previous: previousVersion(),
  /** How it is to take the place of the one before, where whoever updated it said something else than its file. */
  mode: text().$type<RolloutPolicy["mode"]>(),
  /** When it was first seen to answer; kept through the going and coming of replicas, as SkyServe's UPTIME is. */
  readySince: integer(),
  createdAt: integer().notNull(),
  updatedAt: integer().notNull(),
  deletedAt: integer(),
});
export type ServiceRow = typeof services.$inferSelect;

export const keys = sqliteTable("keys", {
  id: text().primaryKey(),
  name: text().notNull(),
  /** Hex HMAC-SHA-256 (`schema/key.ts`). */
  digest: text().notNull(),
  account: text().notNull(),
  rights: text({ mode: "json" }).$type<(typeof rights)[number][]>().notNull(),
  /** Absent: all services. */
  services: text({ mode: "json" }).$type<string[]>(),
  createdAt: integer().notNull(),
  expiresAt: integer(),
  revokedAt: integer(),
});
export type KeyRow = typeof keys.$inferSelect;

export const adminKeys = sqliteTable("admin_keys", {
  id: text().primaryKey(),
  digest: text().notNull(),
  createdAt: integer().notNull(),
});

export const hosts = sqliteTable("hosts", {
  id: text().primaryKey(),
  name: text().notNull(),
  region: text().$type<Region>().notNull(),
  /** Ed25519, raw, base64. */
  publicKey: text().notNull(),
  /** X25519, raw, base64. */
  sealKey: text().notNull(),
  /** Since when it has these keys; absent: since it joined. */
  rotatedAt: integer(),
  /** The key that it had before, as `publicKey`, and until when that one counts as well. */
  previousKey: text(),
  previousUntil: integer(),
  /** How often an operator has let it back in after its identity was seen twice at once. */
  releases: integer().notNull().default(0),
  createdAt: integer().notNull(),
  revokedAt: integer(),
  /** Since when its operator wants it empty. */
  drainingAt: integer(),
});
export type HostRow = typeof hosts.$inferSelect;

export const invites = sqliteTable("invites", {
  id: text().primaryKey(),
  digest: text().notNull(),
  region: text().$type<Region>().notNull(),
  /** The host's name, where the operator gave one. */
  name: text(),
  expiresAt: integer().notNull(),
  usedAt: integer(),
});
export type InviteRow = typeof invites.$inferSelect;

/** Replicas that people asked to have replaced. */
export const removed = sqliteTable("removed", { id: text().primaryKey(), removedAt: integer().notNull() }, (table) => [index("removed_by_age").on(table.removedAt)]);

/** One row a setting; `bundleVersion` is the number of the published configuration. */
export const settings = sqliteTable("settings", { name: text().primaryKey(), value: integer().notNull() });
