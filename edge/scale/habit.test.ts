import { describe, expect, test } from "vitest";
import { followedS, usual, usualRate, type Habit } from "./habit.ts";

/** Ten requests/s that have been known for an hour, of clumps of so many. */
const known = (dispersion: number): Habit => ({ since: 0, at: 3_600_000, perS: 10, ofS: 3600, dispersion, spare: 3 });
/** What ten minutes show, with the standard error that clumps of so many make. */
const seen = (perS: number, dispersion: number) => ({ perS, error: Math.sqrt((dispersion * perS) / 600), seconds: 600, isChanging: false });
const exact = 0.3;

describe("how long habits are followed", () => {
  test.each([
    { name: "nothing is known: the least", before: undefined, seconds: 1200 },
    { name: "Poisson's ten a second are known in no time: the least", before: known(1), seconds: 1200 },
    { name: "clumps of 16: half an hour", before: known(16), seconds: 1778 },
    { name: "clumps of 100: three hours", before: known(100), seconds: 11_111 },
    { name: "never longer than four hours", before: known(1000), seconds: 14_400 },
  ])("$name", ({ before, seconds }) => {
    expect(followedS(before, exact)).toBeCloseTo(seconds, 0);
  });
});

describe("the rate that is usual", () => {
  const after = (perS: number, dispersion: number, isChanging = false) => usualRate(known(dispersion), { ...seen(perS, dispersion), isChanging }, 3_602_000, followedS(known(dispersion), exact), exact);

  test.each([
    { name: "of calm demand a fifth more is news, and known at once", perS: 12, dispersion: 1, news: true },
    { name: "clumps of 100 make a third more by chance", perS: 13.5, dispersion: 100, news: false },
    { name: "twice as much is news whatever the clumps", perS: 20, dispersion: 100, news: true },
    { name: "and so is nothing any more", perS: 0, dispersion: 16, news: true },
  ])("$name", ({ perS, dispersion, news }) => {
    const { perS: usualPerS, seconds } = after(perS, dispersion);
    if (news) expect([usualPerS, seconds]).toEqual([perS, 600]);
    else {
      expect(Math.abs(usualPerS - 10)).toBeLessThan(0.01);
      expect(Math.abs(usualPerS - 10)).toBeGreaterThan(0);
    }
  });

  test("a look that tells it exactly enough is it, and is no news where chance explains it", () => {
    expect(after(10.1, 1)).toEqual({ perS: 10.1, error: seen(10.1, 1).error, seconds: 1200, isNew: false });
  });

  test("what is seen to change is news however little it is", () => {
    expect(after(10.1, 100, true)).toMatchObject({ perS: 10.1, seconds: 600 });
  });

  test("its error shrinks with the time that it is known for, and begins anew with news", () => {
    const { error } = seen(10, 16);
    const followed = followedS(known(16), exact);
    expect(after(10, 16).error).toBeCloseTo(error * Math.sqrt(600 / followed), 6);
    expect(after(20, 16).error).toBeCloseTo(seen(20, 16).error, 6);
  });

  test("what was kept by an earlier version goes on as known since it began", () => {
    const { ofS: _, ...old } = known(16);
    expect(usualRate(old, seen(10.5, 16), 3_602_000, 1200, exact)).toMatchObject({ seconds: 1200 });
  });

  test("a look at the same time again, or at an earlier one, moves nothing", () => {
    for (const now of [3_600_000, 3_500_000]) {
      expect(usualRate(known(16), seen(10.5, 16), now, 1200, exact).perS).toBe(10);
      expect(usual(known(16), "spare", 9, now, 1200)).toBe(3);
    }
  });
});
