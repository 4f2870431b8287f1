import { describe, expect, test } from "vitest";
import { blockBytes, blocksMax, promptHashes } from "./prefix.ts";

const chat = (...texts: string[]): Record<string, unknown> => ({ model: "m", messages: texts.map((content, i) => ({ role: i === 0 ? "system" : i % 2 === 1 ? "user" : "assistant", content })) });
const long = (word: string, times = 400): string => `${word} `.repeat(times);

describe("promptHashes()", () => {
  test("a later turn begins with the chain of the one before", () => {
    const before = promptHashes(chat(long("system"), long("first")), "a");
    const after = promptHashes(chat(long("system"), long("first"), long("answer"), long("second")), "a");
    expect(before.chain.length).toBeGreaterThan(3);
    expect(after.chain.slice(0, before.chain.length)).toEqual(before.chain);
    expect(after.conversation).toBe(before.conversation);
  });

  test("a change in one block changes that one and all after it, none before", () => {
    const text = long("word", 2_000);
    const at = 3 * blockBytes + 100;
    const [one, other] = [text, `${text.slice(0, at)}X${text.slice(at + 1)}`].map((prompt) => promptHashes({ model: "m", prompt }, "a").chain);
    expect(one?.length).toBe(other?.length);
    expect(one?.map((hash, i) => hash === other?.[i])).toEqual(one?.map((_, i) => i < 3));
  });

  test("the same prompt of another account, or of another model, has unrelated hashes", () => {
    const body = chat(long("system"), long("first", 3_000));
    const mine = promptHashes(body, "acct_1");
    for (const theirs of [promptHashes(body, "acct_2"), promptHashes({ ...body, model: "n" }, "acct_1")]) {
      expect(theirs.chain.length).toBe(mine.chain.length);
      expect(theirs.chain.filter((hash) => mine.chain.includes(hash))).toEqual([]);
      expect(theirs.conversation).not.toBe(mine.conversation);
      // unrelated: about half of the bits differ
      const differing = theirs.chain.reduce((sum, hash, i) => sum + (hash ^ (mine.chain[i] ?? 0)).toString(2).replaceAll(/[^1]/g, "").length, 0) / theirs.chain.length;
      expect(Math.abs(differing - 16)).toBeLessThan(6);
    }
  });

  test.each<[string, Record<string, unknown>]>([
    ["parts", { model: "m", messages: [{ role: "user", content: [{ type: "text", text: long("a") }, { type: "image_url", image_url: { url: long("b") } }, null, 3] }] }],
    ["a prompt", { model: "m", prompt: long("a") }],
    ["a list of prompts", { model: "m", prompt: [long("a"), long("b")] }],
    ["an input", { model: "m", input: long("a") }],
    ["instructions", { model: "m", instructions: long("a"), input: [{ role: "user", content: "x" }] }],
  ])("reads %s", (_, body) => {
    expect(promptHashes(body, "a").chain.length).toBeGreaterThan(0);
  });

  test.each<[string, unknown]>([["nothing", undefined], ["a number", 3], ["token ids", [1, 2, 3]], ["odd messages", [null, 3, [], { content: 4 }, { role: 5 }]]])("has no blocks for %s, and does not fail", (_, said) => {
    expect(promptHashes({ messages: said, prompt: said }, "a").chain).toEqual([]);
  });

  test("is bounded, and takes what is not ASCII", () => {
    expect(promptHashes({ model: "m", prompt: long("long", 100_000) }, "a").chain.length).toBe(blocksMax);
    expect(promptHashes({ model: "m", prompt: long("Ð€😀", 200_000) }, "a").chain.length).toBeLessThanOrEqual(blocksMax);
  });

  test("hashes do not collide over a hundred thousand blocks more than 32 bits must", () => {
    const hashes = Array.from({ length: 400 }, (_, i) => promptHashes({ model: "m", prompt: long(`text ${i}`, 20_000) }, "a").chain).flat();
    expect(hashes.length).toBeGreaterThan(90_000);
    // n²/2^33 pairs: about one
    expect(hashes.length - new Set(hashes).size).toBeLessThan(12);
  });
});
