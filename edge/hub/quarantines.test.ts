import { describe, expect, test } from "vitest";
import { quarantinedMax, quarantineMs, type Quarantine } from "../../schema/quarantine.ts";
import { added, lasting } from "./quarantines.ts";

const one = (account: string, n: number, until = 1_000): Quarantine => ({ account, fingerprint: n.toString(16).padStart(16, "0"), until });

describe("added()", () => {
  test.each<[string, Quarantine[], Quarantine[], Quarantine[]]>([
    ["keeps what it knew", [one("a", 1)], [one("a", 2)], [one("a", 1), one("a", 2)]],
    ["keeps the later end of what it is told twice", [one("a", 1, 2_000)], [one("a", 1, 1_500)], [one("a", 1, 2_000)]],
    ["tells accounts apart", [one("a", 1)], [one("b", 1)], [one("a", 1), one("b", 1)]],
    ["forgets what is over", [one("a", 1, 500)], [one("a", 2), one("a", 3, 499)], [one("a", 2)]],
    ["believes no clock that is ahead", [], [one("a", 1, 10 * quarantineMs)], [one("a", 1, 500 + quarantineMs)]],
  ])("%s", (_, known, told, expected) => {
    expect(added(known, told, 500)).toEqual(expected);
  });

  test("keeps of one account so many, and no other account's go for them", () => {
    const kept = added([one("b", 1)], Array.from({ length: quarantinedMax.account + 5 }, (_, n) => one("a", n)), 0);
    expect(kept).toHaveLength(quarantinedMax.account + 1);
    expect(kept[0]).toEqual(one("b", 1));
    expect(kept[1]).toEqual(one("a", 5));
  });

  test("keeps so many in all: the latest", () => {
    const kept = added([], Array.from({ length: quarantinedMax.all + 1 }, (_, n) => one(`account-${n}`, n)), 0);
    expect(kept).toHaveLength(quarantinedMax.all);
    expect(kept[0]?.account).toBe("account-1");
  });
});

test("lasting() leaves out what is over", () => {
  expect(lasting([one("a", 1, 500), one("a", 2, 501)], 500)).toEqual([one("a", 2, 501)]);
});
