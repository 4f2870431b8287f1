/**
 * API keys: `<prefix>_<id>_<secret><crc>`. The checksum refuses typing errors and junk without a look-up; what is stored is a
 * keyed digest, HMAC-SHA-256(pepper, key), which is enough for a secret of 256 bits (no slow hash is needed).
 */
const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const idLength = 10;
const secretLength = 43;
const checksumLength = 6;

/** `fl`: inference. `fla`: the control API. `flj`: a host's single-use join token. */
export type KeyPrefix = "fl" | "fla" | "flj";

const crcTable = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c >>> 0;
});

/** CRC-32 (IEEE 802.3) of an ASCII text. */
export function crc32(text: string): number {
  let c = 0xffffffff;
  for (let i = 0; i < text.length; i++) c = (crcTable[(c ^ text.charCodeAt(i)) & 0xff] ?? 0) ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}

function checksum(text: string): string {
  let value = crc32(text);
  let out = "";
  for (let i = 0; i < checksumLength; i++, value = Math.floor(value / 62)) out = (alphabet[value % 62] ?? "0") + out;
  return out;
}

/** Uniform characters from random bytes, by rejection. */
function characters(count: number): string {
  let out = "";
  while (out.length < count) {
    for (const byte of crypto.getRandomValues(new Uint8Array(count * 2))) {
      if (byte < 248 && out.length < count) out += alphabet[byte % 62];
    }
  }
  return out;
}

/** A new key and its id. The key itself is shown once and never stored. */
export function newKey(prefix: KeyPrefix): { id: string; key: string } {
  const id = characters(idLength);
  const body = `${prefix}_${id}_${characters(secretLength)}`;
  return { id, key: body + checksum(body) };
}

/**
 * The id of a well-formed key with the given prefix, or undefined: prefix, lengths, alphabet and checksum are all checked
 * before anything is looked up.
 */
export function keyId(key: string, prefix: KeyPrefix): string | undefined {
  const start = prefix.length + 1;
  if (key.length !== start + idLength + 1 + secretLength + checksumLength) return undefined;
  if (!key.startsWith(`${prefix}_`) || key[start + idLength] !== "_") return undefined;
  if (!/^[0-9A-Za-z_]+$/.test(key)) return undefined;
  const body = key.slice(0, -checksumLength);
  if (checksum(body) !== key.slice(-checksumLength)) return undefined;
  return key.slice(start, start + idLength);
}

const encoder = new TextEncoder();

/** The CryptoKey of a pepper, to be imported once per isolate or process. */
export function pepperKey(pepper: string): Promise<CryptoKey> {
  return crypto.subtle.importKey("raw", encoder.encode(pepper), { name: "HMAC", hash: "SHA-256" }, false, ["sign", "verify"]);
}

/** Hex HMAC-SHA-256(pepper, key): what control stores and the bundle carries. */
export async function keyDigest(key: string, pepper: CryptoKey): Promise<string> {
  const mac = new Uint8Array(await crypto.subtle.sign("HMAC", pepper, encoder.encode(key)));
  return Array.from(mac, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Whether a key has this digest, in constant time (`crypto.subtle.verify` compares so). */
export async function keyMatches(key: string, digest: string, pepper: CryptoKey): Promise<boolean> {
  if (!/^[0-9a-f]{64}$/.test(digest)) return false;
  const mac = Uint8Array.from({ length: 32 }, (_, i) => Number.parseInt(digest.slice(i * 2, i * 2 + 2), 16));
  return crypto.subtle.verify("HMAC", pepper, mac, encoder.encode(key));
}
