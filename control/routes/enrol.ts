import { Hono } from "hono";
import { enrolSchema, type Enrolled } from "../../schema/api.ts";
import { FairleadError } from "../../schema/errors.ts";
import { newId } from "../../schema/ids.ts";
import { keyId, keyMatches } from "../../schema/key.ts";
import { readBody } from "../body.ts";
import { change } from "../change.ts";
import type { Context } from "../context.ts";
import { checkProof } from "../enrolment.ts";
import { addHost, findInvite, useInvite } from "../queries/hosts.ts";

/** How a host joins: a single-use token from `fairlead hosts invite`, and proof of the key that it will use from then on. */
export function enrolRoutes(context: Context): Hono {
  const routes = new Hono();
  const { db, clock, pepper, fleetUrl } = context;

  routes.post("/", async (c) => {
    const request = await readBody(c, enrolSchema);
    const tokenId = keyId(request.token, "flj");
    if (tokenId === undefined) throw new FairleadError("invalid_api_key", "Cannot enrol this host: the token is not a join token, or was not copied whole", { param: "token" });
    const invite = await findInvite(db.rows, tokenId);
    if (invite === undefined || !(await keyMatches(request.token, invite.digest, pepper))) {
      throw new FairleadError("invalid_api_key", "Cannot enrol this host: the join token is not known", { param: "token" });
    }
    await checkProof(tokenId, request);
    const host = newId("host", clock.now());
    await change(context, async (rows) => {
      const now = clock.now();
      if (!(await useInvite(rows, tokenId, now))) {
        throw new FairleadError("permission_denied", "Cannot enrol this host: the join token was used before or is older than 15 minutes; make another with fairlead hosts invite", { param: "token" });
      }
      await addHost(rows, { id: host, name: invite.name ?? request.name, region: invite.region, publicKey: request.publicKey, sealKey: request.sealKey, createdAt: now, revokedAt: null, drainingAt: null });
    });
    return c.json({ host, region: invite.region, fleetUrl } satisfies Enrolled, 201);
  });

  return routes;
}
