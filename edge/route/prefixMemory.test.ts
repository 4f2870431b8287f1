import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seeded } from "../../schema/clock.ts";
import { keptMs, PrefixMemory } from "./prefixMemory.ts";

describe("PrefixMemory", () => {
  test("finds who was given the beginning of a chain, the longest first", () => {
    const memory = new PrefixMemory();
    memory.remember([1, 2, 3, 4], "a", 0);
    memory.remember([1, 2, 30], "b", 0);
    expect(memory.matches([1, 2, 3, 40], 0)).toEqual([{ id: "a", blocks: 3, cold: 0 }, { id: "b", blocks: 2, cold: 0 }]);
    expect(memory.matches([9], 0)).toEqual([]);
    expect([memory.blocksOf([1, 2, 3, 4], "a", 0), memory.blocksOf([1, 2], "c", 0)]).toEqual([4, 0]);
  });

  test("tells what nobody has asked for lately from what somebody has, whoever it was", () => {
    const memory = new PrefixMemory();
    memory.remember([1, 2, 3, 4], "a", 0);
    memory.remember([1, 2, 30], "b", 10_000);
    expect(memory.matches([1, 2, 3, 40], 10_200)).toEqual([{ id: "a", blocks: 3, cold: 1 }, { id: "b", blocks: 2, cold: 0 }]);
    expect(memory.matches([1, 2, 3, 40], 11_000)).toEqual([{ id: "a", blocks: 3, cold: 3 }, { id: "b", blocks: 2, cold: 2 }]);
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
