import { FairleadError } from "../../schema/errors.ts";
import type { RouteKey, RouteService } from "../../schema/bundle.ts";
import { keyId, keyMatches, pepperKey } from "../../schema/key.ts";
import type { RouterEnv } from "../env.ts";
import { newsFor, type View } from "../view.ts";
import { shownKey } from "./shown.ts";

/** Verified keys an isolate remembers per bundle; beyond it the oldest goes. */
const verifiedMax = 10_000;

let pepper: { text: string; key: CryptoKey } | undefined;

/** One answer for every way a key can be wrong: it says nothing about which. */
function refused(): FairleadError {
  return new FairleadError("invalid_api_key", "Cannot authenticate the request: the API key is missing, malformed, unknown or revoked");
}

async function verify(env: RouterEnv, view: View, id: string, key: string): Promise<RouteKey | undefined> {
  const record = view.routes.keys.get(id);
  if (record === undefined) return undefined;
  if (pepper?.text !== env.FAIRLEAD_KEY_PEPPER) pepper = { text: env.FAIRLEAD_KEY_PEPPER, key: await pepperKey(env.FAIRLEAD_KEY_PEPPER) };
  if (!(await keyMatches(key, record.digest, pepper.key))) return undefined;
  const { verified } = view.routes;
  if (verified.size >= verifiedMax) {
    const oldest = verified.keys().next();
    if (!oldest.done) verified.delete(oldest.value);
  }
  verified.set(key, record);
  return record;
}

/**
 * Who is asking, offline: prefix and checksum, then the bundle's keyed digest in constant time, then remembered by the whole key
 * for as long as this bundle is in use.
 *
 * @throws FairleadError `invalid_api_key`, or `permission_denied` for a right the key lacks
 */
export function authenticate(env: RouterEnv, request: Request, view: View, right: RouteKey["rights"][number]): RouteKey | Promise<RouteKey> {
  const key = shownKey(request.headers);
  if (key === undefined) throw refused();
  const record = view.routes.verified.get(key);
  return record === undefined ? lookedUp(env, request, view, key).then((found) => withRight(found, right)) : withRight(record, right);
}

async function lookedUp(env: RouterEnv, request: Request, view: View, key: string): Promise<RouteKey> {
  const id = keyId(key, "fl");
  if (id === undefined) throw refused();
  let record = await verify(env, view, id, key);
  // a key that was made a moment ago may not have reached this isolate
  if (record === undefined && !view.routes.keys.has(id)) record = await verify(env, await newsFor(env, request, view), id, key);
  if (record === undefined) throw refused();
  return record;
}

function withRight(record: RouteKey, right: RouteKey["rights"][number]): RouteKey {
  if (record.expiresAt !== undefined && record.expiresAt <= Date.now()) throw refused();
  if (!record.rights.includes(right)) throw new FairleadError("permission_denied", `Cannot use this key for ${right}: it has not got that right`);
  return record;
}

/** Whether a key may call a service. */
export function mayCall(key: RouteKey, service: RouteService): boolean {
  return key.services === undefined || key.services.includes(service.name);
}
