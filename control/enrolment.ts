import type { Enrol, Rotate } from "../schema/api.ts";
import { FairleadError } from "../schema/errors.ts";
import { enrolText, rotateText } from "../schema/protocol.ts";
import { fromBase64 } from "../schema/seal.ts";

/** Check that the keys an agent hands in are whole, and that it holds the one it will prove itself with. @throws FairleadError */
export async function checkProof(tokenId: string, { publicKey, sealKey, signature }: Pick<Enrol, "publicKey" | "sealKey" | "signature">): Promise<void> {
  const raw = bytes("publicKey", publicKey, 32);
  bytes("sealKey", sealKey, 32);
  const proof = bytes("signature", signature, 64);
  const key = await crypto.subtle.importKey("raw", raw, "Ed25519", false, ["verify"]);
  const good = await crypto.subtle.verify("Ed25519", key, proof, new TextEncoder().encode(enrolText(tokenId, publicKey, sealKey)));
  if (!good) throw new FairleadError("permission_denied", "Cannot enrol this host: its signature does not prove its key", { param: "signature" });
}

/**
 * Check that an agent holds the key that is on file and the one that is to take its place.
 *
 * @param onFile what control has, as `publicKey`
 * @throws FairleadError
 */
export async function checkRotation(onFile: string, { host, publicKey, sealKey, signature, previousSignature }: Rotate): Promise<void> {
  const text = new TextEncoder().encode(rotateText(host, onFile, publicKey, sealKey));
  bytes("sealKey", sealKey, 32);
  for (const [field, key, proof] of [["signature", publicKey, signature], ["previousSignature", onFile, previousSignature]] as const) {
    const imported = await crypto.subtle.importKey("raw", bytes("publicKey", key, 32), "Ed25519", false, ["verify"]);
    if (!(await crypto.subtle.verify("Ed25519", imported, bytes(field, proof, 64), text))) {
      throw new FairleadError("permission_denied", `Cannot take new keys for host "${host}": its ${field} does not prove its key`, { param: field });
    }
  }
}

function bytes(field: string, text: string, length: number): Uint8Array<ArrayBuffer> {
  let out: Uint8Array<ArrayBuffer> | undefined;
  try {
    out = fromBase64(text);
  } catch {
    // said below
  }
  if (out?.byteLength !== length) throw new FairleadError("invalid_request", `Cannot enrol this host: ${field} is not ${length} bytes in base64`, { param: field });
  return out;
}
