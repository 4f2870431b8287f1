import { fromBase64, toBase64 } from "./seal.ts";

/**
 * How the edge calls a host's gate (`transport: direct`): an HTTP request with a pass, good for this one request and for half a minute.
 *
 * A pass is `<expiry>.<nonce>.<mac>`: HMAC-SHA-256 over `passText` under a key that the Hub derives for the host's session, tells the host
 * over its link and isolates in their snapshots. So an isolate makes passes without asking anybody. Times are the Hub's.
 */
export const gateHeaders = {
  pass: "x-fairlead-pass",
  /** The replica that is to answer. */
  target: "x-fairlead-target",
  request: "x-fairlead-request",
  /** `AttemptWay` as JSON. */
  attempt: "x-fairlead-attempt",
  /** In an answer: the gate has none from a replica, for this reason (a reset's code, or `refused`). Absent in a replica's own answers. */
  failure: "x-fairlead-carriage",
} as const;

export const gateTimes = {
  /** A pass is good for so long from its making: a connection and its handshake, with room for clocks of the edge that differ by seconds. */
  passMs: 30_000,
  /** And no pass is good for longer than this, whatever it says. */
  passMsMax: 60_000,
} as const;

/** What a gate answers without a pass: that it is there. */
export const gateHealthPath = "/healthz";

/** What a pass is for. */
export interface PassFacts {
  host: string;
  target: string;
  method: string;
  /** Path and query. */
  path: string;
  requestId: string;
  /** As in its header; empty when there is none. */
  attempt: string;
  /** ms since the epoch, by the Hub's clock. */
  expiresAt: number;
  nonce: string;
}

/** The text under a pass. No part can hold a line break: they are header values, or made here. */
export function passText({ host, target, method, path, requestId, attempt, expiresAt, nonce }: PassFacts): string {
  return ["fairlead-gate-1", host, target, method, path, requestId, attempt, expiresAt, nonce].join("\n");
}

/** @throws when it is no pass */
export function readPass(text: string): Pick<PassFacts, "expiresAt" | "nonce"> & { mac: string } {
  const parts = /^(\d{1,15})\.([\w-]{16,64})\.([A-Za-z0-9+/]{43}=)$/.exec(text);
  if (parts === null) throw new Error("Cannot read a pass: it is not of the form expiry.nonce.mac");
  return { expiresAt: Number(parts[1]), nonce: parts[2] ?? "", mac: parts[3] ?? "" };
}

const encoder = new TextEncoder();

/** @param key base64 */
export const passKey = (key: string): Promise<CryptoKey> => macKey(fromBase64(key));

function macKey(key: Uint8Array<ArrayBuffer>): Promise<CryptoKey> {
  return crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
}

/** A pass for one request. */
export async function makePass(key: CryptoKey, facts: PassFacts): Promise<string> {
  const mac = await crypto.subtle.sign("HMAC", key, encoder.encode(passText(facts)));
  return `${facts.expiresAt}.${facts.nonce}.${toBase64(new Uint8Array(mac))}`;
}

/** The key of one session of a host: base64. */
export async function gateKeyOf(secret: string, host: string, epoch: number): Promise<string> {
  const mac = await crypto.subtle.sign("HMAC", await macKey(new Uint8Array(encoder.encode(secret))), encoder.encode(`fairlead-gate-key-1\n${host}\n${epoch}`));
  return toBase64(new Uint8Array(mac));
}
