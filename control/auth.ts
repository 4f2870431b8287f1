import type { MiddlewareHandler } from "hono";
import { FairleadError } from "../schema/errors.ts";
import { keyId, keyMatches } from "../schema/key.ts";
import type { Context } from "./context.ts";
import { adminKeyDigest } from "./queries/keys.ts";

/** Let only holders of an admin key (`fla_…`) through, as `Authorization: Bearer` or `x-api-key`. */
export function requireAdmin({ db, pepper }: Pick<Context, "db" | "pepper">): MiddlewareHandler {
  return async (c, next) => {
    const key = /^Bearer +(\S+) *$/i.exec(c.req.header("authorization") ?? "")?.[1] ?? c.req.header("x-api-key");
    if (key === undefined) throw new FairleadError("invalid_api_key", "Cannot use the control API without an admin key: send Authorization: Bearer fla_…");
    const id = keyId(key, "fla");
    const digest = id === undefined ? undefined : await adminKeyDigest(db.rows, id);
    if (digest === undefined || !(await keyMatches(key, digest, pepper))) {
      throw new FairleadError("invalid_api_key", key.startsWith("fl_") ? "Cannot use the control API with an inference key: an admin key begins with fla_" : "Cannot use the control API: the admin key is not known");
    }
    await next();
  };
}
