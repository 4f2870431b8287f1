import { expect, test } from "vitest";
import { reconnectMs } from "./reconnect.ts";

test.each([
  [0, false, 0.999, 499, 500],
  [20, false, 0.999, 29_000, 30_000],
  [3, false, 0, 50, 50],
  [0, true, 0, 60_000, 60_000],
  [9, true, 0.999, 89_000, 90_000],
])("reconnectMs(%i, refused %s) stays in its bounds", (attempt, refused, chance, least, most) => {
  const ms = reconnectMs(attempt, refused, () => chance);
  expect(ms).toBeGreaterThanOrEqual(least);
  expect(ms).toBeLessThanOrEqual(most);
});

test.each([
  [0, 8_000, 8_000],
  [1, 8_000, 8_000],
  [5, 8_000, 16_000],
  // no Hub makes a host stay away beyond its lease
  [0, 600_000, 10_000],
  [0, 100, 500],
])("a whole fleet is spread over what its Hub asks for: attempt %i over %i ms within %i ms", (attempt, spreadMs, most) => {
  expect(reconnectMs(attempt, false, () => 0.999, spreadMs)).toBeGreaterThan(0.99 * most);
  expect(reconnectMs(attempt, false, () => 0.999, spreadMs)).toBeLessThanOrEqual(most);
  expect(reconnectMs(attempt, false, () => 0, spreadMs)).toBe(50);
});
