import { expect, test } from "vitest";
import { findReplica } from "./replicaName.ts";

const known = [{ id: "a.b.local.3", number: 3 }, { id: "a.b.weur.3", number: 3 }, { id: "a.b.weur.4", number: 4 }];

test.each<[string, typeof known | undefined, string]>([
  ["a.b.weur.4", known, "a.b.weur.4"],
  ["weur.4", known, "a.b.weur.4"],
  ["4", known, "a.b.weur.4"],
  ["3", known, "several regions have one: say a.b.local.3 or a.b.weur.3"],
  ["9", known, "there is no such replica"],
  ["weur.9", known, "there is no such replica"],
  ["weur.9", undefined, "a.b.weur.9"],
  ["mars.1", known, '"mars" is no region'],
  ["../x", known, "a replica is named by its id, by region.number or by its number"],
  ["9", undefined, "a.b.local.9"],
])("findReplica(%j)", (name, among, expected) => {
  const found = findReplica("a.b", name, among, ["local"]);
  expect("id" in found ? found.id : found.problem).toBe(expected);
});
