import { expect, test } from "vitest";
import { Gates } from "./gates.ts";

test("a gate that cannot be reached is left alone for 5 s, twice as long each time, a minute at most; one answer forgives all", () => {
  const gates = new Gates();
  expect(gates.usable("h1", 0)).toBe(true);
  let now = 0;
  for (const ms of [5_000, 10_000, 20_000, 40_000, 60_000, 60_000]) {
    gates.failed("h1", now);
    expect([gates.usable("h1", now + ms - 1), gates.usable("h1", now + ms), gates.usable("h2", now)]).toEqual([false, true, true]);
    now += ms;
  }
  gates.answered("h1");
  gates.failed("h1", now);
  expect(gates.usable("h1", now + 5_000)).toBe(true);
});

test("it remembers a bounded number of gates", () => {
  const gates = new Gates();
  for (let i = 0; i <= 1_024; i++) gates.failed(`h${i}`, 0);
  expect([gates.usable("h0", 1), gates.usable("h1", 1), gates.usable("h1024", 1)]).toEqual([true, false, false]);
});
