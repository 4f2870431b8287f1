import { z } from "zod";
import { toBase64 } from "./seal.ts";
import { taskSchema } from "./task.ts";

/**
 * What an operator signs, so that a host runs what the operator said and nothing that hubs, edge or control made of it: the payload
 * of a compact JWS (RFC 7515, EdDSA). What an agent executes is parsed from these bytes; fields that travel beside them count for
 * nothing.
 *
 * Unknown fields of it and of its task are refused, against the wire's rule: one of them may be a limit that an older agent would not keep.
 */
export const signedSpecSchema = z.strictObject({
  service: z.string(),
  /** A host that has seen a higher one of this service refuses it. */
  version: z.number().int().positive(),
  /** By the operator's clock (ms since the epoch); for people. */
  signedAt: z.number(),
  /** So many replicas of it on one host, at most. */
  replicasMax: z.number().int().nonnegative(),
  task: taskSchema.omit({ service: true, version: true, digest: true, sealedSecrets: true, signed: true, accelerators: true, places: true }).strict(),
  /** `secretsCommitment`; absent: it has no secrets. */
  secrets: z.string().optional(),
});
export type SignedSpec = z.infer<typeof signedSpecSchema>;

/** What of a service's task is signed: what hosts act on. By the rest hubs choose the host, which is free to refuse. */
export function signedTask<T extends { accelerators?: unknown; places?: unknown }>(task: T): Omit<T, "accelerators" | "places"> {
  const { accelerators: _accelerators, places: _places, ...signed } = task;
  return signed;
}

/** The JWS's `typ`: another signature of the same key cannot be taken for one of a spec. */
export const signedType = "fairlead-spec+jws";

/** How the operator's keys are used: Ed25519 (RFC 8037). */
export const signedAlgorithm = "EdDSA";

/** The name under which the salt of a commitment travels among the sealed secrets; no environment variable can be called so. */
export const saltName = ":salt";

/** 256 random bits, base64: with them a commitment tells nothing of what it is to. */
export function newSalt(): string {
  return toBase64(crypto.getRandomValues(new Uint8Array(32)));
}

/** Binds a signature to the secrets of a service without telling them: hubs can neither read nor exchange them. */
export async function secretsCommitment(salt: string, secrets: Readonly<Record<string, string>>): Promise<string> {
  const sorted = Object.entries(secrets).sort(([a], [b]) => (a < b ? -1 : 1));
  return toBase64(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(JSON.stringify(["fairlead-secrets-1", salt, sorted])))));
}
