import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { crc32, keyDigest, keyId, keyMatches, newKey, pepperKey, type KeyPrefix } from "./key.ts";

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const prefixes: KeyPrefix[] = ["fl", "fla", "flj"];

/** The ways in which a key is mistyped or guessed at. */
const mutations: ((key: string, at: number, chance: number) => string)[] = [
  (key, at, chance) => key.slice(0, at) + (alphabet[chance % 62] ?? "") + key.slice(at + 1),
  (key, at, chance) => key.slice(0, at) + String.fromCharCode(chance % 128) + key.slice(at + 1),
  (key, at) => key.slice(0, at) + key.slice(at + 1),
  (key, at, chance) => key.slice(0, at) + (alphabet[chance % 62] ?? "") + key.slice(at),
  (key, at) => key.slice(0, at) + (key[at + 1] ?? "") + (key[at] ?? "") + key.slice(at + 2),
  (key, at) => key.slice(0, at),
  (key, at) => key.slice(0, at) + key.slice(at).toLowerCase(),
  (key) => `${key} `,
];

describe("newKey()", () => {
  test.each(prefixes)("makes <prefix>_<id>_<secret><checksum> (%s)", (prefix) => {
    const { id, key } = newKey(prefix);
    expect(key).toMatch(new RegExp(`^${prefix}_[0-9A-Za-z]{10}_[0-9A-Za-z]{49}$`));
    expect(key.split("_")[1]).toBe(id);
    expect(keyId(key, prefix)).toBe(id);
  });

  test("2,000 keys are all different, and use the whole alphabet", () => {
    const keys = Array.from({ length: 2_000 }, () => newKey("fl").key);
    expect(new Set(keys).size).toBe(2_000);
    expect(new Set(keys.join("").replaceAll("_", "")).size).toBe(62);
  });
});

describe("keyId()", () => {
  test("none of 20,000 mutated keys passes, unless the mutation changed nothing", () => {
    const passed: string[] = [];
    let tried = 0;
    const samples = fc.sample(fc.tuple(fc.nat(65), fc.nat(1_000_000), fc.nat(mutations.length - 1)), { numRuns: 20_000, seed: 1 });
    let { key } = newKey("fl");
    samples.forEach(([at, chance, which], i) => {
      if (i % 20 === 0) ({ key } = newKey("fl"));
      const mutated = mutations[which]?.(key, at % key.length, chance) ?? key;
      tried++;
      if (mutated !== key && keyId(mutated, "fl") !== undefined) passed.push(mutated);
    });
    expect(tried).toBe(20_000);
    expect(passed).toEqual([]);
  });

  test("a key of one prefix is none of another", () => {
    for (const made of prefixes) {
      for (const asked of prefixes) expect(keyId(newKey(made).key, asked) !== undefined, `${made} as ${asked}`).toBe(made === asked);
    }
  });

  test("junk is none", () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.string({ minLength: 63, maxLength: 63 }), fc.stringMatching(/^fl_[0-9A-Za-z]{10}_[0-9A-Za-z]{49}$/)), (text) => keyId(text, "fl") === undefined), { numRuns: 1000 });
  });
});

test("crc32() is IEEE 802.3's", () => {
  expect(crc32("")).toBe(0);
  expect(crc32("123456789")).toBe(0xcbf43926);
});

describe("digests", () => {
  test("a key matches its own digest under its own pepper, and nothing else", async () => {
    const [pepper, other] = [await pepperKey("pepper"), await pepperKey("another")];
    const { key } = newKey("fl");
    const digest = await keyDigest(key, pepper);
    expect(digest).toMatch(/^[0-9a-f]{64}$/);
    expect(await keyMatches(key, digest, pepper)).toBe(true);
    expect(await keyMatches(key, digest, other)).toBe(false);
    expect(await keyMatches(newKey("fl").key, digest, pepper)).toBe(false);
    expect(await keyMatches(key, digest.replace(/^./, (first) => (first === "0" ? "1" : "0")), pepper)).toBe(false);
  });

  test.each(["", "00", "zz".repeat(32), "0".repeat(63), "0".repeat(65)])("what is no digest matches nothing: %j", async (digest) => {
    expect(await keyMatches(newKey("fl").key, digest, await pepperKey("pepper"))).toBe(false);
  });

  test("a digest is RFC 4231's HMAC-SHA-256 in hex", async () => {
    expect(await keyDigest("what do ya want for nothing?", await pepperKey("Jefe"))).toBe("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  });
});
