import { describe, expect, test } from "vitest";
import { policy, replicas, signals } from "../../test/scaling.ts";
import { accounted, affordable, type Account } from "./account.ts";
import { decide } from "./decide.ts";
import type { Question } from "./opinion.ts";

const times = (count: number, value: number): number[] => Array<number>(count).fill(value);
const told = policy({ autoscaler: "adaptive", min: 1, max: 10, targetQps: 1 });
const bounds = { min: 1, max: 10 };
const hourMs = 3_600_000;

/** Held, and asked for each second, at a time; `must` is what there had to be until the next look. */
interface Look {
  at: number;
  held: number;
  perS: number;
  must?: number;
  isNew?: boolean;
}

function played(looks: readonly Look[], scaling = told): Account | undefined {
  let account: Account | undefined;
  for (const { at, held, perS, must = 0, isNew = false } of looks) {
    const question: Question<unknown> = { policy: scaling, signals: signals({ arrivals: times(60, perS) }), bounds, before: held, isNew, state: undefined, now: at };
    const next = accounted(account, question);
    account = next === undefined ? undefined : (JSON.parse(JSON.stringify({ ...next, must })) as Account);
  }
  return account;
}

/** Looks every two seconds, from a time to a time. */
const every = (fromS: number, untilS: number, look: Omit<Look, "at">): Look[] => Array.from({ length: (untilS - fromS) / 2 + 1 }, (_, i) => ({ at: (fromS + 2 * i) * 1000, ...look }));

describe("the account", () => {
  test("goes by SkyServe's number, which it takes over after five minutes of decisions every 20 s", () => {
    expect(played(every(0, 278, { held: 1, perS: 4 }))?.shadow.target).toBe(1);
    expect(played(every(0, 280, { held: 1, perS: 4 }))?.shadow.target).toBe(4);
  });

  test.each([
    { name: "as many as SkyServe's: even", held: 4, credit: 0 },
    { name: "one fewer for ten minutes: as much to the good", held: 3, credit: 600 },
    { name: "two more: as much in the red", held: 6, credit: -1200 },
    { name: "two more that had to be: even", held: 6, must: 6, credit: 0 },
    { name: "two more of which one had to be", held: 6, must: 5, credit: -600 },
    { name: "as many as had to be, fewer than SkyServe's", held: 3, must: 3, credit: 600 },
    { name: "had to be more than is allowed: as many as are allowed are held", held: 10, must: 12, credit: 0 },
  ])("$name", ({ held, must = 0, credit }) => {
    expect(played([{ at: 0, held: 4, perS: 4, must }, ...every(2, 600, { held, perS: 4, must })])?.credit).toBe(credit);
  });

  test("is even four hours from now with so many more or fewer as it gives", () => {
    const saved = played([{ at: 0, held: 4, perS: 4 }, ...every(2, 1800, { held: 3, perS: 4 })]);
    expect(affordable(saved)).toBe(0.125);
    expect(affordable({ ...(saved as Account), credit: -28_800 })).toBe(-2);
    expect(affordable(undefined)).toBe(0);
  });

  test.each([{ name: "saved", held: 1, credit: 4 * 14_400 }, { name: "overdrawn", held: 9, credit: -4 * 14_400 }])("no more is $name than SkyServe holds in four hours", ({ held, credit }) => {
    expect(played([{ at: 0, held: 4, perS: 4 }, ...every(2, 8 * 3600, { held, perS: 4 })])?.credit).toBe(credit);
  });

  test("looks that are late, or at the same time again, or at an earlier one, change no sum", () => {
    const often = played([{ at: 0, held: 4, perS: 4 }, ...every(2, 600, { held: 3, perS: 4 })]);
    const late = played([{ at: 0, held: 4, perS: 4 }, { at: 13_000, held: 3, perS: 4 }, { at: 371_000, held: 3, perS: 4 }, { at: 371_000, held: 3, perS: 4 }, { at: 600_000, held: 3, perS: 4 }]);
    expect(late?.credit).toBe(often?.credit);
  });

  test("what slept is taken to have been let go by SkyServe after its delay, and begins anew", () => {
    const woken = played([{ at: 0, held: 2, perS: 2 }, { at: 24 * hourMs, held: 1, perS: 0 }]);
    expect(woken).toMatchObject({ credit: 1200, shadow: { target: 1 } });
  });

  test("a new policy is SkyServe's at once; what was saved stays", () => {
    const after = played([{ at: 0, held: 4, perS: 4 }, ...every(2, 600, { held: 3, perS: 4 }), { at: 602_000, held: 3, perS: 8, isNew: true }]);
    expect(after).toMatchObject({ credit: 602, shadow: { target: 8 } });
  });

  test.each([{ name: "nothing", targetQps: undefined }, { name: "rates by accelerator", targetQps: { L4: 2 } }])("there is none where people say $name of what one replica does", ({ targetQps }) => {
    const { targetQps: _, ...rest } = told;
    expect(played([{ at: 0, held: 4, perS: 4 }], targetQps === undefined ? rest : { ...rest, targetQps })).toBeUndefined();
  });

  test("with its memory lost it begins from what there is", () => {
    expect(played([{ at: 0, held: 5, perS: 2 }])).toMatchObject({ credit: 0, shadow: { target: 5 } });
  });
});

describe("adaptive's word on it", () => {
  /** Four hundred at once each forty seconds, of which SkyServe makes so many. */
  const clumps = (spent: number): string => {
    const scaling = policy({ autoscaler: "adaptive", min: 1, max: 30, targetQps: 1.25 });
    const arrivals = Array.from({ length: 600 }, (_, i) => (i % 40 === 0 ? 400 : 0));
    const seen = signals({ arrivals, concurrency: times(60, 100), coldStartMs: 90_000, replicas: replicas(9) });
    const { state } = decide(scaling, seen, undefined, 0);
    const account = state.own.adaptive?.account;
    if (account === undefined) throw new Error("Cannot go on without an account");
    account.credit = -14_400 * spent;
    return decide(scaling, seen, state, 2000).reason;
  };

  test("names what is held for bursts, and why it is another number than they are worth", () => {
    expect(clumps(0)).toMatch(/, \d+ more for bursts, 1.25\/s/);
    expect(clumps(1)).toMatch(/, \d+ more for bursts, not \d+, as SkyServe's autoscaler would have held fewer, /);
    expect(clumps(-1)).toMatch(/, \d+ more for bursts, not \d+, as SkyServe's autoscaler would have held more, /);
  });
});
