/**
 * Two ways to keep a secret from those who only carry it.
 *
 * `sealTo`/`openSealed`: for one host. An ephemeral X25519 key agrees on a key with the host's; HKDF-SHA-256; AES-256-GCM. Only
 * the host can open it. `encrypt`/`decrypt`: for the edge. AES-256-GCM under a key that control and edge share.
 * Both bind a context text (service, field) as additional data, so that a ciphertext cannot be moved to another place.
 */
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

/** @throws DOMException when the text is not base64 */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

async function aesKey(shared: ArrayBuffer | Uint8Array<ArrayBuffer>, salt: Uint8Array<ArrayBuffer>): Promise<CryptoKey> {
  const base = await crypto.subtle.importKey("raw", shared, "HKDF", false, ["deriveKey"]);
  return crypto.subtle.deriveKey({ name: "HKDF", hash: "SHA-256", salt, info: encoder.encode("fairlead-seal-1") }, base, { name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
}

/**
 * Seal a text to a host.
 *
 * @param sealKey the host's X25519 public key, raw, base64
 * @returns base64 of ephemeral public key (32 bytes), IV (12) and ciphertext
 */
export async function sealTo(sealKey: string, context: string, text: string): Promise<string> {
  const theirs = await crypto.subtle.importKey("raw", fromBase64(sealKey), "X25519", false, []);
  const ours = (await crypto.subtle.generateKey("X25519", true, ["deriveBits"])) as CryptoKeyPair;
  const shared = await crypto.subtle.deriveBits({ name: "X25519", public: theirs } as Parameters<typeof crypto.subtle.deriveBits>[0], ours.privateKey, 256);
  const ephemeral = new Uint8Array((await crypto.subtle.exportKey("raw", ours.publicKey)) as ArrayBuffer);
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const key = await aesKey(shared, ephemeral);
  const cipher = new Uint8Array(await crypto.subtle.encrypt({ name: "AES-GCM", iv, additionalData: encoder.encode(context) }, key, encoder.encode(text)));
  const out = new Uint8Array(32 + 12 + cipher.byteLength);
  out.set(ephemeral, 0);
  out.set(iv, 32);
  out.set(cipher, 44);
  return toBase64(out);
}

/** Open what was sealed to this host. @throws DOMException when it was sealed to another key or context, or was altered */
export async function openSealed(privateKey: CryptoKey, context: string, sealed: string): Promise<string> {
  const bytes = fromBase64(sealed);
  const ephemeral = bytes.slice(0, 32);
  const theirs = await crypto.subtle.importKey("raw", ephemeral, "X25519", false, []);
  const shared = await crypto.subtle.deriveBits({ name: "X25519", public: theirs } as Parameters<typeof crypto.subtle.deriveBits>[0], privateKey, 256);
  const key = await aesKey(shared, ephemeral);
  const plain = await crypto.subtle.decrypt({ name: "AES-GCM", iv: bytes.slice(32, 44), additionalData: encoder.encode(context) }, key, bytes.slice(44));
  return decoder.decode(plain);
}

/** The key that control and edge share, from any secret text of enough entropy. */
export async function sharedKey(secret: string): Promise<CryptoKey> {
  return aesKey(encoder.encode(secret) as Uint8Array<ArrayBuffer>, encoder.encode("fairlead-shared-1") as Uint8Array<ArrayBuffer>);
}

/** @returns base64 of IV (12 bytes) and ciphertext */
export async function encrypt(key: CryptoKey, context: string, text: string): Promise<string> {
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const cipher = new Uint8Array(await crypto.subtle.encrypt({ name: "AES-GCM", iv, additionalData: encoder.encode(context) }, key, encoder.encode(text)));
  const out = new Uint8Array(12 + cipher.byteLength);
  out.set(iv, 0);
  out.set(cipher, 12);
  return toBase64(out);
}

/** @throws DOMException when key or context is another, or the text was altered */
export async function decrypt(key: CryptoKey, context: string, sealed: string): Promise<string> {
  const bytes = fromBase64(sealed);
  const plain = await crypto.subtle.decrypt({ name: "AES-GCM", iv: bytes.slice(0, 12), additionalData: encoder.encode(context) }, key, bytes.slice(12));
  return decoder.decode(plain);
}
