import { expect, test } from "vitest";
import { Stays } from "./stays.ts";

test("counts those that have entered and not left, each until its time at most", () => {
  const stays = new Stays();
  const [first, second] = [stays.enter(100), stays.enter(200)];
  expect([first.until, stays.count(99)]).toEqual([100, 2]);
  expect(stays.count(100)).toBe(1);
  stays.leave(first);
  stays.leave(first);
  expect(stays.count(100)).toBe(1);
  stays.leave(second);
  expect(stays.count(100)).toBe(0);
});
