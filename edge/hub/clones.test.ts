import { describe, expect, test } from "vitest";
import { fighting, holds, noted, type Takeover } from "./clones.ts";

const s = 1_000;

/** Takeovers at these seconds; each by the run of an agent that comes, from the one that goes. */
function after(...steps: [at: number, came?: string, went?: string][]): Takeover[] {
  return steps.reduce<Takeover[]>((kept, [at, came, went]) => noted(kept, { at: at * s, ...(came === undefined ? {} : { came }), ...(went === undefined ? {} : { went }) }), []);
}

describe("fighting()", () => {
  test.each<[string, Takeover[], number, boolean]>([
    ["three takeovers within a minute", after([0], [20], [50]), 50, true],
    ["two within a minute", after([0], [20]), 20, false],
    ["three over more than a minute, by agents that do not say which run they are", after([0], [40], [80]), 80, false],
    ["one run that loses its connection ten times", after(...Array.from({ length: 10 }, (_, i): [number, string, string] => [i, "a", "a"])), 10, false],
    ["an agent that is started anew every 30 s, whose hub is slow to notice", after([0, "b", "a"], [30, "c", "b"]), 30, false],
    // our agents wait 60 to 90 s when they are superseded
    ["two of our agents that take turns", after([0, "b", "a"], [75, "a", "b"], [150, "b", "a"]), 150, true],
    ["one that has come back once", after([0, "b", "a"], [75, "a", "b"]), 75, false],
    ["turns an hour ago", after([0, "b", "a"], [75, "a", "b"], [3_600, "b", "a"]), 3_600, false],
  ])("%s: %#", (_, takeovers, at, expected) => {
    expect(fighting(takeovers, at * s) !== undefined).toBe(expected);
  });
});

test("holds() until the operator lets the host back in, once more than before", () => {
  const clone = { since: 0, reason: "", releases: 1 };
  expect([{}, { releases: 1 }, { releases: 2 }].map((host) => holds(clone, host))).toEqual([true, true, false]);
});
