import { base64url, decodeProtectedHeader } from "jose";
import { FairleadError } from "../schema/errors.ts";
import type { ServiceSecrets } from "../schema/service.ts";
import type { ServiceSpec } from "../schema/serviceSpec.ts";
import { secretsCommitment, signedSpecSchema, signedTask, signedType, type SignedSpec } from "../schema/signedSpec.ts";
import { same } from "./same.ts";

export interface Signed {
  spec: SignedSpec;
  /** The key's thumbprint (RFC 7638), as its signer says. */
  keyId: string;
}

/**
 * What a JWS says of a service. Its signature is not checked: control has no operator's key and is not to be trusted with one. Hosts
 * check it; here only that what was signed is what the file says, so that a mistake is told to who made it.
 *
 * @throws FairleadError when it is no signed spec
 */
export function readSigned(service: string, jws: string): Signed {
  const refuse = (why: string): FairleadError => new FairleadError("invalid_request", `Cannot use what was signed of service "${service}": ${why}`, { param: "signed" });
  try {
    const { typ, kid } = decodeProtectedHeader(jws);
    if (typ !== signedType || typeof kid !== "string") throw refuse("it is no signed spec");
    const parsed = signedSpecSchema.safeParse(JSON.parse(new TextDecoder().decode(base64url.decode(jws.split(".")[1] ?? ""))));
    if (parsed.success) return { spec: parsed.data, keyId: kid };
    const issue = parsed.error.issues[0];
    throw refuse(`${issue?.path.join(".") ?? ""} ${issue?.message ?? "is not understood"}: fairlead and control may be of different versions`);
  } catch (error) {
    throw error instanceof FairleadError ? error : refuse("it is no JWS");
  }
}

/** What of a file an operator signs, as far as it differs from what was signed; empty when it says the same. */
export async function unsignedParts({ spec: signed }: Signed, service: ServiceSpec, { replica }: ServiceSecrets, salt: string | undefined): Promise<string[]> {
  const parts: string[] = [];
  if (signed.service !== service.name) parts.push("name");
  if (service.task === undefined) return [...parts, "run"];
  const task = signedTask(service.task);
  for (const field of new Set([...Object.keys(signed.task), ...Object.keys(task)]) as Set<keyof SignedSpec["task"]>) if (!same(signed.task[field], task[field])) parts.push(field);
  if (signed.replicasMax !== service.replicas.max) parts.push("replicas");
  const commitment = Object.keys(replica).length === 0 ? undefined : salt === undefined ? "" : await secretsCommitment(salt, replica);
  if (signed.secrets !== commitment) parts.push("secrets");
  return parts;
}
