import type { FleetHost } from "../../schema/bundle.ts";
import type { Now } from "../../schema/clock.ts";
import { closeCodes, helloText, protocolMin, type Challenge, type Hello } from "../../schema/protocol.ts";
import { fromBase64 } from "../../schema/seal.ts";

/** Whether a hello proves the host it names; else how the link is to be closed. */
export async function checkHello(challenge: Challenge, hello: Hello, host: FleetHost | undefined, now: Now): Promise<"ok" | { code: number; reason: string }> {
  const refused = { code: closeCodes.unauthorized, reason: "the host is unknown or revoked, or its proof is wrong" };
  if (hello.protocol < protocolMin) return { code: closeCodes.upgradeRequired, reason: `protocol ${hello.protocol} is too old: ${protocolMin} or newer is needed` };
  if (host === undefined || host.revoked || host.region !== challenge.region || hello.region !== challenge.region) return refused;
  // after a rotation both keys count for a while: a hub, or an agent, may not have heard of the new one yet
  const keys = [host.publicKey, ...(host.previousKey !== undefined && now < host.previousKey.until ? [host.previousKey.publicKey] : [])];
  const signatures = [hello.signature, ...(hello.previousSignature === undefined ? [] : [hello.previousSignature])];
  const text = helloText(challenge, hello);
  for (const publicKey of keys) for (const signature of signatures) if (await isProof(publicKey, signature, text)) return "ok";
  return refused;
}

async function isProof(publicKey: string, signature: string, text: string): Promise<boolean> {
  try {
    const key = await crypto.subtle.importKey("raw", fromBase64(publicKey), "Ed25519", false, ["verify"]);
    return await crypto.subtle.verify("Ed25519", key, fromBase64(signature), new TextEncoder().encode(text));
  } catch {
    return false;
  }
}
