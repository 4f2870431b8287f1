import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seeded } from "../../schema/clock.ts";
import { keptMs, PrefixMemory } from "./prefixMemory.ts";

describe("PrefixMemory", () => {
  test("finds who was given the beginning of a chain, the longest first", () => {
    const memory = new PrefixMemory();
    memory.remember([1, 2, 3, 4], "a", 0);
    memory.remember([1, 2, 30], "b", 0);
    expect(memory.matches([1, 2, 3, 40], 0)).toEqual([{ id: "a", blocks: 3, likely: 1 }, { id: "b", blocks: 2, likely: 1 }]);
    expect(memory.matches([9], 0)).toEqual([]);
    expect([memory.blocksOf([1, 2, 3, 4], "a", 0), memory.blocksOf([1, 2], "c", 0)]).toEqual([4, 0]);
  });

  test("tells how often prompts begin as an earlier one did, whoever it was sent to; until any were seen: always", () => {
    const memory = new PrefixMemory();
    expect(memory.recurring).toBe(1);
    for (let i = 0; i < 200; i++) memory.remember([1_000 + i], "a", 0);
    expect(memory.recurring).toBeLessThan(0.01);
    for (let i = 0; i < 200; i++) memory.remember([7, 2_000 + i], i % 2 === 0 ? "a" : "b", 0);
    expect(memory.recurring).toBeGreaterThan(0.99);
    for (let i = 0; i < 200; i++) memory.remember([7, 3_000 + i], "a", 0, 0, 1);
    expect(memory.recurring).toBeLessThan(0.01);
  });

  test.each([
    { given: 1_600, likely: 1 }, { given: 4_800, likely: 1 }, { given: 9_600, likely: 0.5 }, { given: 14_400, likely: 0 },
  ])("expects of what was lost after 9,600 tokens, after $given, to be there with $likely", ({ given, likely }) => {
    const memory = new PrefixMemory();
    memory.remember([1, 2], "a", 0, 256);
    // what was lost at first is taken to have been lost half as soon again
    memory.learn("a", 6_400, false);
    memory.remember([3], "a", 0, given);
    memory.remember([1], "b", 0, 128);
    expect(memory.givenOf([1, 2], "a", 0)).toEqual({ blocks: 2, since: given, likely });
    expect(memory.matches([1, 2], 0)).toEqual([...(likely > 0 ? [{ id: "a", blocks: 2, likely }] : []), { id: "b", blocks: 1, likely: 1 }]);
  });

  test("finds out how much a replica's cache holds by what it was seen to hold and to have lost", () => {
    const memory = new PrefixMemory();
    const random = seeded(1);
    const cacheTokens = 100_000;
    memory.remember([1], "a", 0);
    for (let i = 0; i < 400; i++) {
      const since = random() * 200_000;
      memory.learn("a", since, since < cacheTokens);
    }
    memory.remember([2], "a", 0, 140_000);
    expect(memory.matches([1], 0)[0]?.likely ?? 0).toBeLessThan(0.3);
    memory.remember([3], "a", 0, 0);
    memory.remember([4], "a", 0, 60_000);
    expect(memory.matches([3], 0)[0]?.likely).toBeGreaterThan(0.7);
  });

  test("forgets after a while, counted from the latest use", () => {
    const memory = new PrefixMemory();
    memory.remember([1], "a", 1_000);
    expect(memory.matches([1], 1_000 + keptMs - 1_000).length).toBe(1);
    expect(memory.matches([1], 1_000 + keptMs + 1_000)).toEqual([]);
    memory.remember([1], "a", 1_000 + keptMs);
    expect(memory.matches([1], 1_000 + keptMs + 1_000).length).toBe(1);
  });

  test("is bounded: of many chains the latest stay", () => {
    const memory = new PrefixMemory(1_024);
    const random = seeded(1);
    const chains = Array.from({ length: 1_000 }, () => Array.from({ length: 10 }, () => (random() * 2 ** 32) | 0));
    for (const [i, chain] of chains.entries()) memory.remember(chain, `r${i % 5}`, i * 1_000);
    const held = chains.map((chain, i) => memory.blocksOf(chain, `r${i % 5}`, 1_000_000) > 0);
    expect(held.slice(-20).every(Boolean)).toBe(true);
    expect(held.filter(Boolean).length).toBeLessThan(500);
  });

  test("says of nobody what it was not told", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.array(fc.integer(), { maxLength: 20 }), fc.constantFrom("a", "b", "c")), { maxLength: 30 }), fc.array(fc.integer(), { maxLength: 20 }), (told, chain) => {
        const memory = new PrefixMemory(256);
        for (const [one, id] of told) memory.remember(one, id, 0);
        for (const { id, blocks } of memory.matches(chain, 0)) expect(told.some(([one, by]) => by === id && one.includes(chain[blocks - 1] as number))).toBe(true);
      }),
    );
  });
});
