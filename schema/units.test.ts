import * as fc from "fast-check";
import { expect, test } from "vitest";
import { formatDuration, parseDuration } from "./units.ts";

test.each([
  ["250ms", 250], ["3s", 3_000], ["2m", 120_000], ["1.5h", 5_400_000], ["0s", 0], [" 3s ", 3_000], ["0.5s", 500],
])("parseDuration() reads %j as %d ms", (text, ms) => {
  expect(parseDuration(text)).toBe(ms);
});

test.each(["", "3", "s", "3 s", "3S", "-3s", "+3s", "3d", ".5s", "3.s", "1e3s", "3s4", "3s 4ms", "Infinitys", "NaNs"])("parseDuration() does not read %j", (text) => {
  expect(parseDuration(text)).toBeUndefined();
});

test("parseDuration() gives a finite number of ms or nothing, whatever it is given", () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.tuple(fc.nat(), fc.constantFrom("ms", "s", "m", "h")).map(([n, unit]) => `${n}${unit}`)), (text) => {
    const ms = parseDuration(text);
    if (ms !== undefined) expect(Number.isFinite(ms) && ms >= 0).toBe(true);
  }), { numRuns: 500 });
});

test.each([
  [0, "0ms"], [999, "999ms"], [1_000, "1s"], [59_999, "59s"], [60_000, "1m 0s"], [93_000, "1m 33s"], [3_599_999, "59m 59s"], [3_600_000, "1h 0m"], [86_399_999, "23h 59m"], [90_000_000, "1d 1h"],
])("formatDuration() writes %d ms as %s", (ms, text) => {
  expect(formatDuration(ms)).toBe(text);
});
