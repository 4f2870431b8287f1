const crockford = "0123456789abcdefghjkmnpqrstvwxyz";

/** Kinds of things that have an id, and the prefix by which a reader knows them. */
export type IdKind = "host" | "req" | "acct";

/**
 * A new id: `<kind>_` and 26 Crockford base-32 characters, the first ten of which are the time (as in a ULID), so ids sort
 * by age and are never used twice.
 *
 * @param now milliseconds since the Unix epoch
 * @param bytes sixteen random bytes
 */
export function newId(kind: IdKind, now: number, bytes: Uint8Array = crypto.getRandomValues(new Uint8Array(16))): string {
  let time = "";
  for (let value = now, i = 0; i < 10; i++, value = Math.floor(value / 32)) time = (crockford[value % 32] ?? "0") + time;
  let tail = "";
  for (let i = 0; i < 16; i++) tail += crockford[(bytes[i] ?? 0) & 31];
  return `${kind}_${time}${tail}`;
}

/** What a service may be called: a DNS label, so that it fits a path, a label and a process environment. */
export const serviceNamePattern = /^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$/;

/**
 * The name of a replica: service, region and a number that its Hub never gives twice.
 *
 * @example replicaId("chat", "local", 3) // "chat.local.3"
 */
export function replicaId(service: string, region: string, number: number): string {
  return `${service}.${region}.${number}`;
}
