import { describe, expect, test } from "vitest";
import { Breaker, breakersHold, slowStartMs } from "./breaker.ts";

const middle = (): number => 0.5;

/** A breaker that opened at 0 for five seconds. */
function opened(): Breaker {
  const breaker = new Breaker();
  for (let i = 0; i < 3; i++) breaker.failed(0, 0, middle);
  return breaker;
}

describe("Breaker: opening", () => {
  test("three failures in a row open it, two do not, and an answer in between begins the count anew", () => {
    const breaker = new Breaker();
    breaker.failed(0, 0, middle);
    breaker.failed(0, 0, middle);
    breaker.succeeded(0, 0);
    breaker.failed(0, 0, middle);
    breaker.failed(0, 0, middle);
    expect(breaker.state(0, false)).toBe("closed");
    breaker.failed(0, 0, middle);
    expect(breaker.state(0, false)).toBe("open");
  });

  test.each([
    ["half of ten within ten seconds", 10, 900, true],
    ["half of eight", 8, 900, false],
    ["half of twenty, spread over longer", 20, 5_000, false],
  ])("%s", (_, attempts, gapMs, opens) => {
    const breaker = new Breaker();
    for (let i = 0; i < attempts; i++) {
      const now = i * gapMs;
      if (i % 2 === 0) breaker.succeeded(now, now);
      else breaker.failed(now, now, middle);
    }
    expect(breaker.opened).toBe(opens);
  });

  test("a third of many does not open it", () => {
    const breaker = new Breaker();
    for (let i = 0; i < 300; i++) {
      if (i % 3 === 2) breaker.failed(i, i, middle);
      else breaker.succeeded(i, i);
    }
    expect(breaker.opened).toBe(false);
  });
});

describe("Breaker: half open", () => {
  test("after its time one request may probe, and no other while it does", () => {
    const breaker = opened();
    expect(breaker.state(4_999, false)).toBe("open");
    expect(breaker.state(5_000, false)).toBe("due");
    breaker.began(5_000);
    expect(breaker.state(5_001, false)).toBe("open");
  });

  test("a probe whose client left makes room for another", () => {
    const breaker = opened();
    breaker.began(5_000);
    breaker.withoutVerdict();
    expect(breaker.state(5_001, false)).toBe("due");
  });

  test("a probe that is never heard of again does not keep it open for ever", () => {
    const breaker = opened();
    breaker.began(5_000);
    expect(breaker.state(5_000 + 9_999, false)).toBe("open");
    expect(breaker.state(5_000 + 10_000, false)).toBe("due");
  });

  test("each failed probe doubles the time, up to five minutes, give or take a fifth", () => {
    for (const [random, factor] of [[0, 0.8], [0.5, 1], [1, 1.2]] as const) {
      const breaker = new Breaker();
      for (let i = 0; i < 3; i++) breaker.failed(0, 0, () => random);
      const times: number[] = [];
      for (let i = 0, now = 0; i < 8; i++) {
        times.push(breaker.opensUntil - now);
        now = breaker.opensUntil;
        breaker.began(now);
        breaker.failed(now, now, () => random);
      }
      expect(times).toEqual([5, 10, 20, 40, 80, 160, 320, 640].map((s) => Math.min(300_000, s * 1000 * factor)));
    }
  });

  test("an upstream that nothing stands in for is probed again within ten seconds", () => {
    const breaker = opened();
    for (let now = 5_000, i = 0; i < 6; i++, now += 10_000) {
      expect(breaker.state(now, true)).toBe("due");
      breaker.began(now);
      breaker.failed(now, now, middle);
      expect(breaker.state(now + 4_999, true)).toBe("open");
    }
  });

  test("what had begun before it opened neither closes it nor opens it anew", () => {
    const breaker = new Breaker();
    for (let i = 0; i < 3; i++) breaker.failed(1_000, 1_000, middle);
    breaker.succeeded(1_500, 900);
    expect(breaker.opened).toBe(true);
    breaker.failed(1_600, 900, middle);
    expect(breaker.opensUntil).toBe(6_000);
  });
});

describe("Breaker: recovery", () => {
  test("an answer to the probe closes it, and its share grows for ten seconds", () => {
    const breaker = opened();
    breaker.began(5_000);
    breaker.succeeded(6_000, 5_000);
    expect(breaker.state(6_000, false)).toBe("recovering");
    expect([6_000, 8_500, 11_000, 15_999].map((now) => breaker.share(now))).toEqual([0.1, 0.25, 0.5, expect.closeTo(1, 2)]);
    expect(breaker.state(6_000 + slowStartMs, false)).toBe("closed");
    expect(breaker.share(6_000 + slowStartMs)).toBe(1);
  });

  test("a calm recovery forgets how often it had opened; failing during it does not", () => {
    for (const [calm, openMs] of [[true, 5_000], [false, 10_000]] as const) {
      const breaker = opened();
      breaker.began(5_000);
      breaker.succeeded(5_000, 5_000);
      const now = calm ? 5_000 + slowStartMs : 6_000;
      breaker.state(now, false);
      for (let i = 0; i < 3; i++) breaker.failed(now, now, middle);
      expect(breaker.opensUntil - now).toBe(openMs);
    }
  });
});

test.each([
  [0, 1, true], [1, 1, false], [1, 2, true], [2, 2, false], [1, 3, true], [2, 3, false], [5, 10, true], [6, 10, false],
])("breakersHold(): %d open of %d: %j", (open, pool, hold) => {
  expect(breakersHold(open, pool)).toBe(hold);
});
