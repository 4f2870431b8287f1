import { array, assert, integer, property, record } from "fast-check";
import { expect, test } from "vitest";
import { KvCache } from "./kv.ts";

const tokens = (count: number, from = 0): number[] => Array.from({ length: count }, (_, i) => from + i);

/** Each case allocates and at once releases the prompts, then says what the last of them found. */
const CASES: [string, number[][], number][] = [
  ["nothing at first", [tokens(40)], 0],
  ["the whole blocks of an equal prompt", [tokens(40), tokens(40)], 32],
  ["never the last token, even of whole blocks", [tokens(32), tokens(32)], 16],
  ["the blocks up to where prompts part", [tokens(64), [...tokens(40), ...tokens(24, 900)]], 32],
  ["nothing when the first block differs, whatever follows", [tokens(64), [999, ...tokens(63, 1)]], 0],
  ["a prefix of a longer prompt", [tokens(100), tokens(50)], 48],
  ["nothing of what was evicted: 8 blocks hold only the newest", [tokens(64), tokens(128, 1000), tokens(64)], 0],
];
test.each(CASES)("allocate() finds %s", (_, prompts, cached) => {
  const kv = new KvCache(8, 16);
  let last = -1;
  for (const prompt of prompts) {
    const lease = kv.allocate(prompt);
    last = lease.cachedTokens;
    lease.release();
  }
  expect(last).toBe(cached);
});

test("eviction takes the longest unused, and of one sequence its end first", () => {
  const kv = new KvCache(6, 16);
  kv.allocate(tokens(64)).release();
  kv.allocate(tokens(64, 1000)).release();
  const lease = kv.allocate(tokens(64));
  expect(lease.cachedTokens).toBe(32);
  lease.release();
});

test("generated tokens are cached as blocks fill, so a continuation hits them", () => {
  const kv = new KvCache(64, 16);
  const lease = kv.allocate(tokens(20));
  for (let id = 20; id < 50; id++) lease.grow(id);
  lease.release();
  expect(kv.allocate(tokens(50)).cachedTokens).toBe(48);
});

test("usage counts the blocks of running sequences, shared ones once", () => {
  const kv = new KvCache(10, 16);
  const one = kv.allocate(tokens(40));
  expect(kv.usage).toBeCloseTo(0.3);
  const two = kv.allocate(tokens(40));
  expect(kv.usage).toBeCloseTo(0.4);
  one.release();
  one.release();
  two.release();
  expect(kv.usage).toBe(0);
});

test("fits() is false when running sequences leave too little room", () => {
  const kv = new KvCache(4, 16);
  const lease = kv.allocate(tokens(40));
  expect(kv.fits(tokens(40, 1000))).toBe(false);
  expect(kv.fits(tokens(10, 1000))).toBe(true);
  expect(kv.fits(tokens(40))).toBe(true);
  lease.release();
  expect(kv.fits(tokens(1000))).toBe(true);
});

test("sequences of different salts share nothing", () => {
  const kv = new KvCache(16, 16);
  kv.allocate(tokens(40), "a").release();
  expect(kv.allocate(tokens(40), "b").cachedTokens).toBe(0);
});

test("whatever is allocated, grown and released, usage returns to 0 and cached tokens never reach the prompt", () => {
  assert(
    property(array(record({ from: integer({ min: 0, max: 3 }), count: integer({ min: 1, max: 80 }), grown: integer({ min: 0, max: 40 }) }), { maxLength: 20 }), (sequences) => {
      const kv = new KvCache(12, 8);
      const leases = sequences.map(({ from, count, grown }) => {
        const lease = kv.allocate(tokens(count, from * 1000));
        expect(lease.cachedTokens).toBeLessThan(count);
        for (let i = 0; i < grown; i++) lease.grow(i);
        return lease;
      });
      for (const lease of leases) lease.release();
      expect(kv.usage).toBe(0);
    }),
  );
});
