import { SignJWT, jwtVerify } from "jose";

/** A data link's ticket: who may open which Relay's link. It lives as long as a handshake may take (facts/failures.md §2: 60 s). */
const ticketSeconds = 60;
const audience = "fairlead-relay";

function secret(key: string): Uint8Array {
  return new TextEncoder().encode(key);
}

/** @param now milliseconds since the epoch */
export function signTicket(key: string, relay: string, epoch: number, now: number): Promise<string> {
  const seconds = Math.floor(now / 1000);
  return new SignJWT({ epoch }).setProtectedHeader({ alg: "HS256" }).setAudience(audience).setSubject(relay).setIssuedAt(seconds).setExpirationTime(seconds + ticketSeconds).sign(secret(key));
}

/** The session that a ticket for this Relay belongs to; undefined when it is none, or is for another. */
export async function checkTicket(key: string, relay: string, ticket: string): Promise<number | undefined> {
  try {
    const { payload } = await jwtVerify(ticket, secret(key), { algorithms: ["HS256"], audience, subject: relay, requiredClaims: ["exp", "sub"] });
    return typeof payload["epoch"] === "number" ? payload["epoch"] : undefined;
  } catch {
    return undefined;
  }
}
