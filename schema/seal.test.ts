import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decrypt, encrypt, fromBase64, openSealed, sealTo, sharedKey, toBase64 } from "./seal.ts";

/** A host's pair, its public half as it is enrolled. */
async function host() {
  const pair = await crypto.subtle.generateKey("X25519", true, ["deriveBits"]);
  if (!("privateKey" in pair)) throw new Error("not a pair");
  return { privateKey: pair.privateKey, sealKey: toBase64(new Uint8Array((await crypto.subtle.exportKey("raw", pair.publicKey)) as ArrayBuffer)) };
}

/** The same text with one bit of its bytes changed. */
function altered(sealed: string, at: number): string {
  const bytes = fromBase64(sealed);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  return toBase64(bytes);
}

const texts = ["", "hf_secret", "ключ 🔑", "x".repeat(10_000)];

describe("base64", () => {
  test("comes back as it was, for any bytes", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      expect([...fromBase64(toBase64(bytes))]).toEqual([...bytes]);
    }), { numRuns: 300 });
  });

  test("what is none throws", () => {
    expect(() => fromBase64("*")).toThrow();
  });
});

describe("sealTo() and openSealed()", () => {
  test.each(texts)("the host it is sealed to opens it", async (text) => {
    const { privateKey, sealKey } = await host();
    const sealed = await sealTo(sealKey, "chat/secrets", text);
    expect(sealed).not.toContain(text === "" ? " " : text);
    expect(await openSealed(privateKey, "chat/secrets", sealed)).toBe(text);
  });

  test("another host does not, nor the same one in another context", async () => {
    const [one, other] = [await host(), await host()];
    const sealed = await sealTo(one.sealKey, "chat", "secret");
    await expect(openSealed(other.privateKey, "chat", sealed)).rejects.toThrow();
    await expect(openSealed(one.privateKey, "chat2", sealed)).rejects.toThrow();
  });

  test("no byte of it can be altered, and none left out", async () => {
    const { privateKey, sealKey } = await host();
    const sealed = await sealTo(sealKey, "chat", "secret");
    const length = fromBase64(sealed).byteLength;
    for (let at = 0; at < length; at++) await expect(openSealed(privateKey, "chat", altered(sealed, at)), `byte ${at}`).rejects.toThrow();
    for (let cut = 0; cut < length; cut++) await expect(openSealed(privateKey, "chat", toBase64(fromBase64(sealed).slice(0, cut))), `cut at ${cut}`).rejects.toThrow();
  });

  test("the same text is sealed differently each time", async () => {
    const { sealKey } = await host();
    expect(await sealTo(sealKey, "chat", "secret")).not.toBe(await sealTo(sealKey, "chat", "secret"));
  });
});

describe("encrypt() and decrypt()", () => {
  test.each(texts)("who has the shared secret opens it", async (text) => {
    expect(await decrypt(await sharedKey("s"), "provider:chat:openai", await encrypt(await sharedKey("s"), "provider:chat:openai", text))).toBe(text);
  });

  test("another secret or context does not, nor an altered text", async () => {
    const key = await sharedKey("s");
    const sealed = await encrypt(key, "a", "secret");
    await expect(decrypt(await sharedKey("t"), "a", sealed)).rejects.toThrow();
    await expect(decrypt(key, "b", sealed)).rejects.toThrow();
    for (let at = 0; at < fromBase64(sealed).byteLength; at++) await expect(decrypt(key, "a", altered(sealed, at)), `byte ${at}`).rejects.toThrow();
    await expect(decrypt(key, "a", "")).rejects.toThrow();
  });

  test("the same text is encrypted differently each time", async () => {
    const key = await sharedKey("s");
    expect(await encrypt(key, "a", "secret")).not.toBe(await encrypt(key, "a", "secret"));
  });
});
