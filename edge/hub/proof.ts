import type { FleetHost } from "../../schema/bundle.ts";
import { closeCodes, helloText, protocolMin, type Challenge, type Hello } from "../../schema/protocol.ts";
import { fromBase64 } from "../../schema/seal.ts";

/** Whether a hello proves the host it names; else how the link is to be closed. */
export async function checkHello(challenge: Challenge, hello: Hello, host: FleetHost | undefined): Promise<"ok" | { code: number; reason: string }> {
  const refused = { code: closeCodes.unauthorized, reason: "the host is unknown or revoked, or its proof is wrong" };
  if (hello.protocol < protocolMin) return { code: closeCodes.upgradeRequired, reason: `protocol ${hello.protocol} is too old: ${protocolMin} or newer is needed` };
  if (host === undefined || host.revoked || host.region !== challenge.region || hello.region !== challenge.region) return refused;
  try {
    const key = await crypto.subtle.importKey("raw", fromBase64(host.publicKey), "Ed25519", false, ["verify"]);
    const text = new TextEncoder().encode(helloText(challenge, hello));
    return (await crypto.subtle.verify("Ed25519", key, fromBase64(hello.signature), text)) ? "ok" : refused;
  } catch {
    return refused;
  }
}
