import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { newId, replicaId, serviceNamePattern } from "./ids.ts";

const time = fc.integer({ min: 0, max: 2 ** 47 });

describe("newId()", () => {
  test("is its kind, ten characters of time and sixteen of chance", () => {
    expect(newId("req", 0, new Uint8Array(16))).toBe("req_00000000000000000000000000");
    expect(newId("host", 32, Uint8Array.from({ length: 16 }, (_, i) => i + 16))).toBe("host_0000000010ghjkmnpqrstvwxyz");
    expect(newId("acct", Date.UTC(2026, 10, 21))).toMatch(/^acct_[0-9a-hjkmnp-tv-z]{26}$/);
  });

  test("ids sort by age", () => {
    fc.assert(fc.property(time, time, (a, b) => {
      const [older, newer] = [newId("req", Math.min(a, b)), newId("req", Math.max(a, b))];
      if (a !== b) expect(older < newer).toBe(true);
    }), { numRuns: 500 });
  });

  test("10,000 ids of one millisecond are all different", () => {
    expect(new Set(Array.from({ length: 10_000 }, () => newId("req", 1_800_000_000_000))).size).toBe(10_000);
  });
});

describe("service names", () => {
  test.each(["a", "7", "chat", "qwen3-0.6b", "a_b", "a".repeat(63)])("%s is one", (name) => {
    expect(serviceNamePattern.test(name)).toBe(true);
  });

  test.each(["", "-a", "a-", ".a", "a.", "_a", "A", "a b", "a/b", "a\n", "ä", "a".repeat(64)])("%j is none", (name) => {
    expect(serviceNamePattern.test(name)).toBe(false);
  });

  test("a replica's name is service, region and number", () => {
    expect(replicaId("chat", "local", 3)).toBe("chat.local.3");
  });
});
