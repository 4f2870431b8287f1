import { expect, test } from "vitest";
import type { Region } from "../../schema/region.ts";
import type { Snapshot } from "../../schema/snapshot.ts";
import { Exchange } from "./exchange.ts";

function world(fails: readonly Region[] = []) {
  const asked: Region[] = [];
  const clock = { now: 10_000 };
  const ask = async (region: Region): Promise<Snapshot> => {
    asked.push(region);
    if (fails.includes(region)) throw new Error("away");
    return { region, takenAt: clock.now, hosts: [], replicas: [] };
  };
  return { asked, clock, exchange: new Exchange({ regions: ["weur", "apac"], ask, now: () => clock.now }) };
}

test("other regions are asked at most once a second, and waited for the first time only", async () => {
  const { asked, clock, exchange } = world();
  const first = exchange.refresh();
  expect(first?.first).toBe(true);
  // one asking at a time
  expect(exchange.refresh()).toBeUndefined();
  await first?.work;
  expect(exchange.snapshots.map(({ region }) => region)).toEqual(["weur", "apac"]);
  clock.now += 1_000;
  expect(exchange.refresh()).toBeUndefined();
  clock.now += 1;
  const later = exchange.refresh();
  expect(later?.first).toBe(false);
  await later?.work;
  expect(exchange.snapshots.map(({ takenAt }) => takenAt)).toEqual([11_001, 11_001]);
  expect(asked).toEqual(["weur", "apac", "weur", "apac"]);
});

test("a region that does not answer is asked again the next time, and its last copy stays", async () => {
  const { asked, exchange } = world(["apac"]);
  await exchange.refresh()?.work;
  expect(exchange.snapshots.map(({ region }) => region)).toEqual(["weur"]);
  const again = exchange.refresh();
  expect(again?.first).toBe(true);
  await again?.work;
  expect(asked).toEqual(["weur", "apac", "apac"]);
});
