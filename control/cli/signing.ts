import { readFile, stat } from "node:fs/promises";
import { CompactSign, calculateJwkThumbprint, exportJWK, importPKCS8 } from "jose";
import type { PutService } from "../../schema/api.ts";
import type { ServiceSecrets } from "../../schema/service.ts";
import type { ServiceSpec } from "../../schema/serviceSpec.ts";
import { newSalt, secretsCommitment, signedAlgorithm, signedTask, signedType, type SignedSpec } from "../../schema/signedSpec.ts";
import type { Signing } from "../routes/services.ts";
import type { Client } from "./client.ts";
import { Failure } from "./failure.ts";

export interface SignKey {
  key: CryptoKey;
  /** The thumbprint of its public half (RFC 7638). */
  id: string;
}

/** The operator's private key, PKCS #8 in PEM. @throws Failure when it cannot be used, or others can read it */
export async function readSignKey(file: string | undefined): Promise<SignKey | undefined> {
  if (file === undefined || file === "") return undefined;
  const found = await stat(file).catch((error: Error) => {
    throw new Failure(`Cannot read the sign key: ${error.message}`);
  });
  if (process.platform !== "win32" && (found.mode & 0o077) !== 0) throw new Failure(`Cannot use the sign key ${file}: others than its owner can read it; run chmod 600 ${file}`);
  try {
    const key = await importPKCS8(await readFile(file, "utf8"), signedAlgorithm, { extractable: true });
    const { kty, crv, x } = await exportJWK(key);
    return { key, id: await calculateJwkThumbprint({ kty, crv, x } as Parameters<typeof calculateJwkThumbprint>[0]) };
  } catch {
    throw new Failure(`Cannot use the sign key ${file}: it is no Ed25519 private key in PEM; fairlead operator keygen makes one`);
  }
}

/**
 * Sign what a service runs, under the version that control gives it next: a host that has seen a version takes none below it.
 *
 * @param version in place of the one that control says, where control was restored from an older copy
 */
export async function signService(client: Client, { key, id }: SignKey, spec: ServiceSpec, { replica }: ServiceSecrets, version: number | undefined): Promise<PutService["signed"]> {
  if (spec.task === undefined) return undefined;
  const { next } = await client.call<Signing>("GET", `/v1/services/${encodeURIComponent(spec.name)}/signing`);
  const salt = Object.keys(replica).length === 0 ? undefined : newSalt();
  const payload: SignedSpec = {
    service: spec.name,
    version: Math.max(version ?? 0, next),
    signedAt: Date.now(),
    replicasMax: spec.replicas.max,
    task: signedTask(spec.task),
    ...(salt === undefined ? {} : { secrets: await secretsCommitment(salt, replica) }),
  };
  const jws = await new CompactSign(new TextEncoder().encode(JSON.stringify(payload))).setProtectedHeader({ alg: signedAlgorithm, typ: signedType, kid: id }).sign(key);
  return { jws, ...(salt === undefined ? {} : { salt }) };
}
