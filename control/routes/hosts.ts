import { Hono } from "hono";
import { drainSchema, inviteSchema } from "../../schema/api.ts";
import { FairleadError } from "../../schema/errors.ts";
import { keyDigest, newKey } from "../../schema/key.ts";
import { readBody } from "../body.ts";
import { change } from "../change.ts";
import type { Context } from "../context.ts";
import { addInvite, drainHost, listHosts, releaseHost, revokeHost } from "../queries/hosts.ts";

/** A join token's life: long enough to paste it on the host, too short to lie about. */
const inviteMs = 15 * 60_000;

export function hostRoutes(context: Context): Hono {
  const routes = new Hono();
  const { db, clock, pepper, regions } = context;

  routes.post("/invites", async (c) => {
    const { region = regions[0], name } = await readBody(c, inviteSchema);
    if (region === undefined || !regions.includes(region)) {
      throw new FairleadError("invalid_request", `Cannot invite a host to region "${region}": this fleet's regions are ${regions.join(", ")}`, { param: "region" });
    }
    const { id, key: token } = newKey("flj");
    const expiresAt = clock.now() + inviteMs;
    const digest = await keyDigest(token, pepper);
    await db.transact((rows) => addInvite(rows, { id, digest, region, name: name ?? null, expiresAt, usedAt: null }));
    // the token goes in by standard input: arguments are seen by every user of a machine
    const command = `fairlead-agent join --control ${new URL(c.req.url).origin} --token-file -`;
    return c.json({ id, token, region, expiresAt, command }, 201);
  });

  routes.get("/", async (c) => c.json({ hosts: (await listHosts(db.rows)).map(({ id, name, region, createdAt, revokedAt, drainingAt }) => ({ id, name, region, createdAt, revokedAt, drainingAt })) }));

  routes.put("/:id/draining", async (c) => {
    const id = c.req.param("id");
    const { draining } = await readBody(c, drainSchema);
    const { result, published, reason } = await change(context, async (rows) => {
      const host = await drainHost(rows, id, draining, clock.now());
      if (host === undefined) throw new FairleadError("not_found", `Cannot ${draining ? "drain" : "use"} host "${id}": there is no such host, or it is revoked`);
      return host;
    });
    return c.json({ id, name: result.name, draining, published, ...(reason === undefined ? {} : { reason }) });
  });

  routes.post("/:id/release", async (c) => {
    const id = c.req.param("id");
    const { published, reason } = await change(context, async (rows) => {
      if (!(await releaseHost(rows, id))) throw new FairleadError("not_found", `Cannot release host "${id}": there is no such host, or it is revoked`);
    });
    return c.json({ id, released: true, published, ...(reason === undefined ? {} : { reason }) });
  });

  routes.delete("/:id", async (c) => {
    const id = c.req.param("id");
    const { published, reason } = await change(context, async (rows) => {
      if (!(await revokeHost(rows, id, clock.now()))) throw new FairleadError("not_found", `Cannot revoke host "${id}": there is no such host, or it is revoked`);
    });
    return c.json({ id, revoked: true, published, ...(reason === undefined ? {} : { reason }) });
  });

  return routes;
}
