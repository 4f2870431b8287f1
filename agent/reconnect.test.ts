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
