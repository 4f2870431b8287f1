import { Hono } from "hono";
import type { z } from "zod";
import { enrolSchema, rotateSchema, type Enrolled, type rotatedSchema } from "../../schema/api.ts";
import { FairleadError } from "../../schema/errors.ts";
import { newId } from "../../schema/ids.ts";
import { keyId, keyMatches } from "../../schema/key.ts";
import { keyTimes } from "../../schema/protocol.ts";
import { readBody } from "../body.ts";
import { change } from "../change.ts";
import type { Context } from "../context.ts";
import { checkProof, checkRotation } from "../enrolment.ts";
import { addHost, findHost, findInvite, rotateHost, useInvite } from "../queries/hosts.ts";

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

  /** A host gives itself new keys, proved by the old one: again with the same keys is the same answer. */
  routes.post("/rotate", async (c) => {
    const request = await readBody(c, rotateSchema);
    const stranger = new FairleadError("permission_denied", `Cannot take new keys for host "${request.host}": it is unknown or revoked`, { param: "host" });
    const row = await findHost(db.rows, request.host);
    if (row === undefined || row.revokedAt !== null) throw stranger;
    const repeated = row.publicKey === request.publicKey && row.sealKey === request.sealKey && row.previousKey !== null;
    await checkRotation(repeated ? (row.previousKey ?? "") : row.publicKey, request);
    const rotatedAt = clock.now();
    const previousUntil = repeated ? (row.previousUntil ?? rotatedAt) : rotatedAt + keyTimes.overlapMs;
    if (!repeated) {
      await change(context, async (rows) => {
        if (!(await rotateHost(rows, request.host, row.publicKey, { publicKey: request.publicKey, sealKey: request.sealKey, rotatedAt, previousUntil }))) throw stranger;
      });
    }
    return c.json({ previousUntil } satisfies z.infer<typeof rotatedSchema>);
  });

  return routes;
}
