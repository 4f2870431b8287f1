import { expect, test } from "vitest";
import type { RegionFacts, VersionSeen } from "../../schema/scale.ts";
import { addSeen } from "./versions.ts";

const row = (version: number, answers: number, failures = 0): VersionSeen => ({ version, answers, failures, ttft: [answers] });
const facts = (region: "weur" | "enam", stamp: string, at: number, ...versions: VersionSeen[]): Pick<RegionFacts, "region" | "stamp" | "at" | "versions"> => ({ region, stamp, at, versions });

test("addSeen() adds regions up, and the same report again adds nothing", () => {
  const first = addSeen(undefined, [facts("weur", "s", 1, row(1, 10, 1)), facts("enam", "t", 1, row(1, 5), row(2, 3))]);
  expect(first.sums).toEqual([row(1, 15, 1), row(2, 3)]);
  const again = addSeen(JSON.parse(JSON.stringify(first)) as typeof first, [facts("weur", "s", 1, row(1, 10, 1)), facts("enam", "t", 1, row(1, 5), row(2, 3))]);
  expect(again).toEqual(first);
  expect(addSeen(again, [facts("weur", "s", 2, row(1, 12, 1))]).sums).toEqual([row(1, 17, 1), row(2, 3)]);
});

test("addSeen() never falls: not by a Hub that began anew, nor by a report that comes late, nor by one that does not come", () => {
  const first = addSeen(undefined, [facts("weur", "s", 5, row(1, 10))]);
  const anew = addSeen(first, [facts("weur", "z", 6, row(1, 2))]);
  expect(anew.sums).toEqual([row(1, 12)]);
  const late = addSeen(anew, [facts("weur", "s", 5, row(1, 10))]);
  expect(late).toEqual(anew);
  expect(addSeen(late, []).sums).toEqual([row(1, 12)]);
  expect(addSeen(late, [facts("weur", "z", 7, row(1, 3))]).sums).toEqual([row(1, 13)]);
});

test("addSeen() keeps the latest versions", () => {
  const memory = addSeen(undefined, [facts("weur", "s", 1, ...[1, 2, 3, 4, 5, 6].map((version) => row(version, version)))]);
  expect(memory.sums.map(({ version }) => version)).toEqual([3, 4, 5, 6]);
});
