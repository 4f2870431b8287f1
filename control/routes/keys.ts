import { Hono } from "hono";
import { createKeySchema } from "../../schema/api.ts";
import { FairleadError } from "../../schema/errors.ts";
import { keyDigest, newKey } from "../../schema/key.ts";
import type { KeyRow } from "../../schema/tables.ts";
import { readBody } from "../body.ts";
import { change } from "../change.ts";
import type { Context } from "../context.ts";
import { addKey, listKeys, revokeKey } from "../queries/keys.ts";
import { listServices } from "../queries/services.ts";

export function keyRoutes(context: Context): Hono {
  const routes = new Hono();
  const { db, clock, pepper } = context;

  routes.post("/", async (c) => {
    const { name, account, rights, services, expiresAt } = await readBody(c, createKeySchema);
    const now = clock.now();
    if (expiresAt !== undefined && expiresAt <= now) throw new FairleadError("invalid_request", `Cannot make key "${name}": it would have expired at ${new Date(expiresAt).toISOString()}`, { param: "expiresAt" });
    const known = new Set((await listServices(db.rows)).map((service) => service.name));
    const unknown = (services ?? []).filter((service) => !known.has(service));
    const { id, key } = newKey("fl");
    const row: KeyRow = { id, name, digest: await keyDigest(key, pepper), account, rights, services: services ?? null, createdAt: now, expiresAt: expiresAt ?? null, revokedAt: null };
    const { published, reason } = await change(context, (rows) => addKey(rows, row));
    // the only time the key itself is shown
    return c.json({ ...describe(row), key, ...(unknown.length === 0 ? {} : { unknown }), published, ...(reason === undefined ? {} : { reason }) }, 201);
  });

  routes.get("/", async (c) => c.json({ keys: (await listKeys(db.rows)).map(describe) }));

  routes.delete("/:id", async (c) => {
    const id = c.req.param("id");
    const { published, reason } = await change(context, async (rows) => {
      if (!(await revokeKey(rows, id, clock.now()))) throw new FairleadError("not_found", `Cannot revoke key "${id}": there is no such key, or it is revoked`);
    });
    return c.json({ id, revoked: true, published, ...(reason === undefined ? {} : { reason }) });
  });

  return routes;
}

/** A key as people see it: everything but what proves it. */
function describe({ id, name, account, rights, services, createdAt, expiresAt, revokedAt }: KeyRow): Omit<KeyRow, "digest"> {
  return { id, name, account, rights, services, createdAt, expiresAt, revokedAt };
}
